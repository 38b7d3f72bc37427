import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.observation import Observation
from imbalance_lens.probes.logit_norm import LogitNorm
from tests.golden import NUMBERS

GOLDEN = NUMBERS["logit_norm"]


def seeing(labels, *, epoch: int = 0, **logits) -> Observation:
    """An observation whose joint logits are the sum of the modalities'."""
    given = {name: torch.as_tensor(values) for name, values in logits.items()}
    joint = torch.stack(list(given.values())).sum(0)
    return Observation(
        labels=torch.as_tensor(labels),
        logits=joint,
        modalities=tuple(given),
        epoch=epoch,
        modality_logits=given,
    )


def answer(*seen: Observation) -> xr.Dataset:
    probe = LogitNorm()
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def golden(*rows: int) -> Observation:
    logits = torch.tensor(GOLDEN["logits"], dtype=torch.float64)[list(rows)]
    return seeing([GOLDEN["y"][row] for row in rows], audio=logits, visual=2 * logits)


def test_the_golden_numbers_come_out_whatever_the_batches():
    for batches in ([golden(0, 1, 2)], [golden(2, 0), golden(1)]):
        audio = answer(*batches).sel(epoch=0, head="audio")
        np.testing.assert_allclose(audio["norm"], GOLDEN["class mean norm"])
        np.testing.assert_allclose(audio["mean_norm"], GOLDEN["batch mean"], atol=1e-6)
        np.testing.assert_allclose(audio["mean_true_class_logit"], GOLDEN["mean true-class logit"])
        centered = np.mean(GOLDEN["centred norm"])
        np.testing.assert_allclose(audio["mean_centered_norm"], centered, atol=1e-6)
        np.testing.assert_allclose(audio["std_norm"], np.std(GOLDEN["norm"]))


def test_a_class_without_examples_has_no_norm_and_counts_zero():
    found = answer(seeing([2, 2], a=torch.ones(2, 3), b=torch.ones(2, 3)))
    assert found["count"].sel(epoch=0).values.tolist() == [0, 0, 2]
    for name in ("norm", "centered_norm", "true_class_logit"):
        assert np.isnan(found[name].values).all((0, 1)).tolist() == [True, True, False]


def test_the_joint_head_and_every_modality_are_answered_and_compared():
    found = answer(golden(0, 1, 2))
    assert found["head"].values.tolist() == ["audio", "visual", "joint"]
    assert found["modality"].values.tolist() == ["audio", "visual"]
    np.testing.assert_allclose(found["norm_ratio"].sel(epoch=0), [[1, 0.5], [2, 1]])
    np.testing.assert_allclose(found["mean_norm"].sel(head="joint"), 8)


def test_class_means_weighted_by_their_counts_are_the_mean_over_the_examples():
    torch.manual_seed(0)
    labels = torch.randint(7, (50,))
    found = answer(seeing(labels, a=torch.randn(50, 7), b=torch.randn(50, 7)))
    for name in ("norm", "centered_norm", "true_class_logit"):
        weighted = found[name].weighted(found["count"]).mean("label")
        np.testing.assert_allclose(weighted, found[f"mean_{name}"])


def test_epochs_are_kept_apart_and_come_in_order():
    late, early = torch.full((1, 2), 5.0), torch.full((1, 2), 1.0)
    found = answer(seeing([0], epoch=4, a=late, b=late), seeing([1], epoch=1, a=early, b=early))
    assert found["epoch"].values.tolist() == [1, 4]
    np.testing.assert_allclose(found["mean_norm"].sel(head="a"), [2**0.5, 50**0.5])
    assert found["count"].values.tolist() == [[0, 1], [1, 0]]


def test_copies_that_saw_different_epochs_are_merged():
    one, other = LogitNorm(), LogitNorm()
    one.observe(golden(0, 1, 2))
    ones = torch.ones(1, 2)
    later = seeing([0], epoch=1, audio=ones, visual=ones)
    other.observe(later)
    one.merge(other)
    xr.testing.assert_allclose(one.result(), answer(golden(0, 1, 2), later))


def test_a_nan_reaches_its_own_class_and_every_mean_but_no_other_class():
    logits = torch.tensor([[1.0, 0.0], [float("nan"), 0.0]])
    found = answer(seeing([0, 1], a=logits, b=torch.ones(2, 2))).sel(epoch=0)
    assert found["norm"].sel(head="a").isnull().values.tolist() == [False, True]
    assert found["mean_norm"].isnull().values.tolist() == [True, False, True]
    assert found["std_norm"].isnull().values.tolist() == [True, False, True]
    assert found["norm_ratio"].isnull().values.tolist() == [[True, True], [True, False]]


def test_a_silent_modality_has_an_infinite_or_no_ratio():
    found = answer(seeing([0], a=torch.ones(1, 2), b=torch.zeros(1, 2)))["norm_ratio"].sel(epoch=0)
    assert found.sel(modality="a", other="b") == np.inf
    assert found.sel(modality="b", other="a") == 0
    assert found.sel(modality="b", other="b").isnull()


def test_large_logits_keep_their_standard_deviation():
    logits = torch.zeros(4, 2)
    logits[:, 0] = 1e4 + torch.tensor([0.0, 1.0, 2.0, 3.0])
    found = answer(seeing([0, 0, 1, 1], a=logits, b=logits))
    np.testing.assert_allclose(found["std_norm"].sel(head="a"), np.std([0, 1, 2, 3]), rtol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_do_not_overflow(dtype: torch.dtype):
    logits = torch.full((1000, 4), 512.0, dtype=dtype)
    found = answer(seeing([0] * 1000, a=logits, b=logits))
    np.testing.assert_allclose(found["mean_norm"].sel(head="a"), 1024.0)


logits_of_five = st.lists(
    st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3), min_size=5, max_size=5
).map(lambda rows: torch.tensor(rows, dtype=torch.float32))


@given(logits_of_five, st.floats(-8, 8), st.floats(-100, 100))
def test_scaling_scales_and_a_constant_does_not_touch_the_centered_norm(logits, scale, constant):
    wide = logits.double()
    labels = [0, 1, 2, 0, 1]
    found = answer(seeing(labels, a=wide, b=scale * wide, c=wide + constant))
    mean, centered = found["mean_norm"].sel(epoch=0), found["mean_centered_norm"].sel(epoch=0)
    np.testing.assert_allclose(mean.sel(head="b"), abs(scale) * mean.sel(head="a"), atol=1e-9)
    np.testing.assert_allclose(centered.sel(head="c"), centered.sel(head="a"), atol=1e-9)


@given(logits_of_five, st.permutations(range(5)), st.integers(0, 5))
def test_any_split_in_any_order_is_the_whole(logits, order, cut):
    labels = torch.tensor([0, 1, 2, 0, 1])

    def seen(rows) -> Observation:
        return seeing(labels[rows], a=logits[rows], b=logits.flip(1)[rows])

    parts = [LogitNorm(), LogitNorm()]
    for part, rows in zip(parts, (order[:cut], order[cut:]), strict=True):
        for row in rows:
            part.observe(seen([row]))
    parts[0].merge(parts[1])
    whole = answer(seen(list(range(5))))
    xr.testing.assert_allclose(parts[0].result(), whole, rtol=1e-9, atol=1e-9)
