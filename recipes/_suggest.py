"""From a diagnosis to recipes: which, why, with what to start, and what is in the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imbalance_lens import schema
from imbalance_lens.report import Report

from ._base import Recipe, Want
from ._registry import get, names


@dataclass(frozen=True)
class Suggestion:
    """A recipe that a diagnosis calls for.

    Attributes:
        recipe: its name, for `recipes.apply`.
        modalities: those that give rise to it.
        reasons: why, one per finding, in plain words.
        papers: the works that say so.
        settings: to start with, beyond the recipe's defaults.
        needs: what it needs of model and data, in words.
        lacks: what of it this model or this report lacks, and what to do; empty for nothing.
    """

    recipe: str
    modalities: tuple[str, ...]
    reasons: tuple[str, ...]
    papers: tuple[str, ...]
    settings: dict[str, Any]
    needs: str
    lacks: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"{self.recipe}: {' '.join(self.reasons)} ({'; '.join(self.papers)})"]
        if self.settings:
            lines.append(
                f"  start with {', '.join(f'{k}={v!r}' for k, v in self.settings.items())}"
            )
        lines.append(f"  needs {self.needs}")
        lines += [f"  lacks {sentence}" for sentence in self.lacks]
        return "\n".join(lines)


class Suggestions(Sequence[Suggestion]):
    """Suggestions, the most direct first; printed as text."""

    def __init__(self, found: Sequence[Suggestion]) -> None:
        self._found = tuple(found)

    def __getitem__(self, index: Any) -> Any:
        """Return one of them, or a slice."""
        return self._found[index]

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._found)

    def __repr__(self) -> str:
        return "\n".join(map(str, self._found)) or "nothing was found that a recipe is for"


def suggest(report: Report) -> Suggestions:
    """Return the recipes that a report calls for, ranked as its recommendations are.

    The rules are those of the report: a recipe is suggested where a finding says yes. What is
    added is what the recipe needs, and what of that is known to be missing.

    Args:
        report: what `imbalance_lens.diagnose` or `imbalance_lens.load_report` answered.

    Returns:
        One suggestion per recipe; recipes that nothing is missing for come first.

    Example:
        >>> from imbalance_lens import diagnose
        >>> from imbalance_lens.testing import planted
        >>> model, loader = planted("audio")
        >>> [found.recipe for found in suggest(diagnose(model, loader))][:2]
        ['ogm_ge', 'opm']
    """
    known = names()
    by_recipe: dict[str, list[Any]] = {}
    for advice in report.recommendations:
        if advice.recipe in known:
            by_recipe.setdefault(advice.recipe, []).append(advice)
    found = [_suggestion(name, given, report) for name, given in by_recipe.items()]
    return Suggestions(sorted(found, key=lambda suggestion: bool(suggestion.lacks)))


def _suggestion(name: str, given: Sequence[Any], report: Report) -> Suggestion:
    recipe = get(name)
    own = {field.name for field in dataclasses.fields(recipe) if field.init}
    modalities = tuple(dict.fromkeys(advice.modality for advice in given if advice.modality))
    aimed = {"modalities": list(modalities)} if "modalities" in own and modalities else {}
    return Suggestion(
        recipe=name,
        modalities=modalities,
        reasons=tuple(dict.fromkeys(advice.reason for advice in given)),
        papers=tuple(dict.fromkeys(advice.paper for advice in given if advice.paper)),
        settings=aimed,
        needs=recipe.card.needs,
        lacks=tuple(_lacking(recipe, report)),
    )


def _lacking(recipe: type[Recipe], report: Report) -> Iterator[str]:
    wants = recipe().wants()
    if wants & {Want.SCORES, Want.SCORES_BEFORE_FUSION} and Want.HEAD_SCORES not in wants:
        readout = schema.from_json(report.tree.attrs.get("readout", "{}"))
        silent = [name for name, known in readout.get("identifiable", {}).items() if not known]
        if silent:
            yield (
                f"scores of {' and '.join(silent)}, whose logits cannot be read out of this head; "
                "pass readout='heads', which trains heads beside the model"
            )
    for probe in recipe.card.rests_on:
        if probe in report.skipped:
            yield f"an answer of {probe}: {report.skipped[probe]}"
