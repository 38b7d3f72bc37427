import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import imbalance_lens as lens
from imbalance_lens.errors import SettingError
from imbalance_lens.observation import Gradients, Observation
from imbalance_lens.observer import chosen_probes
from imbalance_lens.probes import PROBES
from imbalance_lens.probes.gradient_conflict import GradientConflict
from imbalance_lens.testing import assert_passive

from .world import World

NAMES = ("audio", "visual", "text")
WIDTH, CLASSES = 5, 3


class Net(nn.Module):
    """Late fusion whose modes differ: batch statistics and dropout in training."""

    def __init__(self) -> None:
        super().__init__()
        self.audio = nn.Sequential(nn.Linear(4, WIDTH), nn.BatchNorm1d(WIDTH), nn.ReLU(True))
        self.visual = nn.Sequential(nn.Linear(4, WIDTH), nn.Dropout())
        self.text = nn.Linear(4, WIDTH)
        self.head = nn.Linear(len(NAMES) * WIDTH, CLASSES)

    def forward(self, audio: Tensor, visual: Tensor, text: Tensor) -> Tensor:
        return self.head(torch.cat([self.audio(audio), self.visual(visual), self.text(text)], 1))


def model() -> Net:
    torch.manual_seed(0)
    return Net()


def batches(count: int = 6, size: int = 7) -> list[tuple[dict[str, Tensor], Tensor]]:
    draw = torch.Generator().manual_seed(1)
    return [
        (
            {name: torch.randn(size, 4, generator=draw) for name in NAMES},
            torch.randint(CLASSES, (size,), generator=draw),
        )
        for _ in range(count)
    ]


def seeing(step: int = 0, **gradients: tuple[list[float], list[float], float]) -> Observation:
    """An observation of nothing but gradients: joint, alone, and the parameters' length."""
    return Observation(
        labels=torch.tensor([0]),
        logits=torch.zeros(1, 2),
        modalities=NAMES[:2],
        step=step,
        gradients={
            name: Gradients(torch.tensor(joint), torch.tensor(alone), torch.tensor(norm))
            for name, (joint, alone, norm) in gradients.items()
        },
    )


