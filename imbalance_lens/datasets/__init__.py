"""Audio-visual digits for examples, tests and benchmarks: one set bundled, one from real data."""

from .av_digits import AVDigits
from .av_mnist import AVMNIST

__all__ = ["AVMNIST", "AVDigits"]
