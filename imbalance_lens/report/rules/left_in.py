"""What cannot be claimed where a modality keeps some signal when it is left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..findings import Finding, Verdict
from ..words import listed, shown


def doubted(found: Finding, unclear: str, left: Sequence[str]) -> Finding:
    """Return the finding, or an inconclusive one in its place if any modality is left in.

    Args:
        found: of a rule that judges by leaving out.
        unclear: how the rule says that it does not know.
        left: the modalities that keep some signal when they are left out.
    """
    if not left or found.verdict is Verdict.INCONCLUSIVE:
        return found
    who = listed(map(shown, left))
    sentence = f"{unclear}, for leaving {who} out leaves some of the signal in the logits."
    return replace(found, verdict=Verdict.INCONCLUSIVE, sentence=sentence)
