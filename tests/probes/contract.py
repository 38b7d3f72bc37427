"""What every probe promises, each promise as a function that asserts it."""

import gc
import importlib
import weakref
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from imbalance_lens import schema
from imbalance_lens.errors import NotApplicableError, NotAttachedError
from imbalance_lens.observation import Need, Observation
from imbalance_lens.probes._base import Probe

from .world import World

MakeProbe = Callable[[], Probe]


def observed(make: MakeProbe, seen: Iterable[Observation]) -> Probe:
    """Return a new probe that has seen some observations."""
    probe = make()
    show(probe, seen)
    return probe


def show(probe: Probe, seen: Iterable[Observation]) -> None:
    """Let a probe observe what it wants to look at."""
    for observation in seen:
        wanted = probe.looks_at_training or not observation.training
        if wanted and probe.looks_at(observation.step):
            probe.observe(observation)


def answers_the_same_twice(make: MakeProbe) -> None:
    probe = observed(make, World().history())
    xr.testing.assert_identical(probe.result(), probe.result())


def goes_on_after_an_answer(make: MakeProbe) -> None:
    first, *rest = World().history()
    probe = observed(make, [first])
    with suppress(NotApplicableError):  # a probe that compares needs more than one look
        probe.result()
    show(probe, rest)
    expected = observed(make, World().history()).result()
    xr.testing.assert_identical(probe.result(), expected)


def follows_the_schema(make: MakeProbe) -> None:
    probe = observed(make, World().history())
    answer = probe.result()
    schema.validate(answer)
    assert answer.attrs["settings"] == schema.to_json(probe.settings())
    for values in answer.data_vars.values():
        _importable(values.attrs["formula"])


def survives_a_file(make: MakeProbe, folder: Path) -> None:
    answer = observed(make, World().history()).result()
    answer.to_netcdf(folder / "answer.nc", engine="h5netcdf")
    xr.testing.assert_identical(xr.load_dataset(folder / "answer.nc", engine="h5netcdf"), answer)


def says_when_it_has_seen_nothing(make: MakeProbe) -> None:
    name = type(make()).__module__.rpartition(".")[2]
    with pytest.raises(NotAttachedError, match=f"'{name}' has seen no batch yet"):
        make().result()


def keeps_no_tensor_of_an_observation(make: MakeProbe) -> None:
    memory: list[weakref.ref] = []
    probe = observed(make, (_in_memory_of(seen, memory) for seen in World().history()))
    gc.collect()
    assert probe
    assert memory
    assert [array() for array in memory if array() is not None] == []


def changes_no_tensor_of_an_observation(make: MakeProbe) -> None:
    handed_out: list[tuple[Tensor, Tensor]] = []

    def noted(tensor: Tensor) -> Tensor:
        handed_out.append((tensor, tensor.clone()))
        return tensor

    observed(make, (_mapped(seen, noted) for seen in World().history()))
    assert all(torch.equal(tensor, before) for tensor, before in handed_out)


def waits_for_no_device(make: MakeProbe) -> None:
    """Tensors on the meta device have no values that one could wait for."""
    observed(make, World(device="meta").history())


def adds_up_over_parts(make: MakeProbe) -> None:
    if make().needs_whole_batches:
        return
    world = World()
    whole = observed(make, world.history())
    parts = [observed(make, list(world.history(parts=2))[k::2]) for k in range(2)]
    merged = make()
    for part in (make(), *parts, make()):
        merged.merge(part)
    expected = _over_all_examples(whole.result())
    _close(_over_all_examples(merged.result()), expected)
    split = observed(make, world.history(parts=2))
    _close(_over_all_examples(split.result()), expected)


def ignores_the_order_of_the_examples(make: MakeProbe) -> None:
    world = World()
    mixed = torch.cat([half.flip(0) for half in torch.arange(world.examples).chunk(2)])
    answers = [observed(make, world.history(order)).result() for order in (None, mixed)]
    _close(*map(_over_all_examples, answers))