def answer(*seen: Observation, **settings):
    probe = GradientConflict(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def test_numbers_worked_by_hand():
    found = answer(
        seeing(audio=([3.0, 4.0], [4.0, -3.0], 10.0), visual=([0.0, -15.0], [0.0, 3.0], 3.0))
    ).isel(step=0)
    expected = {
        "joint_norm": [5, 15],
        "alone_norm": [5, 3],
        "ratio": [1, 5],
        "cosine": [0, -1],
        "relative_norm": [0.5, 5],
        "share": [0.25, 0.75],
    }
    for name, values in expected.items():
        assert found[name].values.tolist() == pytest.approx(values, abs=1e-12), name


def test_gradients_are_those_of_ordinary_backward_passes_one_batch_at_a_time():
    net, data = model(), batches()
    who = {name: name for name in NAMES}
    report = lens.diagnose(net, data, who, [GradientConflict(batches=2)])
    found = report.tree["gradient_conflict"].to_dataset()
    net.eval()
    assert found["step"].values.tolist() == [0, 1]
    for step, (inputs, labels) in enumerate(data[:2]):
        norms = {}
        for k, name in enumerate(NAMES):
            encoder = net.get_submodule(name)
            weight = net.head.weight[:, k * WIDTH : (k + 1) * WIDTH]
            own = encoder(inputs[name]) @ weight.T + net.head.bias / len(NAMES)
            joint, alone = (
                flat(cross_entropy(logits, labels), encoder) for logits in (net(**inputs), own)
            )
            norms[name] = np.linalg.norm(joint)
            size = np.linalg.norm(np.concatenate([p.flatten() for p in numbers(encoder)]))
            at = found.sel(step=step, modality=name)
            expected = {
                "joint_norm": norms[name],
                "alone_norm": np.linalg.norm(alone),
                "ratio": norms[name] / np.linalg.norm(alone),
                "cosine": joint @ alone / norms[name] / np.linalg.norm(alone),
                "relative_norm": norms[name] / size,
            }
            for quantity, value in expected.items():
                np.testing.assert_allclose(at[quantity], value, rtol=1e-4, err_msg=quantity)
        for name in NAMES:
            share = norms[name] / sum(norms.values())
            np.testing.assert_allclose(found["share"].sel(step=step, modality=name), share, 1e-5)


def numbers(module: nn.Module) -> list[np.ndarray]:
    return [parameter.detach().double().numpy() for parameter in module.parameters()]


def flat(loss: Tensor, encoder: nn.Module) -> np.ndarray:
    gradients = torch.autograd.grad(loss, list(encoder.parameters()), retain_graph=True)
    return torch.cat([gradient.flatten() for gradient in gradients]).double().numpy()


def test_means_and_standard_errors_are_those_over_the_batches():
    world = World(examples=40)
    seen = [world.see(rows, step=k) for k, rows in enumerate(torch.arange(40).chunk(5))]
    found = answer(*seen)
    for name in ("cosine", "ratio", "share", "joint_norm"):
        values = found[name].values
        np.testing.assert_allclose(found[f"mean_{name}"], values.mean(0), rtol=1e-12)
        error = values.std(0, ddof=1) / 5**0.5
        np.testing.assert_allclose(found[f"mean_{name}_error"], error, rtol=1e-9)
    assert answer(seen[0])["mean_cosine_error"].isnull().all()
    assert found.attrs["batches_seen"] == 5


def test_micro_batches_of_one_step_are_averaged():
    one = seeing(step=3, audio=([1.0, 0.0], [1.0, 0.0], 1.0))
    other = seeing(step=3, audio=([3.0, 0.0], [0.0, 3.0], 1.0))
    later = seeing(step=9, audio=([5.0, 0.0], [1.0, 0.0], 1.0))
    found = answer(later, one, other).sel(modality="audio")
    assert found["step"].values.tolist() == [3, 9]
    assert found["joint_norm"].values.tolist() == [2, 5]
    assert found["cosine"].values.tolist() == [0.5, 1]
    assert found["mean_joint_norm"] == 3


def test_a_gradient_of_zero_has_no_direction_and_says_so():
    found = answer(
        seeing(audio=([0.0, 0.0], [1.0, 0.0], 1.0), visual=([1.0, 0.0], [0.0, 0.0], 1.0))
    ).isel(step=0)
    assert found["cosine"].isnull().all()
    assert found["mean_cosine"].isnull().all()
    assert found["joint_norm"].values.tolist() == [0, 1]
    assert found["share"].values.tolist() == [0, 1]
    assert found["ratio"].values.tolist() == [0, math.inf]


def test_a_gradient_of_nan_is_not_hidden():
    found = answer(
        seeing(step=0, audio=([math.nan], [1.0], 1.0), visual=([1.0], [1.0], 1.0)),
        seeing(step=1, audio=([1.0], [1.0], 1.0), visual=([1.0], [1.0], 1.0)),
    )
    assert found["joint_norm"].isnull().values.tolist() == [[True, False], [False, False]]
    assert found["mean_joint_norm"].isnull().values.tolist() == [True, False]
    assert found["share"].isnull().values.tolist() == [[True, True], [False, False]]


def test_an_encoder_without_trainable_parameters_is_left_out():
    net = model()
    net.audio.requires_grad_(False)
    who = {name: name for name in NAMES}
    found = lens.diagnose(net, batches(), who, ["gradient_conflict"]).tree["gradient_conflict"]
    assert found["joint_norm"].isnull().all("step").values.tolist() == [True, False, False]
    np.testing.assert_allclose(found["share"].sel(modality=["visual", "text"]).sum("modality"), 1)
    net.requires_grad_(False)
    report = lens.diagnose(net, batches(), who, ["gradient_conflict"])
    assert report.skipped == {"gradient_conflict": "no encoder has trainable parameters of its own"}


def test_encoders_that_share_all_their_parameters_have_no_gradient_of_their_own():
    shared = lens.Anatomy({name: name for name in NAMES}, parts=dict.fromkeys(NAMES, ()))
    report = lens.diagnose(model(), batches(), shared, ["gradient_conflict"])
    assert report.skipped == {"gradient_conflict": "no encoder has trainable parameters of its own"}


def test_one_encoder_with_a_gradient_has_no_share():
    found = answer(seeing(audio=([1.0], [1.0], 1.0)))
    assert found["share"].isnull().all()
    assert found["mean_joint_norm"].values.tolist() == pytest.approx([1, math.nan], nan_ok=True)


def test_parameters_that_are_not_known_are_asked_for():
    who = lens.Anatomy({name: name for name in NAMES}, parts={"audio": ("input:audio",)})
    report = lens.diagnose(model(), batches(), who, ["gradient_conflict", "logit_norm"])
    assert "the parameters of 'audio' are not known" in report.skipped["gradient_conflict"]
    assert list(report.tree.children) == ["logit_norm"]


def test_a_loader_is_sampled_and_the_model_stays_as_it_was():
    net, passes = model(), []
    net.head.register_forward_hook(lambda *_: passes.append(torch.is_grad_enabled()))
    who = {name: name for name in NAMES}
    with assert_passive(net):
        report = lens.diagnose(net, batches(6), who, ["gradient_conflict"])
    assert report.tree["gradient_conflict"].sizes["step"] == 4
    assert report.tree.attrs["examples"] == 42
    # With a graph: one whole pass per sampled batch, and fusion and head for the readout.
    assert passes.count(True) == 4 * (1 + len(NAMES) + 1)


def test_a_running_training_is_followed_step_by_step_and_not_disturbed():
    def train(watch: bool) -> tuple[Net, Any]:
        net = model().train()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        who = {name: name for name in NAMES}
        schedule = lens.every(2)
        with lens.Lens(net, who, ["gradient_conflict"], schedule=schedule) as session:
            torch.manual_seed(2)
            for inputs, labels in batches(12):
                loss = cross_entropy(net(**inputs), labels)
                optimizer.zero_grad()
                loss.backward()
                session.step(labels if watch else None)
                optimizer.step()
            return net, session.dataset() if watch else None

    net, found = train(watch=True)
    alone, _ = train(watch=False)
    assert all(map(torch.equal, net.state_dict().values(), alone.state_dict().values()))
    assert found["step"].values.tolist() == [0, 2, 4, 6, 8, 10]  # more than `batches`
    assert found["cosine"].notnull().all()


def test_it_has_to_be_named():
    assert "gradient_conflict" not in chosen_probes(None)
    report = lens.diagnose(model(), batches(), {name: name for name in NAMES})
    assert report.skipped["gradient_conflict"] == (
        "it runs only when it is named, for a forward and two backward passes of the whole model "
        "per sampled batch"
    )
    assert "gradient_conflict" in str(report)
    assert set(chosen_probes(None)) | set(report.skipped) >= set(PROBES.names())


def test_no_batches_are_refused():
    with pytest.raises(SettingError, match="batches must be a whole number above 0; got 0"):
        GradientConflict(batches=0)
