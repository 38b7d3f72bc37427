"""What each entry of the inputs adds to a logit: exact where that is known, and passive."""

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.errors import BatchError, NotApplicableError, SettingError
from imbalance_lens.testing import assert_passive, planted

WHO = {"audio": "audio", "visual": "visual"}


class Net(nn.Module):
    """An image and a sequence under a head that multiplies and adds."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.audio = nn.Sequential(nn.Conv1d(2, 4, 3), nn.BatchNorm1d(4), nn.ReLU(inplace=True))
        self.visual = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Dropout(), nn.Tanh())
        self.head = nn.Linear(8, 3)

    def forward(self, audio: Tensor, visual: Tensor) -> Tensor:
        one, other = self.audio(audio).mean(2), self.visual(visual).mean((2, 3))
        return self.head(torch.cat([one, one * other], 1))


def inputs(examples: int = 5) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return {
        "audio": torch.randn(examples, 2, 9, generator=draw),
        "visual": torch.randn(examples, 1, 6, 7, generator=draw),
    }


LABELS = torch.tensor([0, 1, 2, 0, 1])


@pytest.mark.parametrize("anatomy", [None, WHO, lens.Anatomy(WHO, inputs={n: (n,) for n in WHO})])
def test_attributions_are_those_of_captum_on_the_whole_model(anatomy):
    model = Net()
    with assert_passive(model):
        found = lens.attribute_inputs(model, inputs(), LABELS, anatomy, n_steps=20)
    model.eval()
    expected = IntegratedGradients(model).attribute(
        tuple(inputs().values()), target=LABELS, n_steps=20
    )
    assert list(found) == ["audio", "visual"]
    for part, wanted in zip(found.values(), expected, strict=True):
        np.testing.assert_allclose(part, wanted.detach().numpy(), atol=1e-6)


def test_all_entries_together_add_the_change_of_the_logit():
    model = Net().eval()
    found = lens.attribute_inputs(model, inputs(), LABELS, n_steps=64)
    sums = sum(part.reshape(5, -1).sum(1) for part in found.values())
    with torch.no_grad():
        change = model(**inputs()) - model(**{n: 0 * given for n, given in inputs().items()})
    expected = change.gather(1, LABELS[:, None])[:, 0]
    np.testing.assert_allclose(sums, expected, atol=1e-3)


def test_a_linear_model_gives_each_entry_its_weight_times_its_value():
    model, loader = planted("audio")
    given, labels = next(iter(loader))
    found = lens.attribute_inputs(model, given, labels)
    for name, values in given.items():
        expected = values * nn.functional.one_hot(labels, 4)  # the identity, twice
        np.testing.assert_allclose(found[name], expected.numpy(), atol=1e-5)


def test_nothing_is_left_in_the_model_by_an_error_on_the_way():
    model, calls = Net(), []

    def hook(*_) -> None:
        calls.append(1)
        if len(calls) > 12:
            raise RuntimeError("a hook of the user")

    model.head.register_forward_hook(hook)
    with assert_passive(model), pytest.raises(RuntimeError, match="a hook of the user"):
        lens.attribute_inputs(model, inputs(), LABELS, WHO)
    assert len(calls) == 13


def test_the_inputs_stay_as_they_were():
    given = inputs()
    lens.attribute_inputs(Net(), given, LABELS)
    for tensor, before in zip(given.values(), inputs().values(), strict=True):
        assert torch.equal(tensor, before)
        assert not tensor.requires_grad


class Reader(nn.Module):
    """Tokens with a mask, and a sound given as a mapping of two parts."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.text = nn.Embedding(11, 4)
        self.wave, self.pitch = nn.Linear(6, 4), nn.Linear(1, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, tokens: Tensor, mask: Tensor, sound: dict[str, Tensor]) -> Tensor:
        words = (self.text(tokens) * mask.unsqueeze(2)).sum(1)
        heard = self.hear(sound["wave"], sound["pitch"])
        return self.head(torch.cat([words, heard], 1))

    def hear(self, wave: Tensor, pitch: Tensor) -> Tensor:
        return self.wave(wave) + self.pitch(pitch)


def read(examples: int = 5) -> dict:
    draw = torch.Generator().manual_seed(1)
    return {
        "tokens": torch.randint(11, (examples, 3), generator=draw),
        "mask": torch.ones(examples, 3, dtype=torch.bool),
        "sound": {
            "wave": torch.randn(examples, 6, generator=draw),
            "pitch": torch.randn(examples, 1, generator=draw),
        },
    }


