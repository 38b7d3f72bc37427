"""Score and ratio per step: the golden ratios, and sums before ratios."""

import numpy as np
import pytest
import torch

from imbalance_lens.observation import Observation
from imbalance_lens.probes.discrepancy import Discrepancy
from tests.golden import NUMBERS

CARD = NUMBERS["split"]


def seeing(rows, *, step: int = 0, epoch: int = 0) -> Observation:
    logits = {
        name: torch.tensor(CARD[key], dtype=torch.float64)[rows]
        for name, key in (("audio", "logits1"), ("visual", "logits2"))
    }
    return Observation(
        torch.tensor(CARD["y"])[rows],
        sum(logits.values()),
        tuple(logits),
        step,
        epoch,
        modality_logits=logits,
    )


def answer(*seen: Observation):
    probe = Discrepancy()
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def test_the_golden_scores_and_ratios_come_out():
    found = answer(seeing([0, 1]))
    golden = NUMBERS["ogm_M2"]
    np.testing.assert_allclose(found["score"].sel(step=0), np.array(golden["S"]) / 2, atol=1e-6)
    np.testing.assert_allclose(found["ratio"].sel(step=0), golden["rho"], atol=1e-5)


def test_micro_batches_are_summed_before_the_ratio_is_taken():
    whole, parts = answer(seeing([0, 1])), answer(seeing([0]), seeing([1]))
    np.testing.assert_allclose(whole["ratio"], parts["ratio"])
    assert parts["step_examples"].values.tolist() == [2]


def test_steps_stay_apart_and_know_their_epoch():
    found = answer(seeing([0], step=4), seeing([1], step=7, epoch=1))
    assert found["step"].values.tolist() == [4, 7]
    assert found["step_epoch"].values.tolist() == [0, 1]
    np.testing.assert_allclose(found["total_ratio"], NUMBERS["ogm_M2"]["rho"], atol=1e-5)


@pytest.mark.parametrize("scores", [(3.0, 2.0, 1.0)])
def test_three_modalities_have_the_golden_ratios(scores):
    probabilities = torch.tensor(scores) / 4
    logits = {
        name: torch.stack([p, 1 - p]).log()[None]
        for name, p in zip("abc", probabilities, strict=True)
    }
    seen = Observation(
        torch.tensor([0]), sum(logits.values()), ("a", "b", "c"), modality_logits=logits
    )
    np.testing.assert_allclose(answer(seen)["ratio"][0], NUMBERS["ogm_M3"]["rho"], atol=1e-5)
