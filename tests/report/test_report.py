import dataclasses
import math

import numpy as np
import pytest
import xarray as xr

from imbalance_lens import schema
from imbalance_lens.errors import SchemaError, UnknownNameError
from imbalance_lens.report import Report

from .planted import abnormal_batchnorm, logit_norm, report, zero_out

DS = zero_out({"audio": 0.8, "visual": 0.3})


def test_the_parts_are_read_from_the_tree():
    made = report(
        zero_out=DS, skipped={"ogr": "no checkpoints"}, notes=["A note."], settings={"a": None}
    )
    assert made.modalities == ("audio", "visual")
    assert made.anatomy["encoders"] == {"audio": "audio_net", "visual": "visual_net"}
    assert made.skipped == {"ogr": "no checkpoints"}
    assert made.notes == ("A note.",)
    xr.testing.assert_identical(made.tree["zero_out"].to_dataset(), DS)
    assert made.tree.attrs["schema_version"] == schema.SCHEMA_VERSION
    assert schema.from_json(made.tree.attrs["settings"]) == {"a": None}


def test_modalities_keep_the_anatomys_order():
    assert report(("visual", "audio")).modalities == ("visual", "audio")


def test_an_anatomy_and_a_readout_may_be_dataclasses():
    @dataclasses.dataclass(frozen=True)
    class Who:
        encoders: dict
        fusion: tuple = ("mix",)

    @dataclasses.dataclass(frozen=True)
    class Readout:
        kind: str = "heads"
        additivity_gap: float = math.nan

    made = report(anatomy=Who({"audio": "a", "visual": "v"}), readout=Readout())
    assert made.anatomy["fusion"] == ["mix"]
    assert made.modalities == ("audio", "visual")
    readout = schema.from_json(made.tree.attrs["readout"])
    assert readout == {"kind": "heads", "additivity_gap": None}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"anatomy": {"encoders": {"audio": "a"}}}, "does not name two or more modalities"),
        ({"anatomy": {}}, "does not name two or more modalities"),
        ({"examples": "many"}, "'examples' is no int"),
        ({"examples": True}, "'examples' is no int"),
        ({"model": None}, "'model' is no str"),
        ({"zero_out": DS.drop_attrs()}, "zero_out: The dataset breaks the schema"),
    ],
)
def test_what_is_no_report_is_refused(change, told):
    with pytest.raises(SchemaError, match=told):
        report(**change)


def test_a_bare_tree_is_refused():
    with pytest.raises(SchemaError, match="names no version of imbalance-lens"):
        Report(xr.DataTree())


def test_a_broken_attribute_is_named():
    tree = report().tree
    tree.attrs["skipped"] = "{"
    with pytest.raises(SchemaError, match="'skipped' is no dict"):
        Report(tree)


def test_settings_of_a_probe_that_are_no_json_are_named():
    with pytest.raises(SchemaError, match="the settings of zero_out are no JSON"):
        report(zero_out=DS.assign_attrs(settings="{"))


def test_the_summary_has_one_row_per_modality():
    table = report(
        zero_out=DS,
        logit_norm=logit_norm({"audio": 9.0, "visual": 3.0}),
        abnormal_batchnorm=abnormal_batchnorm({"v": ("visual", 1, 4)}),
    ).to_dataframe()
    assert list(table.index) == ["audio", "visual"]
    assert table.index.name == "modality"
    assert table.loc["audio", "alone"] == 0.8
    assert table.loc["audio", "alone_high"] == pytest.approx(0.82)
    assert table.loc["audio", "left_out"] == pytest.approx(0.3)
    assert table.loc["visual", "drop"] == pytest.approx(0.1)
    assert table.loc["visual", "confidence"] == 0.3
    assert table.loc["visual", "logit_norm"] == 3.0
    assert table.loc["visual", "abnormal"] == 0.25
    assert math.isnan(table.loc["audio", "abnormal"])


def test_the_summary_of_nothing_is_empty_numbers():
    assert report().to_dataframe().isna().all(axis=None)


def test_a_probe_becomes_a_tidy_table():
    made = report(zero_out=DS, abnormal_batchnorm=abnormal_batchnorm({"v": ("visual", 1, 4)}))
    table = made.to_dataframe("zero_out")
    assert list(table.columns) == ["variable", *DS.coords, "value"]
    assert len(table) == sum(v.size for v in DS.data_vars.values())
    row = table[(table.variable == "alone") & (table.modality == "visual")]
    assert row.value.tolist() == [0.3]
    assert table[table.variable == "majority"].value.tolist() == [0.1]
    layers = made.to_dataframe("abnormal_batchnorm")
    assert layers[layers.variable == "channels"].modality.tolist() == ["visual"]
    assert layers.epoch.dropna().tolist() == [0, 0]
    assert layers.epoch.dtype == "Int64"


def test_a_dataset_without_variables_is_an_empty_table():
    nothing = schema.dataset({}, {}, settings={})
    assert report(nothing=nothing).to_dataframe("nothing").empty


def test_an_unknown_probe_is_told():
    with pytest.raises(UnknownNameError, match=r"No probe named 'zero_outt'\. Did you mean"):
        report(zero_out=DS).to_dataframe("zero_outt")


def test_missing_numbers_are_left_blank():
    ds = DS.copy(deep=True)
    for name in ("drop", "confidence"):
        ds[name][:] = np.nan
    made = report(zero_out=ds)
    assert made.to_dataframe()["drop"].isna().all()
    (row,) = [line for line in str(made).splitlines() if line.startswith("visual ")]
    assert row.split() == ["visual", "30.0", "%", "80.0", "%"]
    assert "leaving it out costs an unknown number of points" in made.findings[0].sentence
