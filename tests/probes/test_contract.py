"""Every probe keeps every promise, and each promise is seen to be broken where it is."""

from dataclasses import dataclass, field

import pytest
import torch
import xarray as xr
from torch import Tensor

from imbalance_lens import schema
from imbalance_lens.errors import NotApplicableError
from imbalance_lens.formulas import Moments, label_confidence
from imbalance_lens.observation import Need, Observation
from imbalance_lens.probes import PROBES
from imbalance_lens.probes._base import Probe

from . import contract
from .contract import MakeProbe
from .world import World

ODD_WORLDS = {
    "half precision": World(dtype=torch.float16),
    "brain floats": World(dtype=torch.bfloat16),
    "double precision": World(dtype=torch.float64),
    "three modalities": World(modalities=("audio", "visual", "text")),
    "six modalities": World(modalities=("a", "b", "c", "d", "e", "f")),
    "one example": World(examples=1),
    "one class": World(classes=1),
    "absent classes": World(classes=50),
}


@pytest.fixture(params=PROBES.names())
def make(request) -> MakeProbe:
    return PROBES.get(request.param)


@pytest.mark.parametrize("promise", contract.PROMISES, ids=lambda promise: promise.__name__)
def test_a_probe_keeps_its_promises(make, promise):
    promise(make)


def test_an_answer_survives_a_file(make, tmp_path):
    contract.survives_a_file(make, tmp_path)


@pytest.mark.parametrize("world", ODD_WORLDS.values(), ids=ODD_WORLDS)
def test_odd_worlds_get_an_answer_or_a_reason(make, world):
    contract.answers_or_says_why_not(make, world)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_gpu_gives_the_same_and_is_not_waited_for(make):
    contract.agrees_on_a_gpu(make)


@dataclass(eq=False)
class Model(Probe):
    """The mean confidence of each modality: a probe that does everything right."""

    needs = (Need.LABELS, Need.MODALITY_LOGITS)
    _means: dict[str, Moments] = field(default_factory=dict, init=False)

    def observe(self, seen: Observation) -> None:
        for name in seen.modalities:
            self._means.setdefault(name, Moments()).update(self.scores(seen, name))

    def scores(self, seen: Observation, name: str) -> Tensor:
        return label_confidence(seen.modality_logits[name], seen.labels)

    def merge(self, other) -> None:
        for name, mean in other._means.items():
            self._means.setdefault(name, Moments()).merge(mean)

    def result(self) -> xr.Dataset:
        if not self._means:
            raise self.nothing_seen()
        means = torch.stack([mean.mean for mean in self._means.values()]).cpu().numpy()
        formula = "imbalance_lens.formulas.scores.label_confidence"
        score = schema.variable(("modality",), means, units="1", long_name="s", formula=formula)
        coords = {"modality": list(self._means)}
        return schema.dataset({"score": score}, coords, settings=self.settings())


class Restless(Model):
    answers = 0

    def result(self):
        self.answers += 1
        return super().result().assign_attrs(answers=self.answers)


class Deaf(Model):
    answer = None

    def result(self):
        self.answer = self.answer or super().result()
        return self.answer


class Unfounded(Model):
    def result(self):
        answer = super().result()
        answer["score"].attrs["formula"] = "imbalance_lens.formulas.scores.guess"
        return answer


class Silent(Model):
    def result(self):
        return super().result() if self._means else xr.Dataset()


class Hoarder(Model):
    def observe(self, seen):
        super().observe(seen)
        self.last = seen.logits[:1]


class Meddler(Model):
    def observe(self, seen):
        super().observe(seen)
        seen.labels.zero_()


class Impatient(Model):
    def scores(self, seen, name):
        scores = super().scores(seen, name)
        return scores[scores > 0]


class Selfish(Model):
    def merge(self, other):
        self._means = self._means or other._means


class Orderly(Model):
    def scores(self, seen, name):
        return super().scores(seen, name) * torch.arange(len(seen.labels))


class Partial(Model):
    def scores(self, seen, name):
        return super().scores(seen, name) + (name == seen.modalities[0])


class Glossing(Model):
    def scores(self, seen, name):
        return super().scores(seen, name).nan_to_num() * 0


class Wordless(Model):
    def result(self):
        raise NotApplicableError("No.")


class Unwritable(Model):
    def result(self):
        return super().result().assign_attrs(note=None)


FLAWS = {
    contract.answers_the_same_twice: Restless,
    contract.goes_on_after_an_answer: Deaf,
    contract.follows_the_schema: Unfounded,
    contract.says_when_it_has_seen_nothing: Silent,
    contract.keeps_no_tensor_of_an_observation: Hoarder,
    contract.changes_no_tensor_of_an_observation: Meddler,
    contract.waits_for_no_device: Impatient,
    contract.adds_up_over_parts: Selfish,
    contract.ignores_the_order_of_the_examples: Orderly,
    contract.treats_all_modalities_alike: Partial,
    contract.hides_no_nan: Glossing,
}


@pytest.mark.parametrize("promise", contract.PROMISES, ids=lambda promise: promise.__name__)
def test_a_promise_is_kept_by_a_sound_probe_and_seen_broken_by_a_flawed_one(promise):
    promise(Model)
    with pytest.raises((AssertionError, NotImplementedError, pytest.fail.Exception)):
        promise(FLAWS[promise])


def test_an_answer_that_no_file_can_hold_is_noticed(tmp_path):
    contract.survives_a_file(Model, tmp_path)
    with pytest.raises(TypeError, match="note"):
        contract.survives_a_file(Unwritable, tmp_path)


def test_an_odd_world_without_an_answer_needs_a_reason():
    contract.answers_or_says_why_not(Model, World())
    with pytest.raises(AssertionError):
        contract.answers_or_says_why_not(Wordless, World())
