import gc
import tracemalloc
from collections.abc import Iterator

from torch import Tensor

from benchmarks.long_run import BATCH, WHO, Stream, Tiny, forward_only
from imbalance_lens import diagnose

FEW, MANY = 2_000, 8_000


class Weighed(Stream):
    """Notes what is held after a few examples and after many."""

    def __init__(self) -> None:
        super().__init__(MANY + BATCH)
        self.traced: list[int] = []
        self.tensors: list[int] = []

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for batch in super().__iter__():
            if self.given in (FEW, MANY):
                gc.collect()
                self.traced.append(tracemalloc.get_traced_memory()[0])
                # tracemalloc does not see what tensors point to
                sizes = [each.nbytes for each in gc.get_objects() if type(each) is Tensor]
                self.tensors.append(sum(sizes))
            yield batch


def growth(probes: list[str]) -> tuple[int, int]:
    """Return how many more bytes Python and tensors hold after many examples than after few."""
    stream = Weighed()
    tracemalloc.start()
    try:
        diagnose(Tiny(), stream, WHO, probes, progress=False)
    finally:
        tracemalloc.stop()
    return stream.traced[1] - stream.traced[0], stream.tensors[1] - stream.tensors[0]


def test_probes_that_keep_sums_hold_no_more_after_more_examples():
    traced, tensors = growth(["calibration", "logit_norm"])
    assert tensors == 0
    assert traced < 8 * (MANY - FEW)


def test_a_probe_that_keeps_rows_holds_as_many_bytes_per_example_as_it_says():
    _, tensors = growth(["agreement"])
    assert tensors == 6 * (MANY - FEW)  # 2 + 2 M bytes, for two modalities


def test_no_example_is_lost_in_a_long_run():
    examples = MANY + BATCH // 2  # the last batch is a smaller one
    stream = Stream(examples)
    report = diagnose(Tiny(), stream, WHO, forward_only(), progress=False)
    assert stream.given == examples
    assert report.tree["logit_norm"].to_dataset()["count"].sum() == examples
    said = [report.tree[name].attrs["examples"] for name in ("zero_out", "permutation", "shapley")]
    assert said == [examples] * 3