@pytest.mark.parametrize(
    "anatomy",
    [
        {"text": "text", "sound": "hear"},
        lens.Anatomy(
            {"text": "text", "sound": "hear"}, inputs={"text": ("tokens",), "sound": ("sound",)}
        ),
    ],
)
def test_tokens_have_no_gradient_and_the_message_says_what_to_do(anatomy):
    with pytest.raises(NotApplicableError, match="No floating-point input feeds 'text' alone, and"):
        lens.attribute_inputs(Reader(), read(), LABELS, anatomy)


def test_inputs_that_are_all_integers_are_refused():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Embedding(5, 4), nn.Embedding(5, 4)
            self.head = nn.Linear(8, 3)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return self.head(torch.cat([self.a(a), self.b(b)], 1))

    given = torch.arange(5), torch.arange(5)
    with pytest.raises(NotApplicableError, match="No floating-point input feeds 'a' alone"):
        lens.attribute_inputs(Tokens(), given, LABELS, {"a": "a", "b": "b"})


class Parts(nn.Module):
    """A modality of two inputs, one of them a list, and one that both modalities see."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.sound, self.view = nn.Linear(7, 4), nn.Linear(5, 4)
        self.head = nn.Linear(8, 3)

    def forward(self, wave: Tensor, pitch: list[Tensor], view: Tensor, gain: Tensor) -> Tensor:
        heard = self.hear(wave * gain, pitch)
        return self.head(torch.cat([heard, self.view(view * gain)], 1))

    def hear(self, wave: Tensor, pitch: list[Tensor]) -> Tensor:
        return self.sound(torch.cat([wave, *pitch], 1))


def test_each_input_of_a_modality_has_an_array_of_its_own_and_shared_ones_are_left_alone():
    model = Parts().eval()
    draw = torch.Generator().manual_seed(1)
    wave, view = torch.randn(5, 5, generator=draw), torch.randn(5, 5, generator=draw)
    pitch = list(torch.randn(2, 5, 1, generator=draw))
    gain = torch.full((5, 1), 2.0)
    found = lens.attribute_inputs(
        model, (wave, pitch, view, gain), LABELS, {"sound": "hear", "view": "view"}
    )
    assert {name: part.shape for name, part in found.items()} == {
        "sound.wave": (5, 5),
        "sound.pitch[0]": (5, 1),
        "sound.pitch[1]": (5, 1),
        "view": (5, 5),
    }
    weight = (model.head.weight[:, :4] @ model.sound.weight)[LABELS].detach()
    np.testing.assert_allclose(found["sound.wave"], 2 * wave * weight[:, :5], atol=1e-5)
    np.testing.assert_allclose(found["sound.pitch[1]"], pitch[1] * weight[:, 6:], atol=1e-5)


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda net: torch.compile(net, backend="eager")])
def test_a_wrapped_model_gives_the_same(wrap):
    model = Net()
    plain = lens.attribute_inputs(model, inputs(), LABELS)
    again = lens.attribute_inputs(wrap(model), inputs(), LABELS)
    for name in WHO:
        np.testing.assert_array_equal(plain[name], again[name])


def test_half_precision_is_integrated_in_single():
    model = Parts().to(torch.bfloat16)
    draw = torch.Generator().manual_seed(1)
    given = [torch.randn(5, 5, generator=draw), [torch.randn(5, 1, generator=draw)] * 2]
    given += [torch.randn(5, 5, generator=draw), torch.ones(5, 1)]
    half = [[t.bfloat16() for t in g] if isinstance(g, list) else g.bfloat16() for g in given]
    who = {"sound": "hear", "view": "view"}
    found = lens.attribute_inputs(model, tuple(half), LABELS, who)
    exact = lens.attribute_inputs(model.float(), tuple(given), LABELS, who)
    for name, part in found.items():
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, exact[name], atol=0.05)


@pytest.mark.parametrize(
    ("labels", "settings", "error", "message"),
    [
        (torch.tensor([0, 1, 9, 0, 1]), {}, BatchError, "Label 9 is out of range"),
        (torch.tensor([0, 1]), {}, BatchError, "5 examples and 2 labels"),
        (torch.ones(5), {}, BatchError, "Labels must be class indices"),
        (LABELS, {"n_steps": 0}, SettingError, "n_steps must be"),
    ],
)
def test_what_does_not_fit_is_refused(labels, settings, error, message):
    model = Net()
    with assert_passive(model), pytest.raises(error, match=message):
        lens.attribute_inputs(model, inputs(), labels, WHO, **settings)
