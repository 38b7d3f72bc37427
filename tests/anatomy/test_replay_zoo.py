"""Replay and readout on every model of the zoo, from the anatomy that is right for it."""

import pytest
import torch

from imbalance_lens import Anatomy
from imbalance_lens.anatomy.readout import choose_readout, read_logits
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.anatomy.self_check import bypassing_inputs, check_replay
from imbalance_lens.batches import bind
from imbalance_lens.hooks.wrappers import unwrap
from imbalance_lens.testing import assert_passive
from tests.anatomy.zoo import FOUND, Specimen

EVERY = pytest.mark.parametrize("specimen", FOUND, ids=lambda specimen: specimen.name)


def anatomy(specimen: Specimen) -> Anatomy:
    return Anatomy(specimen.encoders, sites=specimen.expected_sites)


@EVERY
def test_a_replay_of_all_is_the_model_itself_and_nothing_passes_by(specimen: Specimen) -> None:
    model = specimen.build()
    with assert_passive(unwrap(model)), Replayer(model, anatomy(specimen)) as replayer:
        replay = replayer.capture(bind(unwrap(model), specimen.inputs(6)))
        check_replay(replay)
        assert set(bypassing_inputs(replay)) <= {"attention_mask", "lengths"}
        for modality in specimen.modalities:
            others = set(specimen.modalities) - {modality}
            assert replay.logits(others).isfinite().all()


@EVERY
def test_the_readout_knows_which_heads_add_up(specimen: Specimen) -> None:
    model = specimen.build()
    with Replayer(model, anatomy(specimen)) as replayer:
        replay = replayer.capture(bind(unwrap(model), specimen.inputs(6)))
        readout = choose_readout(replay)
        if specimen.additive is not None:
            assert (readout.kind == "linear_split") is specimen.additive, readout
        parts = read_logits(readout, replay)
        if readout.kind == "linear_split":
            total = sum(parts.values())
            torch.testing.assert_close(total, replay.logits_all, atol=1e-5, rtol=1e-4)