def treats_all_modalities_alike(make: MakeProbe) -> None:
    names = ("audio", "visual", "text")
    answers = [
        observed(make, World(modalities=order).history()).result() for order in (names, names[::-1])
    ]
    _close(*map(_by_name, answers))


def hides_no_nan(make: MakeProbe) -> None:
    if not {Need.LABELS, Need.MODALITY_LOGITS, Need.COALITIONS, Need.FUSION} & set(make().needs):
        return
    first, *rest = World().history()
    spoiled = World().see(torch.arange(len(first.labels)), nan=True)
    clean = observed(make, [first, *rest]).result()
    assert not observed(make, [spoiled, *rest]).result().equals(clean)


def answers_or_says_why_not(make: MakeProbe, world: World) -> None:
    reason = ""
    try:
        schema.validate(observed(make, world.history()).result())
    except NotApplicableError as error:
        reason = str(error) or "none"
    assert reason == "" or len(reason.split()) > 3


def agrees_on_a_gpu(make: MakeProbe) -> None:
    there = list(World(device="cuda").history())
    probe = make()
    torch.cuda.set_sync_debug_mode("default" if probe.waits_for_device else "error")
    try:
        show(probe, there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = observed(make, World().history()).result()
    xr.testing.assert_allclose(probe.result(), expected, rtol=1e-5, atol=1e-6)


PROMISES = (
    answers_the_same_twice,
    goes_on_after_an_answer,
    follows_the_schema,
    says_when_it_has_seen_nothing,
    keeps_no_tensor_of_an_observation,
    changes_no_tensor_of_an_observation,
    waits_for_no_device,
    adds_up_over_parts,
    ignores_the_order_of_the_examples,
    treats_all_modalities_alike,
    hides_no_nan,
)
"""All promises that need nothing but a probe."""


def _mapped(seen: Observation, change: Callable[[Tensor], Tensor]) -> Observation:
    """Return the same observation with every tensor that it hands out changed."""

    def coalitions(present: Collection[str], fill: str = "zero", draw: int = 0) -> Tensor:
        return change(seen.coalitions(present, fill, draw))

    def all_of(parts: Any) -> Any:
        tensors = {name: part for name, part in vars(parts).items() if isinstance(part, Tensor)}
        return replace(parts, **{name: change(tensor) for name, tensor in tensors.items()})

    return replace(
        seen,
        labels=change(seen.labels),
        logits=change(seen.logits),
        features={name: change(tensor) for name, tensor in seen.features.items()},
        modality_logits={name: change(tensor) for name, tensor in seen.modality_logits.items()},
        coalitions=coalitions,
        signals={name: tuple(map(change, given)) for name, given in seen.signals.items()},
        fusion=lambda signals: change(seen.fusion(signals)),
        gradients={name: all_of(gradients) for name, gradients in seen.gradients.items()},
        batchnorms={path: all_of(state) for path, state in seen.batchnorms.items()},
        activations=lambda bn_stats="running": {
            place: all_of(heard) for place, heard in seen.activations(bn_stats).items()
        },
    )


def _in_memory_of(seen: Observation, memory: list[weakref.ref]) -> Observation:
    """Copy all tensors into arrays that live as long as anything looks at their memory."""

    def moved(tensor: Tensor) -> Tensor:
        array = np.array(tensor.detach().numpy())
        memory.append(weakref.ref(array))
        return torch.from_numpy(array)

    return _mapped(seen, moved)


def _importable(path: str) -> None:
    package, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(package), name), path


def _over_all_examples(answer: xr.Dataset) -> xr.Dataset:
    return answer.drop_dims("example", errors="ignore")


def _by_name(answer: xr.Dataset) -> xr.Dataset:
    for dim in {"coalition", "pattern"} & set(answer.coords):
        sets = ["+".join(sorted(str(name).split("+"))) for name in answer[dim].values]
        answer = answer.assign_coords({dim: sets})
    return answer.sortby([str(dim) for dim in answer.dims])


def _close(one: xr.Dataset, other: xr.Dataset) -> None:
    xr.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
