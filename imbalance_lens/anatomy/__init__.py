"""Who is who in a model: found or given, explained, read and replayed."""

from .types import Anatomy

__all__ = ["Anatomy"]
