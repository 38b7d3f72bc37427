"""Who is who in a model: found or given, explained, read and replayed."""

from .explain import explain
from .find import find_anatomy
from .types import Anatomy

__all__ = ["Anatomy", "explain", "find_anatomy"]
