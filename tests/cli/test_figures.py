import json

import pandas as pd
import pytest
import torch
import xarray as xr

from imbalance_lens.figures import FIGURES
from imbalance_lens.report.storage import write_tree
from tests.figures.real import FEW, Looking, answers, history
from tests.figures.test_overview import report


@pytest.fixture
def saved(tmp_path):
    report(FEW).save(tmp_path / "report.nc")
    return tmp_path / "report.nc"


def test_all_that_a_report_has_numbers_for_is_drawn_with_its_numbers(ask, saved, tmp_path):
    said = ask("figures", saved, "--out", tmp_path / "out", "--format", "svg", "--json")
    assert said.code == 0
    drawn = json.loads(said.out)
    assert {"zero_out", "shapley", "dead_probability", "overview"} <= drawn.keys()
    assert "coefficient" not in drawn
    for name, paths in drawn.items():
        forms = ["svg"] if name == "overview" else ["svg", "csv"]
        assert paths == [str(tmp_path / "out" / f"{name}.{form}") for form in forms]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {path.rpartition("/")[2] for of in drawn.values() for path in of}


def test_the_table_beside_a_figure_has_the_numbers_that_it_shows(ask, saved, tmp_path):
    ask("figures", saved, "--out", tmp_path, "--figure", "zero_out", "--figure", "shapley")
    table = pd.read_csv(tmp_path / "zero_out.csv", keep_default_na=False)
    alone = table[(table.variable == "accuracy") & (table.coalition == "audio")]
    assert float(alone.value.item()) == answers(*FEW)["zero_out"].alone.sel(modality="audio")
    assert set(table.variable) == {"accuracy", "accuracy_interval", "majority"}
    shares = pd.read_csv(tmp_path / "shapley.csv")
    assert set(shares.valued_by) == {"confidence", "correct"}


def test_a_history_is_drawn_too(ask, tmp_path):
    write_tree(xr.DataTree(history("ogm_ge")), tmp_path / "history.nc")
    said = ask("figures", tmp_path / "history.nc", "--out", tmp_path / "out")
    names = [path.rpartition("/")[2] for path in said.out.split()]
    drawn = ("accuracy_curves", "coefficient", "coefficient_ratio", "discrepancy", "loss_curves")
    assert names == [f"{name}.{form}" for name in drawn for form in ("pdf", "csv")]


def test_several_states_are_drawn_over_epochs(ask, saved, tmp_path):
    folder = tmp_path / "out"
    said = ask("figures", saved, saved, "--out", folder, "--format", "svg", "--json")
    drawn = json.loads(said.out)
    assert {"linear_probe_curves", "logit_norm", "zero_out", "overview"} <= drawn.keys()
    table = pd.read_csv(folder / "linear_probe_curves.csv", keep_default_na=False)
    assert set(table.epoch.astype(str)) == {"0", "1"}
    alone = pd.read_csv(folder / "zero_out.csv", keep_default_na=False)
    assert "epoch" not in alone.columns


def test_two_scans_are_drawn_as_before_and_after(ask, tmp_path):
    for name, scale in (("before", 1e-12), ("after", 1.0)):
        net = Looking()
        net.norm.weight.data *= scale
        torch.save(net.state_dict(), tmp_path / f"{name}.pt")
        ask("scan", tmp_path / f"{name}.pt", "--out", tmp_path / f"{name}.nc")
    files = [tmp_path / f"{name}.nc" for name in ("before", "after")]
    ask("figures", *files, "--out", tmp_path, "--format", "svg")
    table = pd.read_csv(tmp_path / "abnormal_batchnorm.csv")
    smallest = table[table.threshold == 1e-2].set_index("epoch")
    assert smallest.value.tolist() == [1, 6 / 16]


def test_a_single_scan_is_drawn(ask, tmp_path):
    torch.save(Looking().state_dict(), tmp_path / "run.pt")
    ask("scan", tmp_path / "run.pt", "--out", tmp_path / "run.nc")
    said = ask("figures", tmp_path / "run.nc", "--out", tmp_path, "--format", "svg")
    names = [path.rpartition("/")[2] for path in said.out.split()]
    assert names == ["abnormal_batchnorm.svg", "abnormal_batchnorm.csv"]
    assert "first epoch" not in (tmp_path / names[0]).read_text()
    table = pd.read_csv(tmp_path / names[1])
    assert table[table.threshold == 1e-2].value.tolist() == [6 / 16]


def test_filters_that_a_scan_has_kept_are_drawn(ask, tmp_path):
    torch.save(Looking().state_dict(), tmp_path / "run.pt")
    kept = tmp_path / "filters.nc"
    ask("scan", tmp_path / "run.pt", "--filters", kept, "--layer", "conv")
    said = ask("figures", kept, "--out", tmp_path / "out")
    assert [path.rpartition("/")[2] for path in said.out.split()] == ["filters.pdf", "filters.csv"]
    table = pd.read_csv(tmp_path / "out" / "filters.csv")
    assert (table.variable == "filter").sum() == 16 * 3 * 5 * 5


def test_a_layer_without_a_file_for_it_is_refused(ask, tmp_path):
    torch.save(Looking().state_dict(), tmp_path / "run.pt")
    assert "--layer says whose filters" in ask("scan", tmp_path / "run.pt", "--layer", "conv").err


def test_a_figure_without_numbers_is_refused(ask, saved, tmp_path):
    names = ("--figure", "zero_out", "--figure", "blend_weights")
    said = ask("figures", saved, "--out", tmp_path / "new", *names)
    assert "has no numbers for blend_weights; it holds abnormal_batchnorm, " in said.sentence()
    assert not (tmp_path / "new").exists()


def test_a_curve_of_a_single_state_is_refused_with_what_it_takes(ask, saved, tmp_path):
    said = ask("figures", saved, "--out", tmp_path, "--figure", "linear_probe_curves")
    assert said.sentence().endswith(
        "Curves need two or more epochs, of a history or of several files."
    )


def test_states_that_were_measured_in_different_ways_are_refused_by_the_name_of_the_probe(
    ask, tmp_path
):
    torch.save(Looking().state_dict(), tmp_path / "run.pt")
    files = [tmp_path / "one.nc", tmp_path / "other.nc"]
    for file, threshold in zip(files, ("1e-2", "1e-3"), strict=True):
        ask("scan", tmp_path / "run.pt", "--threshold", threshold, "--out", file)
    said = ask("figures", *files, "--out", tmp_path / "out")
    assert said.sentence().endswith("Measure all states in the same way. (with what other says)")
    assert not (tmp_path / "out").exists()


def test_an_unknown_figure_is_refused_with_the_known_ones(ask, saved, tmp_path):
    said = ask("figures", saved, "--out", tmp_path, "--figure", "zero_ot")
    assert said.sentence().startswith("No figure named 'zero_ot'. Did you mean 'zero_out'?")
    assert all(name in said.err for name in FIGURES.names())


def test_a_file_of_another_kind_is_refused(ask, tmp_path):
    (tmp_path / "other.nc").write_text("not a report")
    said = ask("figures", tmp_path / "other.nc", "--out", tmp_path / "out")
    assert "other.nc is no netCDF file" in said.sentence()
