"""The card that says where a recipe comes from and what it does."""

from __future__ import annotations

from dataclasses import dataclass

from imbalance_lens.notebook import as_table


@dataclass(frozen=True)
class Card:
    """Where a recipe comes from and what it does; compulsory.

    Attributes:
        title: short name, as the paper writes it.
        paper: authors, venue, year.
        equations: which of the paper's equations are implemented.
        events: names of the event methods that act.
        touches: what of the training is changed, out of `TOUCHES`.
        needs: what of model and data is needed, in words.
        defaults: where the default settings come from.
        deviations: where this differs from the paper or from the authors' code, and why.
        rests_on: probes that have to answer for what the recipe acts on.
    """

    title: str
    paper: str
    equations: str
    events: tuple[str, ...]
    touches: tuple[str, ...]
    needs: str
    defaults: str
    deviations: tuple[str, ...] = ()
    rests_on: tuple[str, ...] = ()

    def rows(self) -> list[tuple[str, str]]:
        """Return what to tell of it: label and text."""
        return [
            ("paper", self.paper),
            ("equations", self.equations),
            ("acts at", ", ".join(self.events) or "no event"),
            ("changes", ", ".join(self.touches) or "nothing"),
            ("needs", self.needs),
            ("defaults", self.defaults),
            *(("differs", deviation) for deviation in self.deviations),
        ]

    def _repr_html_(self) -> str:
        return as_table(("", self.rows()), title=self.title, words=True)


TOUCHES = ("parameters", "inputs", "features", "loss", "encoder gradients", "encoder updates")
"""What a recipe may change; two that change the same thing clash."""
