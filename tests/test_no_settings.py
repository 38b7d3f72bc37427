"""What is no setting at all is refused in words, whatever it is."""

from collections.abc import Callable
from typing import Any

import pytest

import imbalance_lens as lens
from imbalance_lens.errors import BatchError, SettingError
from imbalance_lens.probes.calibration import Calibration
from imbalance_lens.probes.linear_probe import LinearProbe
from imbalance_lens.probes.shapley import Shapley
from imbalance_lens.probes.zero_out import ZeroOut
from tests.test_unseen_models import WHO, Late, data


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, r"heads must be a mapping, as \{modality: ...\}; got 3"),
        ({"heads": {"audio": len}}, r"heads must have the modalities \['audio', 'visual'\]"),
        ({"split": 3}, "split must be a function; got 3"),
        ({"logits": "logits"}, "logits must be a function; got 'logits'"),
        ({"probes": 3}, "A probe is a name or a Probe; got int. Names: "),
        ({"probes": [None]}, "A probe is a name or a Probe; got NoneType. Names: "),
    ],
)
def test_what_diagnose_cannot_use_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        lens.diagnose(Late(), data(), **{"anatomy": WHO, "probes": ["dead_features"], **settings})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shapley(values=None), "value=None is not known. Choose one of"),
        (lambda: LinearProbe(channel_dims=3), "channel_dims must be a mapping.*; got 3"),
        (lambda: Calibration(bins=10**30), "bins must be a whole number, 10,000 at most; got 1000"),
        (lambda: ZeroOut(seed=2**63), "seed must be a whole number, 9,223,372.*at most; got 9223"),
        (lambda: lens.load_report(None), "path must be the path of a file; got None"),
    ],
)
def test_what_a_probe_or_a_file_cannot_be_is_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()


def test_a_report_is_saved_in_a_file() -> None:
    report = lens.diagnose(Late(), data(), WHO, ["dead_features"])
    with pytest.raises(SettingError, match="path must be the path of a file; got 3"):
        report.save(3)


def test_channels_are_counted_in_whole_numbers() -> None:
    probe = LinearProbe(channel_dims={"audio": "last"})
    with pytest.raises(SettingError, match=r"channel_dims\['audio'\]='last' names no dimension"):
        lens.diagnose(Late(), data(8), WHO, [probe])


@pytest.mark.parametrize("given", [None, (1, 2, 3), "ab"])
def test_a_split_returns_two_things(given: Any) -> None:
    with pytest.raises(BatchError, match=r"split=function gave a .*it must return \(inputs, lab"):
        lens.diagnose(Late(), data(), WHO, split=lambda _: given)
