"""What `diagnose` answers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from .. import schema
from ..registry import unknown
from .findings import Finding
from .layout import as_mapping, check, made_tree
from .outline import Outline, outline
from .page import as_html, as_page
from .reading import UNIMODAL_ACCURACY, modalities, root
from .recommend import Recommendation, recommend
from .rules import find
from .storage import read_tree, write_page, write_tree
from .summary import rows
from .tables import tidy
from .text import as_text

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Report:
    """Everything that was measured on a model, and what follows from it.

    All of it is derived from the tree, so a report that was saved and loaded is the same report.

    Args:
        tree: attributes of the diagnosis at the root, and one group per probe, named as it.

    Raises:
        SchemaError: the tree is no report.

    Example:
        >>> report = Report.build(
        ...     {}, anatomy={"encoders": {"audio": "a", "visual": "v"}}, model="Net", examples=500
        ... )
        >>> report.modalities
        ('audio', 'visual')
        >>> print(str(report).splitlines()[0])
        Report on Net, 500 examples
    """

    def __init__(self, tree: xr.DataTree) -> None:
        check(tree)
        self.tree = tree

    @classmethod
    def build(
        cls,
        datasets: Mapping[str, xr.Dataset],
        *,
        anatomy: Any,
        model: str,
        examples: int,
        torch_version: str = "unknown",
        readout: Any = None,
        skipped: Mapping[str, str] | None = None,
        notes: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
    ) -> Self:
        """Return the report of a diagnosis.

        Args:
            datasets: probe -> its answer.
            anatomy: an Anatomy, or a mapping with the same keys; `encoders` names the
                modalities, in order.
            model: class of the model.
            examples: how many the model was shown.
            torch_version: of the torch that ran it.
            readout: how a modality's own logits were read, as a dataclass or a mapping with
                `kind`, `additivity_gap`, `identifiable`, and perhaps `reason`.
            skipped: probe -> why it has no answer.
            notes: sentences on what was noticed about the model.
            settings: of the diagnosis.

        Raises:
            SchemaError: a dataset or an attribute breaks the schema.
        """
        who = as_mapping(anatomy)
        return cls(
            made_tree(
                datasets,
                anatomy={**who, "modalities": list(who.get("encoders", {}))},
                model=model,
                examples=examples,
                torch_version=torch_version,
                readout=as_mapping(readout),
                skipped=dict(skipped or {}),
                notes=list(notes),
                settings=dict(settings or {}),
            )
        )

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities, in the anatomy's order."""
        return modalities(self.tree)

    @property
    def anatomy(self) -> dict[str, Any]:
        """Who is who in the model, and how that is known."""
        return root(self.tree, "anatomy")

    @property
    def skipped(self) -> dict[str, str]:
        """Probes without an answer, and why."""
        return root(self.tree, "skipped")

    @property
    def notes(self) -> tuple[str, ...]:
        """What was noticed about the model on the way."""
        return tuple(root(self.tree, "notes"))

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """What each rule finds, the verdict on dominance first."""
        return find(self.tree)

    @cached_property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """What may help, with the name of a recipe where there is one."""
        return recommend(self.findings, self.tree)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a netCDF file, which opens without torch.

        Args:
            path: the file. One that is there is replaced only once the new one is complete.

        Raises:
            OSError: it cannot be written; what was there before is unchanged.
            SchemaError: something in it cannot be stored.
        """
        write_tree(self.tree, path)

    def to_html(
        self, path: str | os.PathLike[str], *, figures: Mapping[str, str] | None = None
    ) -> None:
        """Write the report as one HTML file that opens in any browser, without a network.

        Everything is in it: findings, advice, the numbers of all probes in tables, what could not
        be measured, and how the rest was. Without figures it stays under 1 MB: tables that are
        too long for that are summed up, and `save` keeps every number.

        Args:
            path: the file. One that is there is replaced only once the new one is complete.
            figures: what each one shows, in words -> the text of an SVG file.

        Raises:
            OSError: it cannot be written; what was there before is unchanged.
            SettingError: a figure is no SVG, or needs something that is not in it.

        Example:
            >>> folder = getfixture("tmp_path")
            >>> encoders = {"audio": "a", "visual": "v"}
            >>> report = Report.build({}, anatomy={"encoders": encoders}, model="Net", examples=3)
            >>> report.to_html(folder / "report.html")
            >>> "<title>Report on Net" in (folder / "report.html").read_text()
            True
        """
        write_page(as_page(self._outline(), self.tree, figures or {}), path)

    def compared_with(self, unimodal_accuracy: Mapping[str, float]) -> Self:
        """Return the same report, which also knows what models of one modality alone can do.

        Args:
            unimodal_accuracy: modality -> what a model trained on it alone gets right of the same
                examples, 0 to 1. Modalities may be left out.

        Raises:
            SchemaError: no modality of that name, or no share.

        Example:
            >>> encoders = {"audio": "a", "visual": "v"}
            >>> report = Report.build({}, anatomy={"encoders": encoders}, model="Net", examples=500)
            >>> told = report.compared_with({"audio": 0.96})
            >>> told.tree.attrs["settings"]
            '{"unimodal_accuracy": {"audio": 0.96}}'
        """
        tree = self.tree.copy()
        known = {**root(tree, "settings"), UNIMODAL_ACCURACY: dict(unimodal_accuracy)}
        tree.attrs["settings"] = schema.to_json(known)
        return type(self)(tree)

    def to_dataframe(self, probe: str | None = None) -> pd.DataFrame:
        """Return numbers as a table.

        Args:
            probe: name of a probe, for all of its numbers in tidy form: one row per number, with
                its variable and its coordinates. Default: the main numbers, one row per modality.

        Raises:
            UnknownNameError: no answer of such a probe is in the report.
        """
        import pandas as pd

        if probe is None:
            return pd.DataFrame.from_dict(rows(self.tree), orient="index").rename_axis("modality")
        if probe not in self.tree.children:
            raise unknown("probe", probe, self.tree.children)
        return tidy(self.tree[probe].to_dataset())

    def __repr__(self) -> str:
        return as_text(self._outline())

    def _repr_html_(self) -> str:
        return as_html(self._outline())

    def _outline(self) -> Outline:
        return outline(self.tree, self.findings, self.recommendations)


def load_report(path: str | os.PathLike[str]) -> Report:
    """Read a report that `Report.save` wrote; needs no torch.

    Args:
        path: the file. It is read at once and closed.

    Raises:
        SchemaError: there is no such file, or it is no report, or a newer version wrote it.

    Example:
        >>> folder = getfixture("tmp_path")
        >>> encoders = {"audio": "a", "visual": "v"}
        >>> Report.build({}, anatomy={"encoders": encoders}, model="Net", examples=3).save(
        ...     folder / "report.nc"
        ... )
        >>> load_report(folder / "report.nc").modalities
        ('audio', 'visual')
    """
    return Report(read_tree(path))
