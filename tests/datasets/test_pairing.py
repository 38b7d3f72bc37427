"""Every sound gets an image of its digit, fairly and reproducibly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imbalance_lens.datasets._pairing import generator, pair
from imbalance_lens.errors import DataError

ten_digits = st.integers(0, 2**32 - 1).map(np.random.default_rng)


@given(rng=ten_digits, sounds=st.integers(1, 60), extra=st.integers(0, 40))
def test_pairs_share_the_digit_and_no_image_is_used_twice_more_than_another(rng, sounds, extra):
    digits = rng.integers(10, size=sounds)
    image_digits = rng.permutation(np.append(np.arange(10), rng.integers(10, size=extra)))
    chosen = pair(digits, image_digits, rng)
    assert (image_digits[chosen] == digits).all()
    for digit in np.unique(digits):
        uses = np.bincount(chosen, minlength=len(image_digits))[image_digits == digit]
        assert uses.max() - uses.min() <= 1


def test_a_digit_without_an_image_is_named():
    with pytest.raises(DataError, match="No image shows the digit 7"):
        pair(np.array([3, 7]), np.array([3, 3]), np.random.default_rng(0))


def test_random_numbers_depend_on_seed_split_and_purpose():
    keys = [(0, "train", "noise"), (1, "train", "noise"), (0, "test", "noise"), (0, "train", "x")]
    first = [generator(*key).random() for key in keys]
    assert first == [generator(*key).random() for key in keys]
    assert len(set(first)) == len(keys)
