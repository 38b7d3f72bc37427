"""Probes on a running training: the same training, and the right numbers."""

import pytest
import torch
from torch import nn

from imbalance_lens import Lens, every, formulas
from imbalance_lens.errors import (
    AnatomyError,
    BatchError,
    NotAttachedError,
    SettingError,
    UnknownNameError,
)
from imbalance_lens.observation import Observation
from imbalance_lens.testing import assert_passive
from tests.watched import WHO, Notes, batches, fresh, train


def test_training_with_a_lens_is_bitwise_the_training_without() -> None:
    plain, watched = fresh(), fresh()
    torch.manual_seed(5)
    train(plain)
    after_plain = torch.random.get_rng_state()
    torch.manual_seed(5)
    train(watched, lambda model: Lens(model, WHO, [Notes()]))
    assert torch.equal(torch.random.get_rng_state(), after_plain)
    for name, value in plain.state_dict().items():
        assert torch.equal(value, watched.state_dict()[name]), name


def test_every_step_is_seen_once_and_validation_is_not() -> None:
    probe = Notes()
    session = train(fresh(), lambda model: Lens(model, WHO, [probe]))
    assert session is not None
    assert session.steps == 6
    assert [seen.step for seen in probe.seen] == list(range(6))
    for seen, (_, _, labels) in zip(probe.seen, batches(), strict=True):
        assert torch.equal(seen.labels, labels)
        assert set(seen.modality_logits) == set(seen.features) == {"audio", "visual"}
        assert list(seen.batchnorms) == ["audio.1", "visual.1", "norm"]
        assert [state.modality for state in seen.batchnorms.values()] == ["audio", "visual", ""]


def test_the_numbers_are_those_of_the_training_pass() -> None:
    model, probe = fresh(), Notes()
    (audio, visual, labels), *_ = batches()
    with Lens(model, WHO, [probe]) as session:
        model(audio, visual)
        session.step(labels)
    (seen,) = probe.seen
    features = {"audio": seen.features["audio"], "visual": seen.features["visual"]}
    with torch.no_grad():
        wanted = fresh().audio(audio)
    assert torch.equal(features["audio"], wanted), "batch statistics, as the training pass had them"
    model.eval()
    with torch.no_grad():
        joined = model.norm(torch.cat([features["audio"], features["visual"]], 1))
        assert torch.equal(seen.logits, model.head(joined))
    total = sum(seen.modality_logits.values())
    torch.testing.assert_close(total, seen.logits, atol=1e-5, rtol=1e-5)


def test_a_schedule_says_when_to_look() -> None:
    probe = Notes()
    train(fresh(), lambda model: Lens(model, WHO, [probe], schedule=every(4)))
    assert [seen.step for seen in probe.seen] == [0, 4]


def test_micro_batches_belong_to_one_step() -> None:
    model, probe = fresh(), Notes()
    with Lens(model, WHO, [probe]) as session:
        for audio, visual, labels in batches(4):
            model(audio, visual).sum().backward()
            session.see(labels)
            if len(probe.seen) % 2 == 0:
                session.step()
    assert [seen.step for seen in probe.seen] == [0, 0, 1, 1]


def test_epochs_are_counted_by_the_user() -> None:
    model, probe = fresh(), Notes()
    with Lens(model, WHO, [probe]) as session:
        for audio, visual, labels in batches(2):
            model(audio, visual)
            session.step(labels)
            session.epoch()
    assert [seen.epoch for seen in probe.seen] == [0, 1]


def test_mixed_precision_is_replayed_as_it_ran() -> None:
    model, probe = fresh(), Notes()
    audio, visual, labels = batches()[0]
    with Lens(model, WHO, [probe]) as session:
        with torch.autocast("cpu", torch.bfloat16):
            model(audio, visual)
        session.step(labels)
    assert probe.seen[0].logits.dtype is torch.bfloat16


def test_a_step_without_a_pass_is_an_error() -> None:
    with (
        Lens(fresh(), WHO, [Notes()]) as session,
        pytest.raises(NotAttachedError, match="No training pass"),
    ):
        session.step(torch.zeros(8, dtype=torch.int64))


def test_a_step_after_the_optimizer_is_an_error() -> None:
    model = fresh()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    audio, visual, labels = batches()[0]
    with Lens(model, WHO, [Notes()]) as session:
        model(audio, visual).sum().backward()
        optimizer.step()
        with pytest.raises(NotAttachedError, match=r"before optimizer\.step"):
            session.step(labels)


