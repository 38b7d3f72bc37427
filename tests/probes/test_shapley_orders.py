"""Contributions where there are too many modalities for all sets of them."""

import numpy as np
import torch
import xarray as xr
from captum.attr import ShapleyValueSampling
from torch import Tensor

from imbalance_lens import formulas
from imbalance_lens.probes.shapley import Shapley

from .heads import Asked, nonlinear, seeing
from .world import World

TEN = tuple(f"m{place}" for place in range(10))


def answer(*seen, **settings) -> xr.Dataset:
    probe = Shapley(**settings)
    for observation in seen:
        probe.observe(observation)
    return probe.result()


def test_drawn_orders_come_as_close_as_their_standard_error_says():
    world = World(TEN, examples=60)
    exact = answer(world.see(), exact_up_to=10)
    assert exact.attrs["exact"] == "true"
    assert (exact["sampling_error"] == 0).all()
    off = []
    for seed in range(8):
        drawn = answer(world.see(), order_pairs=20, seed=seed)
        assert drawn.attrs["exact"] == "false"
        off.append((drawn["contribution"] - exact["contribution"]) / drawn["sampling_error"])
    deviations = np.stack(off)
    assert abs(np.sqrt(np.mean(deviations**2)) - 1) < 0.2
    assert abs(deviations.mean()) < 0.2


def test_drawn_contributions_sum_up_as_well_and_are_the_same_in_all_batches():
    world = World(TEN)
    whole = answer(world.see())
    gained = whole["worth"].isel(coalition=-1) - whole["worth"].isel(coalition=0)
    np.testing.assert_allclose(whole["contribution"].sum("modality"), gained, atol=1e-12)
    parts = answer(*(world.see(rows) for rows in torch.arange(24).split([5, 19])))
    np.testing.assert_allclose(
        parts["example_contribution"], whole["example_contribution"], atol=1e-6
    )


def test_the_order_of_the_modalities_draws_the_same_orders():
    one, other = (answer(World(names).see()) for names in (TEN, TEN[::-1]))
    for name in ("contribution", "sampling_error", "contribution_interval"):
        xr.testing.assert_allclose(one[name], other[name].reindex_like(one[name]), rtol=1e-6)


def test_drawn_orders_ask_for_no_more_than_they_meet_and_leave_interactions_open():
    asked: Asked = []
    head, features, labels = nonlinear(TEN)
    found = answer(seeing(head, features, labels, asked=asked), order_pairs=3)
    assert len(asked) == len(set(asked)) <= 6 * 8 + 10 + 1
    assert found["interaction"].isnull().all()
    exact = answer(seeing(head, features, labels), exact_up_to=10)
    np.testing.assert_allclose(found["cooperation"], exact["cooperation"])
    assert found["coalition"].values[[0, 1, -1]].tolist() == ["", "m0", "+".join(TEN)]


def test_copies_that_drew_the_same_orders_are_merged():
    world = World(TEN)
    parts = [Shapley(), Shapley()]
    for part, rows in zip(parts, torch.arange(24).split([9, 15]), strict=True):
        part.observe(world.see(rows))
    parts[0].merge(parts[1])
    xr.testing.assert_allclose(parts[0].result(), answer(world.see()), rtol=1e-6)


def root_mean_square(errors: list[Tensor]) -> float:
    return torch.stack(errors).square().mean().sqrt().item()


def test_mirrored_orders_come_closer_than_those_of_captum_at_less_cost():
    draw = torch.Generator().manual_seed(0)
    inner = torch.randn(10, 16, generator=draw).double()
    outer = torch.randn(16, generator=draw).double()
    signal = torch.randn(10, generator=draw).double()
    passes = [0]

    def network(present: Tensor) -> Tensor:
        passes[0] += len(present)
        return torch.sigmoid(((present * signal) @ inner).relu() @ outer)

    def worth(sets) -> dict[frozenset[str], Tensor]:
        table = torch.tensor([[float(name in present) for name in TEN] for present in sets])
        return dict(zip(sets, network(table.double()), strict=True))

    exact = formulas.shapley_values(worth(formulas.coalitions(TEN)))
    truth = torch.stack([exact[name] for name in TEN])
    errors: dict[str, list[Tensor]] = {"captum": [], "mirrored": []}
    cost = {}
    for seed in range(40):
        torch.manual_seed(seed)
        passes[0] = 0
        ones = torch.ones(1, 10, dtype=torch.float64)
        found = ShapleyValueSampling(network).attribute(ones, n_samples=16)
        errors["captum"].append(found[0].double() - truth)
        cost["captum"], passes[0] = passes[0], 0
        orders = formulas.antithetic_orders(TEN, pairs=8, seed=seed)
        values = worth(list({present for order in orders for present in formulas.arrivals(order)}))
        gains = [formulas.arrival_gains(values, order) for order in orders]
        mean = torch.stack([torch.stack([gain[name] for gain in gains]).mean() for name in TEN])
        errors["mirrored"].append(mean - truth)
        cost["mirrored"] = passes[0]
    assert cost["mirrored"] < cost["captum"]
    assert root_mean_square(errors["mirrored"]) < 0.8 * root_mean_square(errors["captum"])
