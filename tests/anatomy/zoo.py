"""The zoo: small models of every shape that people build, and who is who in each.

`ZOO` is what finding, replaying and probing are tested on. A specimen is built from a fixed seed
and is in eval mode; `refuses` is set where the parts cannot be found without the user's help.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import nn

from . import late, middle, structures
from .late import AUDIO, VISUAL


@dataclass(frozen=True)
class Specimen:
    """One model of the zoo and the anatomy that is right for it.

    Attributes:
        make: builds the model; use `build`, which seeds.
        draw: draws the inputs of a number of examples; use `inputs`, which seeds.
        encoders: modality -> expected path of its encoder.
        sites: modality -> expected sites, where they are not the encoder alone.
        head: expected path of the head.
        shared: expected shared modules.
        entangled: its encoders carry each other's modality.
        additive: logits are a sum of one function per modality's sites; None: depends on values.
        refuses: part of the expected complaint, for models that need the user's help.
    """

    name: str
    make: Callable[[], nn.Module]
    draw: Callable[[int], Any]
    encoders: Mapping[str, str]
    sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    head: str | None = "head"
    shared: tuple[str, ...] = ()
    entangled: bool = False
    additive: bool | None = True
    refuses: str = ""

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(self.encoders)

    @property
    def expected_sites(self) -> dict[str, tuple[str, ...]]:
        return {m: self.sites.get(m, (path,)) for m, path in self.encoders.items()}

    def build(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            return self.make().eval()

    def inputs(self, batch: int) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(11)
            return self.draw(batch)


def vectors(batch: int) -> tuple[torch.Tensor, ...]:
    return torch.randn(batch, AUDIO), torch.randn(batch, VISUAL)


def named(batch: int) -> dict[str, torch.Tensor]:
    return dict(zip(("audio", "visual"), vectors(batch), strict=True))


def narrow(batch: int) -> tuple[torch.Tensor, ...]:
    return torch.randn(batch, 6), torch.randn(batch, 4)


def words(batch: int) -> torch.Tensor:
    return torch.randint(0, 20, (batch, 7))


def mask(batch: int) -> torch.Tensor:
    return (torch.arange(7) < 3 + torch.arange(batch).remainder(5)[:, None]).long()


def picture(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 8, 8)


def sequences(batch: int) -> tuple[torch.Tensor, ...]:
    lengths = torch.arange(9, 9 - batch, -1).clamp(min=4)
    return torch.randn(batch, 9, AUDIO), lengths, torch.randn(batch, VISUAL)


RNN = {"audio": "audio_rnn", "visual": "visual_net"}
NETS = {"audio": "audio_net", "visual": "visual_net"}
TOWERS = {"audio": "audio", "visual": "visual"}
AT_INPUT = {"audio": ("input:audio",), "visual": ("input:visual",)}


def tower_layers(tower: str) -> tuple[str, ...]:
    return tuple(f"{tower}.layers.{i}" for i in range(3))


LATE = (
    Specimen("late_concat", late.LateConcat, vectors, NETS),
    Specimen("concat_projections", late.ConcatProjections, vectors, NETS),
    Specimen("sum_of_features", late.SumOfFeatures, vectors, NETS),
    Specimen("sum_of_logits", late.SumOfLogits, vectors, NETS, head=None),
    Specimen("film", late.Film, vectors, NETS, additive=False),
    Specimen("film_zero", lambda: late.Film(silent=True), vectors, NETS, additive=None),
    Specimen("gated", late.Gated, vectors, NETS, additive=False),
    Specimen("mlp_head", late.MlpHead, vectors, NETS, additive=False),
    Specimen("bilinear", late.Bilinear, vectors, NETS, additive=False),
    Specimen(
        "three_modalities",
        lambda: late.ManyModalities(audio=AUDIO, visual=VISUAL, text=4),
        lambda batch: {**named(batch), "text": torch.randn(batch, 4)},
        {m: f"encoders.{m}" for m in ("audio", "visual", "text")},
    ),
    Specimen(
        "six_modalities",
        lambda: late.ManyModalities(**{f"m{i}": i + 2 for i in range(6)}),
        lambda batch: {f"m{i}": torch.randn(batch, i + 2) for i in range(6)},
        {f"m{i}": f"encoders.m{i}" for i in range(6)},
    ),
    Specimen(
        "resnets",
        late.ResNets,
        lambda batch: (torch.randn(batch, 3, 32, 32), torch.randn(batch, 3, 32, 32)),
        NETS,
    ),
    Specimen("tuple_output", late.TupleOutput, vectors, NETS),
    Specimen("dataclass_output", late.DataclassOutput, vectors, NETS),
    Specimen("frozen_encoder", late.FrozenEncoder, vectors, NETS),
    Specimen("value_branch", late.ValueBranch, vectors, NETS, head=None, additive=None),
    Specimen("numpy_round_trip", late.NumpyRoundTrip, vectors, NETS),
    Specimen(
        "unused_input", late.UnusedInput, lambda batch: (*vectors(batch), torch.arange(batch)), NETS
    ),
    Specimen("bypassed", late.Bypassed, vectors, NETS, sites={"audio": ("input:audio",)}),
    Specimen("data_parallel", lambda: nn.DataParallel(late.LateConcat()), vectors, NETS),
    Specimen("compiled", lambda: torch.compile(late.LateConcat(), backend="eager"), named, NETS),  # pyright: ignore[reportArgumentType]
    Specimen(
        "silent_modality",
        late.SilentModality,
        vectors,
        NETS,
        refuses="No module reacts to 'visual' alone",
    ),
)

MIDDLE = (
    Specimen(
        "cross_attention",
        middle.CrossAttention,
        lambda batch: (torch.randn(batch, 5, 6), torch.randn(batch, 3, 4)),
        {"audio": "audio_layer", "visual": "visual_layer"},
        additive=False,
    ),
    Specimen(
        "central_net",
        middle.CentralNet,
        narrow,
        TOWERS,
        sites={tower: tower_layers(tower) for tower in TOWERS},
        additive=False,
    ),
    Specimen(
        "flat_central_net",
        middle.FlatCentralNet,
        narrow,
        {"audio": "a2", "visual": "v2"},
        sites={"audio": ("a1", "a2"), "visual": ("v1", "v2")},
        additive=False,
    ),
    Specimen("mmtm", middle.Mmtm, narrow, TOWERS, sites=AT_INPUT, entangled=True, additive=False),
    Specimen("flat_mmtm", middle.FlatMmtm, narrow, {"audio": "a1", "visual": "v1"}, additive=False),
)

STRUCTURES = (
    Specimen("packed_lstm", structures.PackedLstm, sequences, RNN),
    Specimen("features_and_lengths", structures.FeaturesAndLengths, sequences, RNN),
    Specimen(
        "text_and_image",
        structures.TextAndImage,
        lambda batch: (words(batch), mask(batch), picture(batch)),
        {"input_ids": "text", "image": "vision"},
    ),
    Specimen(
        "typed_text_and_image",
        structures.TypedTextAndImage,
        lambda batch: {
            "input_ids": words(batch),
            "token_type_ids": (torch.arange(7) > 2).long().expand(batch, -1),
            "attention_mask": mask(batch),
            "image": picture(batch),
        },
        {"input_ids": "text", "image": "vision"},
    ),
    Specimen(
        "shared_trunk",
        structures.SharedTrunk,
        lambda batch: (torch.randn(batch, AUDIO), torch.randn(batch, AUDIO)),
        {"left": "trunk#0", "right": "trunk#1"},
        shared=("trunk",),
    ),
    Specimen(
        "shared_table",
        structures.SharedTable,
        lambda batch: {"question": words(batch), "passage": words(batch)},
        {"question": "question", "passage": "passage"},
        shared=("question.0",),
    ),
    Specimen(
        "method_encoders", structures.MethodEncoders, vectors, {"audio": "c1", "visual": "d1"}
    ),
    Specimen(
        "two_outputs",
        structures.OneEncoder,
        lambda batch: (torch.randn(batch, AUDIO), torch.randn(batch, AUDIO)),
        {"audio": "encoder[0]", "visual": "encoder[1]"},
    ),
    Specimen(
        "two_named_outputs",
        lambda: structures.OneEncoder(named=True),
        lambda batch: (torch.randn(batch, AUDIO), torch.randn(batch, AUDIO)),
        {"audio": "encoder[audio]", "visual": "encoder[visual]"},
    ),
    Specimen(
        "nested_batch",
        structures.NestedBatch,
        lambda batch: {
            "audio": {"wave": torch.randn(batch, AUDIO), "gain": torch.rand(batch, 1)},
            "visual": torch.randn(batch, VISUAL),
        },
        NETS,
    ),
    Specimen(
        "nested_modalities",
        structures.NestedModalities,
        lambda batch: {"data": named(batch), "scale": 2.0},
        NETS,
        head=None,
    ),
    Specimen("moving_average", structures.MovingAverage, vectors, NETS),
    Specimen(
        "one_tensor",
        structures.OneTensor,
        lambda batch: torch.randn(batch, 2, AUDIO),
        {"left": "left_net", "right": "right_net"},
        refuses="One input, 'x', holds everything",
    ),
    Specimen(
        "raw_table",
        structures.RawTable,
        lambda batch: (torch.randn(batch, VISUAL), torch.randn(batch, 4)),
        {"visual": "visual_net", "table": "input:table"},
        additive=False,
        refuses="No module reacts to 'table' alone",
    ),
)

ZOO = (*LATE, *MIDDLE, *STRUCTURES)
FOUND = tuple(specimen for specimen in ZOO if not specimen.refuses)
REFUSED = tuple(specimen for specimen in ZOO if specimen.refuses)


def by_name(specimens: tuple[Specimen, ...] | list[Specimen]) -> pytest.MarkDecorator:
    """Run a test once per specimen."""
    return pytest.mark.parametrize("specimen", specimens, ids=lambda specimen: specimen.name)


def specimen_named(name: str) -> Specimen:
    return next(specimen for specimen in ZOO if specimen.name == name)
