"""What all default probes together cost, and exact Shapley values against captum's.

Run with `python -m benchmarks.all_probes`. ResNet-18 encoders, images of 96 x 96; ratios are to a
plain evaluation pass over the same data. The games are not the same: captum zeroes the inputs and
runs the encoders for every set, `Shapley(fill="input")` gives its numbers, the default fill zeroes
the features.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import torch
from captum.attr import ShapleyValues
from torch import Tensor

from benchmarks.late_fusion import SIDE, LateFusion, anatomy_of, data_of, evaluation, model_of
from benchmarks.side_by_side import Beside, device, measure, measure_passes, show, write
from imbalance_lens import diagnose
from imbalance_lens.anatomy.replayer import Replayer
from imbalance_lens.batches import bind
from imbalance_lens.formulas import coalitions, shapley_values

ALL = "diagnose, all default probes"
LIMITS = {2: 1.35, 4: 1.50}
EXAMPLES = 320
SMALL_BATCH, LARGE_BATCH = 8, 64


def diagnosed(model: LateFusion, data: Beside) -> None:
    diagnose(model, data, anatomy_of(len(model.nets)), progress=False)


def games(views: int) -> tuple[dict[str, Callable[[], object]], float]:
    """Return the variants of one batch, and how far the values of the same game lie apart."""
    model, (batch,) = model_of(views), data_of(views, SMALL_BATCH, 1)
    *inputs, labels = batch
    target = labels.to(device())

    def ours(fill: str) -> Tensor:
        with Replayer(model, anatomy_of(views)) as replayer:
            replay = replayer.capture(bind(model, tuple(inputs)))
            sets = coalitions(replay.modalities)
            value = {s: replay.logits(s, fill).gather(1, target[:, None])[:, 0] for s in sets}
        return torch.stack(list(shapley_values(value).values()), 1)

    def captum() -> Tensor:
        masks = tuple(torch.full_like(x[:1], i, dtype=torch.int64) for i, x in enumerate(inputs))
        with torch.no_grad():
            found = ShapleyValues(model).attribute(tuple(inputs), target=target, feature_mask=masks)
        return torch.stack([part[:, 0, 0, 0] for part in found], 1)

    with torch.no_grad():
        apart = float((ours("input") - captum()).abs().max())
    return {
        "captum ShapleyValues on inputs": captum,
        "the same game, replayed": lambda: ours("input"),
        "zeroed features, replayed": lambda: ours("zero"),
    }, apart


def main() -> None:
    results: dict[str, object] = {}
    for views, batch in itertools.product((2, 4), (SMALL_BATCH, LARGE_BATCH)):
        title = f"M={views}, B={batch}, {EXAMPLES} examples of {SIDE} x {SIDE}"
        model = model_of(views)
        rows = measure_passes(
            data_of(views, batch, EXAMPLES // batch),
            evaluation(model),
            {ALL: partial(diagnosed, model)},
            repeats=3,
        )
        show(title, rows, {ALL: LIMITS[views]})
        results[title] = rows
    for views in (2, 4):
        title = f"Shapley values, M={views}, one batch of {SMALL_BATCH}"
        variants, apart = games(views)
        rows = measure(variants, repeats=3)
        show(title, rows, {})
        for name in list(variants)[1:]:
            print(f"{name}: {1 / rows[name]['ratio']:.1f} times as fast as captum")
        print(f"largest difference of the same game's values: {apart:.1e}")
        results[title] = {"rows": rows, "largest_difference": apart}
    write("all_probes" if device().type == "cpu" else "all_probes_gpu", results)


if __name__ == "__main__":
    main()
