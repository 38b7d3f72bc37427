import math

import numpy as np
import pytest
import torch
from torch import Tensor

from imbalance_lens.errors import NotApplicableError, SettingError
from imbalance_lens.observation import Observation
from imbalance_lens.probes.integrated_gradients import IntegratedGradients

from .world import World

NAMES = ("audio", "visual", "text")


def answer(*seen: Observation, **settings):
    probe = IntegratedGradients(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def seeing(fusion, labels: Tensor | None = None, **signals: Tensor | tuple[Tensor, ...]):
    given = {n: part if isinstance(part, tuple) else (part,) for n, part in signals.items()}
    logits = fusion(given)
    return Observation(
        labels=torch.zeros(len(logits), dtype=torch.long) if labels is None else labels,
        logits=logits.detach(),
        modalities=tuple(signals),
        signals=given,
        fusion=lambda changed: fusion({**given, **changed}),
    )


def slow_twin(world: World, steps: int = 20_000) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The integral of the paper as a sum of midpoints in double precision, and the change."""
    exact = World(world.modalities, world.examples, dtype=torch.float64)
    rows = torch.arange(world.examples)
    signals = {name: values.double() for name, values in exact.features.items()}
    sums = {name: torch.zeros_like(values) for name, values in signals.items()}
    for step in range(steps):
        at = {name: ((step + 0.5) / steps * v).requires_grad_() for name, v in signals.items()}
        logit = exact.fused(at, exact.weights)[rows, exact.labels]
        gradients = torch.autograd.grad(logit.sum(), list(at.values()))
        for name, gradient in zip(at, gradients, strict=True):
            sums[name] += gradient / steps
    ends = [{name: k * values for name, values in signals.items()} for k in (1, 0)]
    full, zero = (exact.fused(end, exact.weights)[rows, exact.labels] for end in ends)
    parts = {name: (values * sums[name]).sum(1).numpy() for name, values in signals.items()}
    return parts, (full - zero).numpy()


def test_attributions_are_those_of_the_slow_twin():
    world = World(NAMES, examples=12)
    found = answer(world.see(), n_steps=64)
    parts, change = slow_twin(world, steps=2000)
    sizes = sum(abs(values) for values in parts.values())
    for name, values in parts.items():
        at = found.sel(modality=name)
        np.testing.assert_allclose(at["attribution"], values.mean(), atol=1e-4)
        np.testing.assert_allclose(at["share"], (abs(values) / sizes).mean(), atol=1e-4)
    np.testing.assert_allclose(found["change"], change.mean(), atol=1e-5)
    np.testing.assert_allclose(found["attribution"].sum(), change.mean(), atol=1e-4)
    np.testing.assert_allclose(found["share"].sum(), 1, atol=1e-9)


def test_more_steps_make_the_error_smaller_and_it_is_said():
    few, many = (answer(World(NAMES).see(), n_steps=steps) for steps in (2, 40))
    for name in ("delta", "max_delta"):
        assert few[name] > 100 * many[name]
    assert many["max_delta"] < 1e-3


def test_all_signals_of_a_modality_count_and_integers_stay_out():
    def fusion(signals):
        (one, other), (visual,) = signals["audio"], signals["visual"]
        return one @ torch.ones(2, 2) + 3 * other @ torch.ones(1, 2) + visual

    found = answer(
        seeing(
            fusion,
            audio=(torch.ones(4, 2), torch.ones(4, 1)),
            visual=torch.ones(4, 2),
        )
    )
    assert found["attribution"].values.tolist() == pytest.approx([5, 1], abs=1e-5)


@pytest.mark.parametrize(
    "spread",
    [
        lambda rows: rows.unsqueeze(2).expand(-1, -1, 6),
        lambda rows: rows.unsqueeze(0).expand(6, -1, -1),
        lambda rows: rows.unsqueeze(1).expand(-1, 6, -1).flatten(0, 1),
    ],
    ids=["maps", "steps first", "frames folded into the batch"],
)
def test_what_belongs_to_an_example_is_added_up_for_it(spread):
    torch.manual_seed(0)
    rows, visual = torch.randn(5, 3), torch.randn(5, 3)
    signal = spread(rows).contiguous()

    def fusion(signals):
        given = signals["audio"][0]
        if len(given) == 30:
            given = given.view(5, 6, 3).mean(1)
        elif given.shape[1] == 5:
            given = given.mean(0)
        else:
            given = given.mean(2)
        return given + signals["visual"][0]

    labels = torch.tensor([0, 1, 2, 0, 1])
    found = answer(seeing(fusion, labels, audio=signal, visual=visual))
    own = torch.stack([part.gather(1, labels[:, None])[:, 0] for part in (rows, visual)])
    np.testing.assert_allclose(found["attribution"], own.mean(1), atol=1e-5)
    shares = own.abs() / own.abs().sum(0)
    np.testing.assert_allclose(found["share"], shares.mean(1), atol=1e-5)


def test_features_of_no_single_example_are_refused():
    with pytest.raises(NotApplicableError, match="features of 'audio' have the shape"):
        answer(seeing(lambda s: s["visual"][0], audio=torch.ones(7, 2), visual=torch.ones(4, 2)))


def test_complex_features_are_refused():
    with pytest.raises(NotApplicableError, match="features are complex numbers"):
        answer(
            seeing(
                lambda s: s["visual"][0],
                audio=torch.ones(4, 2, dtype=torch.complex64),
                visual=torch.ones(4, 2),
            )
        )


def test_a_modality_that_the_head_ignores_adds_nothing():
    seen = seeing(lambda s: 2 * s["visual"][0], audio=torch.ones(4, 2), visual=torch.ones(4, 2))
    found = answer(seen)
    assert found["attribution"].values.tolist() == pytest.approx([0, 2], abs=1e-5)
    assert found["share"].values.tolist() == pytest.approx([0, 1])


def test_a_head_that_ignores_everything_has_no_shares():
    found = answer(seeing(lambda s: torch.ones(4, 2), audio=torch.ones(4, 2), visual=torch.ones(4)))
    assert found["attribution"].values.tolist() == [0, 0]
    assert found["share"].isnull().all()
    assert (found["silent"], found["delta"]) == (4, 0)


@pytest.mark.parametrize(
    "way",
    [
        lambda audio: audio.detach(),
        lambda audio: torch.from_numpy(audio.detach().numpy()),
        lambda audio: audio.sign(),
    ],
    ids=["detached", "numpy", "rounded"],
)
def test_a_modality_that_matters_and_gets_no_gradient_is_not_scored(way):
    signals = {"audio": torch.ones(4, 2), "visual": torch.ones(4, 2)}
    seen = seeing(lambda s: way(s["audio"][0]) + s["visual"][0], **signals)
    with pytest.raises(NotApplicableError, match="depend on the features of 'audio' and have no"):
        answer(seen)


def test_a_gradient_that_is_missing_in_part_is_given_away_by_the_error():
    def fusion(signals):
        return 2 * signals["audio"][0].detach() + signals["audio"][0] + signals["visual"][0]

    found = answer(seeing(fusion, audio=torch.ones(4, 2), visual=torch.ones(4, 2)))
    assert found["attribution"].values.tolist() == pytest.approx([1, 1], abs=1e-5)
    assert found["delta"] == pytest.approx(2)
    assert found["max_delta"] == pytest.approx(2)


def test_examples_without_any_attribution_have_no_say_in_the_shares():
    visual = torch.ones(60, 2)
    visual[:20] = 0
    audio = 3 * visual
    found = answer(seeing(lambda s: s["audio"][0] + s["visual"][0], audio=audio, visual=visual))
    assert found["share"].values.tolist() == pytest.approx([0.75, 0.25])
    np.testing.assert_allclose(found["share_interval"], [[0.75] * 2, [0.25] * 2], atol=1e-6)
    assert found["silent"] == 20
    assert found["attribution"].values.tolist() == pytest.approx([2, 2 / 3], abs=1e-5)


def test_opposite_contributions_do_not_cancel_in_the_shares():
    signals = {"audio": torch.full((4, 2), 3.0), "visual": torch.full((4, 2), -3.0)}
    found = answer(seeing(lambda s: s["audio"][0] + s["visual"][0], **signals))
    assert found["attribution"].values.tolist() == pytest.approx([3, -3], abs=1e-5)
    assert found["share"].values.tolist() == pytest.approx([0.5, 0.5])
    assert found["change"] == 0


def test_a_gap_of_shares_has_an_interval_of_its_own():
    torch.manual_seed(0)
    signals = {"audio": 2 * torch.randn(200, 2), "visual": torch.randn(200, 2)}
    found = answer(seeing(lambda s: s["audio"][0] + s["visual"][0], **signals))
    gap = found["share_gap"].sel(modality="audio", other="visual")
    ends = found["share_gap_interval"].sel(modality="audio", other="visual")
    share = found["share"].sel(modality="audio").item()
    assert gap.item() == pytest.approx(2 * share - 1)
    low, high = found["share_interval"].sel(modality="audio").values
    np.testing.assert_allclose(ends, [2 * low - 1, 2 * high - 1], atol=1e-9)
    assert 0 < ends[0] < gap < ends[1]


def test_nan_is_counted_and_spoils_what_it_enters():
    audio = torch.ones(4, 2)
    audio[1, 0] = torch.nan
    signals = {"audio": audio, "visual": torch.ones(4, 2)}
    found = answer(seeing(lambda s: s["audio"][0] + s["visual"][0], **signals))
    assert found["nonfinite"] == 1
    assert found["attribution"].isnull().values.tolist() == [True, False]
    assert found["share"].isnull().all()
    assert math.isnan(found["delta"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_integrated_in_single(dtype):
    torch.manual_seed(0)
    weight = torch.randn(8, 2).to(dtype)
    signals = {name: torch.randn(20, 8).to(dtype) for name in ("audio", "visual")}
    seen = seeing(lambda s: (s["audio"][0] + s["visual"][0]) @ weight, **signals)
    found = answer(seen)
    own = [(signals[name].float() @ weight.float())[:, 0].mean().item() for name in signals]
    assert found["attribution"].values.tolist() == pytest.approx(own, abs=1e-3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"target": "true"}, "target='true' is not known. Choose one of: 'label', 'predicted'"),
        ({"n_steps": 0}, "n_steps must be a whole number above 0"),
        ({"confidence_level": 1.0}, "confidence_level must lie between"),
    ],
)
def test_settings_without_a_meaning_are_refused(settings, message):
    with pytest.raises(SettingError, match=message):
        IntegratedGradients(**settings)