def test_labels_of_another_batch_are_an_error() -> None:
    model = fresh()
    audio, visual, labels = batches()[0]
    with Lens(model, WHO, [Notes()]) as session:
        model(audio, visual)
        with pytest.raises(BatchError, match="8 examples and 3 labels"):
            session.step(labels[:3])


def test_nothing_stays_behind_also_after_an_error_in_a_pass() -> None:
    model, heard = fresh(), []
    model.head.register_forward_hook(lambda *_: heard.append("foreign"))

    def use() -> None:
        with Lens(model, WHO, [Notes()]):
            model(torch.ones(2, 4), torch.ones(2, 5))

    model.norm.eval(), model.audio[1].eval(), model.visual[1].eval()
    model.visual[2].p = 0.0
    with assert_passive(model), pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        use()
    model.eval()
    model(torch.ones(2, 4), torch.ones(2, 6))
    assert heard == ["foreign"]


def test_a_pass_that_raised_does_not_spoil_the_next() -> None:
    model, probe = fresh(), Notes()
    audio, visual, labels = batches()[0]
    with Lens(model, WHO, [probe]) as session:
        with pytest.raises(RuntimeError, match="shapes"):
            model(audio, audio)
        model(audio, visual)
        session.step(labels)
    assert len(probe.seen) == 1


def test_a_compiled_model_is_refused_and_one_compiled_inside_works() -> None:
    model = fresh()
    with pytest.raises(NotAttachedError, match="compiled"):
        Lens(torch.compile(model, backend="eager"), WHO, ["logit_norm"])  # pyright: ignore[reportArgumentType]


def test_unknown_paths_and_probes_are_errors_before_training() -> None:
    with pytest.raises(AnatomyError, match="no module or method 'sound'"):
        Lens(fresh(), {"audio": "sound", "visual": "visual"}, ["logit_norm"])
    with pytest.raises(UnknownNameError, match="Did you mean 'logit_norm'"):
        Lens(fresh(), WHO, ["logit_norms"])


def test_a_real_probe_answers_a_dataset() -> None:
    session = train(fresh(), lambda model: Lens(model, WHO, ["logit_norm"]))
    assert session is not None
    answer = session.dataset()
    assert answer.sizes["head"] == 3
    assert float(answer["count"].sum()) == 48
    with pytest.raises(UnknownNameError, match="No probe named 'zero_out'"):
        session.dataset("zero_out")


def test_a_probe_that_has_seen_nothing_does_not_cost_the_answers_of_the_others() -> None:
    session = train(fresh(), lambda model: Lens(model, WHO, ["logit_norm", "linear_probe"]))
    assert session is not None
    assert list(session.datasets()) == ["logit_norm"]
    with pytest.raises(NotAttachedError, match="has seen no batch"):
        Lens(fresh(), WHO, ["logit_norm"]).datasets()


@pytest.mark.parametrize(("anatomy", "schedule"), [(None, None), (WHO, 50), (WHO, "every(50)")])
def test_what_is_no_anatomy_and_no_schedule_is_said(anatomy, schedule) -> None:
    with pytest.raises(SettingError, match="Give "):
        Lens(fresh(), anatomy, ["logit_norm"], schedule=schedule)


def test_coalitions_are_asked_when_the_step_is_seen_and_not_later() -> None:
    model, gaps = fresh(), []

    class Gap(Notes):
        def observe(self, seen: Observation) -> None:
            none = seen.coalitions(())
            alone = {name: seen.coalitions({name}) for name in seen.modalities}
            gaps.append(float(formulas.additivity_gap(seen.logits, none, alone)))
            self.seen.append(seen)

    probe = Gap()
    audio, visual, labels = batches()[0]
    with Lens(model, WHO, [probe]) as session:
        model(audio, visual)
        session.step(labels)
        with pytest.raises(NotAttachedError, match="The replay is over"):
            probe.seen[0].coalitions({"visual"}, fill="mean")
    assert gaps[0] < 1e-5


def test_under_ddp_the_inner_model_is_watched(tmp_path) -> None:
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        probe = Notes()
        model = nn.parallel.DistributedDataParallel(fresh())
        train(model, lambda wrapped: Lens(wrapped, WHO, [probe]))
        assert len(probe.seen) == 6
    finally:
        torch.distributed.destroy_process_group()
