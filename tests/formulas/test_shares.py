import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.errors import SettingError
from imbalance_lens.formulas import magnitude_shares

from . import twins

values = st.dictionaries(
    st.sampled_from(["audio", "visual", "text", "depth", "flow"]),
    st.floats(-1e6, 1e6).filter(lambda x: x == 0 or abs(x) > 1e-6),
    min_size=2,
)


def found(given_values):
    doubles = {name: torch.tensor(v, dtype=torch.float64) for name, v in given_values.items()}
    shares = magnitude_shares(doubles)
    return {name: share.item() for name, share in shares.items()}


@given(values)
def test_shares_are_those_of_the_slow_twin(values):
    expected = twins.magnitude_shares(values)
    assert list(found(values)) == list(values)
    assert found(values) == pytest.approx(expected, rel=1e-9, nan_ok=True)


def test_shares_worked_by_hand():
    assert found({"a": 2.0, "b": -1.0, "c": 1.0}) == {"a": 0.5, "b": 0.25, "c": 0.25}


@given(values)
def test_shares_sum_to_one_unless_there_is_nothing_to_share(values):
    total = math.fsum(found(values).values())
    assert total == pytest.approx(1) if any(values.values()) else math.isnan(total)


def test_entries_are_shared_one_by_one_and_nan_stays_with_its_own():
    shares = magnitude_shares(
        {"a": torch.tensor([1.0, 0.0, math.nan]), "b": torch.tensor([3.0, 0.0, 1.0])}
    )
    torch.testing.assert_close(
        shares["a"], torch.tensor([0.25, math.nan, math.nan]), equal_nan=True
    )


def test_half_precision_does_not_overflow():
    large = torch.tensor(60000.0, dtype=torch.float16)
    assert magnitude_shares({"a": large, "b": large})["a"] == 0.5


def test_one_modality_is_refused():
    with pytest.raises(SettingError, match="Two or more modalities are needed; got 'audio'"):
        magnitude_shares({"audio": torch.tensor(1.0)})
