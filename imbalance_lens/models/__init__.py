"""Architectures for examples, experiments and tests; the library itself needs none of them."""

from .late import LateFusion

__all__ = ["LateFusion"]
