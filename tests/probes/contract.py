"""What every probe promises, each promise as a function that asserts it."""

import gc
import importlib
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor

from imbalance_lens import schema
from imbalance_lens.errors import NotApplicableError, NotAttachedError
from imbalance_lens.observation import Need, Observation
from imbalance_lens.probes._base import Probe

from .world import Known, World

MakeProbe = Callable[[], Probe]


def observed(make: MakeProbe, seen: Iterable[Observation]) -> Probe:
    """Return a new probe that has seen some observations."""
    probe = make()
    for observation in seen:
        probe.observe(observation)
    return probe


def answers_the_same_twice(make: MakeProbe) -> None:
    probe = observed(make, World().history())
    xr.testing.assert_identical(probe.result(), probe.result())


def goes_on_after_an_answer(make: MakeProbe) -> None:
    first, *rest = World().history()
    probe = observed(make, [first])
    probe.result()
    for observation in rest:
        probe.observe(observation)
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
    seen, same = World().see(), World().see()
    observed(make, [seen])
    for tensor, untouched in zip(_tensors(seen), _tensors(same), strict=True):
        assert torch.equal(tensor, untouched)


def waits_for_no_device(make: MakeProbe) -> None:
    """Tensors on the meta device have no values that one could wait for."""
    observed(make, [on_device(seen, "meta") for seen in World().history()])


def adds_up_over_parts(make: MakeProbe) -> None:
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
    if not {Need.LABELS, Need.MODALITY_LOGITS, Need.COALITIONS} & set(make().needs):
        return
    clean = observed(make, [World().see()]).result()
    assert not observed(make, [World().see(nan=True)]).result().equals(clean)


def answers_or_says_why_not(make: MakeProbe, world: World) -> None:
    reason = ""
    try:
        schema.validate(observed(make, world.history()).result())
    except NotApplicableError as error:
        reason = str(error) or "none"
    assert reason == "" or len(reason.split()) > 3


def agrees_on_a_gpu(make: MakeProbe) -> None:
    world = World()
    there = [on_device(seen, "cuda") for seen in world.history()]
    probe = make()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for seen in there:
            probe.observe(seen)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = observed(make, world.history()).result()
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


def on_device(seen: Observation, device: str) -> Observation:
    """Return the same observation on another device."""
    return _mapped(seen, lambda tensor: tensor.to(device))


def _mapped(seen: Observation, change: Callable[[Tensor], Tensor]) -> Observation:
    assert isinstance(seen.coalitions, Known)
    fields = ("weight", "bias", "running_mean", "running_var")
    return replace(
        seen,
        labels=change(seen.labels),
        logits=change(seen.logits),
        features={name: change(tensor) for name, tensor in seen.features.items()},
        modality_logits={name: change(tensor) for name, tensor in seen.modality_logits.items()},
        coalitions=Known({key: change(logits) for key, logits in seen.coalitions.items()}),
        batchnorms={
            path: replace(state, **{name: change(getattr(state, name)) for name in fields})
            for path, state in seen.batchnorms.items()
        },
    )


def _tensors(seen: Observation) -> list[Tensor]:
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    _mapped(seen, note)
    return found


def _in_memory_of(seen: Observation, memory: list[weakref.ref]) -> Observation:
    """Copy all tensors into arrays that live as long as anything looks at their memory."""

    def moved(tensor: Tensor) -> Tensor:
        array = np.array(tensor.numpy())
        memory.append(weakref.ref(array))
        return torch.from_numpy(array)

    return _mapped(seen, moved)


def _importable(path: str) -> None:
    package, _, name = path.rpartition(".")
    assert hasattr(importlib.import_module(package), name), path


def _over_all_examples(answer: xr.Dataset) -> xr.Dataset:
    return answer.drop_dims("example", errors="ignore")


def _by_name(answer: xr.Dataset) -> xr.Dataset:
    if "coalition" in answer.coords:
        sets = ["+".join(sorted(str(name).split("+"))) for name in answer["coalition"].values]
        answer = answer.assign_coords(coalition=sets)
    return answer.sortby([str(dim) for dim in answer.dims])


def _close(one: xr.Dataset, other: xr.Dataset) -> None:
    xr.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)
