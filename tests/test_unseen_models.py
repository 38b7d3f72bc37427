"""Models and data that would be measured wrongly, or changed, if nobody looked."""

from collections.abc import MutableMapping

import pytest
import torch
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import AnatomyError, BatchError, SettingError, SignalBypassWarning
from imbalance_lens.testing import assert_passive

WHO = {"audio": "ea", "visual": "ev"}


class Late(nn.Module):
    """Two encoders and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.ea, self.ev, self.head = nn.Linear(4, 5), nn.Linear(6, 5), nn.Linear(10, 3)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.fuse(self.ea(audio), self.ev(visual))

    def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
        return self.head(torch.cat([audio, visual], 1))


def data(count: int = 2, size: int = 8) -> list[tuple[Tensor, Tensor, Tensor]]:
    draw = torch.Generator().manual_seed(0)
    return [
        (
            torch.randn(size, 4, generator=draw),
            torch.randn(size, 6, generator=draw),
            torch.arange(size) % 3,
        )
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    "who",
    [
        {"audio": "ea", "visual": "ea"},
        {"audio": "ea", "visual": "ea#0"},
        {"audio": "ea", "visual": "ea[0]"},
    ],
)
def test_one_call_cannot_stand_for_two_modalities(who: dict[str, str]) -> None:
    with pytest.raises(AnatomyError, match="cannot stand for 'audio' and 'visual' at once"):
        lens.diagnose(Late(), data(), who)


@pytest.mark.parametrize("name", ["joint", "a+b", "", 3])
def test_a_name_that_would_be_mistaken_is_refused(name) -> None:
    with pytest.raises(SettingError, match="cannot name a modality"):
        lens.Anatomy({name: "ea", "visual": "ev"})


def test_paths_of_head_and_parts_are_looked_up_too() -> None:
    for wrong in ({"head": "nope"}, {"parts": {"audio": "nope"}}):
        with pytest.raises(AnatomyError, match="no module or method 'nope'"):
            lens.diagnose(Late(), data(), lens.Anatomy(WHO, **wrong))
    assert lens.Anatomy(WHO, sites={"audio": "ea"}).sites["audio"] == ("ea",)
    with pytest.raises(SettingError, match="given as a Linear"):
        lens.Anatomy({"audio": nn.Linear(1, 1), "visual": "ev"})  # pyright: ignore[reportArgumentType]
    with pytest.raises(SettingError, match="anatomy is a str"):
        lens.diagnose(Late(), data(), "ea")  # pyright: ignore[reportArgumentType]


class Bag(MutableMapping):
    """A mapping whose shallow copy shares its entries."""

    def __init__(self, **entries: Tensor) -> None:
        self.entries = entries

    def __getitem__(self, key: str) -> Tensor:
        return self.entries[key]

    def __setitem__(self, key: str, value: Tensor) -> None:
        self.entries[key] = value

    def __delitem__(self, key: str) -> None:
        del self.entries[key]

    def __iter__(self):
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def test_a_mapping_that_shares_its_entries_with_its_copy_is_not_written_into() -> None:
    class Bagged(Late):
        def __init__(self) -> None:
            super().__init__()
            self.pack = nn.Identity()

        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            bag = self.pack(Bag(a=self.ea(audio), v=self.ev(visual)))
            return self.fuse(bag["a"], bag["v"])

    with pytest.raises(BatchError, match="Bag shares its entries"):
        lens.diagnose(Bagged(), data(), {"audio": "pack[a]", "visual": "pack[v]"})


def test_a_forward_that_writes_on_its_inputs_does_not_reach_the_data() -> None:
    class Dividing(Late):
        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return super().forward(audio.div_(10), visual)

    batches, model = data(), Dividing()
    before = [part.clone() for batch in batches for part in batch]
    found = lens.compare_checkpoints(model, [model, model, model], batches, batches, WHO)
    assert all(
        torch.equal(old, new)
        for old, new in zip(before, (part for batch in batches for part in batch), strict=True)
    )
    assert found["total_delta_general"].values == pytest.approx(0, abs=1e-12)


class Merging(nn.Linear):
    """Merges its weights when it is told to evaluate, as low-rank adapters do."""

    def train(self, mode: bool = True) -> "Merging":
        if not mode and self.training:
            self.weight.data += 1
        return super().train(mode)


def test_a_layer_that_merges_in_eval_is_left_alone() -> None:
    model = Late()
    model.ea = Merging(4, 5)
    with assert_passive(model):
        lens.diagnose(model, data(), WHO, ["zero_out"])


def test_a_lazy_layer_is_not_brought_to_life() -> None:
    model = Late()
    model.head = nn.LazyLinear(3)
    with pytest.raises(AnatomyError, match=r"'head\.weight' belongs to a lazy layer"):
        lens.find_anatomy(model, data()[0][:2])
    assert nn.parameter.is_lazy(model.head.weight)


class Frames(nn.Module):
    """Folds the frames of a video (batch, frames, 6) into the batch and averages over them."""

    def __init__(self) -> None:
        super().__init__()
        self.ea, self.ev, self.head = nn.Linear(4, 5), nn.Linear(6, 5), nn.Linear(10, 3)

    def forward(self, audio: Tensor, video: Tensor) -> Tensor:
        frames = self.ev(video.flatten(0, 1)).unflatten(0, video.shape[:2]).mean(1)
        return self.head(torch.cat([self.ea(audio), frames], 1))


def test_folded_frames_change_places_with_their_example() -> None:
    batches = [(torch.randn(8, 4), torch.randn(8, 3, 6), torch.arange(8) % 3)]
    report = lens.diagnose(Frames(), batches)
    assert not {"permutation", "zero_out", "shapley"} & set(report.skipped)


def test_an_error_of_the_model_in_a_replay_says_what_was_absent() -> None:
    class Strict(Late):
        def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
            if not visual.any():
                raise ValueError("silence")
            return super().fuse(audio, visual)

    with pytest.raises(ValueError, match="silence") as caught:
        lens.diagnose(Strict(), data(), WHO, ["zero_out"])
    assert "'audio' and 'visual' absent, fill='zero'" in caught.value.__notes__[0]


def test_a_first_batch_that_misleads_is_said() -> None:
    class Product(Late):
        def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
            return super().fuse(audio, visual) + audio[:, :3] * visual[:, :3]

    model = Product()
    nn.init.zeros_(model.ea.bias)
    first, second = data()
    batches = [(first[0] * 0, *first[1:]), second]
    report = lens.diagnose(model, batches, WHO, ["logit_norm"])
    assert any("adds up on the first batch and not on every other" in n for n in report.notes)


def test_a_mask_that_passes_by_is_no_signal() -> None:
    class Masked(Late):
        def forward(self, audio: Tensor, visual: Tensor, mask: Tensor) -> Tensor:
            return super().forward(audio, visual) * mask[:, None]

    batches = [(a, v, y > 0, y) for a, v, y in data()]
    assert lens.diagnose(Masked(), batches, WHO, ["zero_out"]).notes == ()


def test_the_lens_tries_the_sites_at_its_first_look() -> None:
    class Leaky(Late):
        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            return super().forward(audio, visual) + visual[:, :3]

    audio, visual, labels = data()[0]
    model = Leaky()
    with lens.Lens(model, WHO, ["logit_norm"]) as session:
        model(audio, visual)
        with pytest.warns(SignalBypassWarning, match="'visual' reaches the logits past"):
            session.step(labels)


def test_a_probe_that_does_not_compare_cannot_compare_states() -> None:
    with pytest.raises(SettingError, match="does not compare states"):
        lens.compare_checkpoints(Late(), [Late(), Late()], data(), data(), WHO, probe="zero_out")


def test_an_encoder_that_takes_in_another_one_is_not_left_unsaid() -> None:
    model = Late()
    with pytest.warns(SignalBypassWarning, match="head of modality 'audio' takes in what ev of"):
        report = lens.diagnose(model, data(), {"audio": "head", "visual": "ev"})
    assert "leaving 'visual' out leaves its signal in 'audio'" in str(report).replace("\n  ", " ")
    judged = {found.rule: found for found in report.findings if found.modality == "visual"}
    unused = judged["unused_modality"]
    assert unused.verdict == "inconclusive"
    assert unused.sentence == (
        "Whether visual is used is not clear, for leaving visual out leaves some of the signal in "
        "the logits."
    )
    assert "visual, which is ignored" not in str(report)


def test_what_is_said_of_an_input_that_bypasses_the_encoders_is_not_certain() -> None:
    class Raw(Late):
        def fuse(self, audio: Tensor, visual: Tensor) -> Tensor:
            return self.head(torch.cat([audio, 0 * visual], 1)) + 9 * self.seen

        def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
            self.seen = visual[:, :3]
            return super().forward(audio, visual)

    with pytest.warns(SignalBypassWarning, match="'visual' reaches the logits past"):
        report = lens.diagnose(Raw(), data(4, 64), WHO)
    judged = {
        (found.rule, found.modality): found.verdict
        for found in report.findings
        if found.rule in ("dominance", "unused_modality", "no_interaction")
    }
    assert set(judged.values()) == {"inconclusive"}
    assert {name for rule, name in judged if rule == "unused_modality"} == {"audio", "visual"}
