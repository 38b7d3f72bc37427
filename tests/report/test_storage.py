import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from imbalance_lens import schema
from imbalance_lens.errors import SchemaError
from imbalance_lens.report import Report, load_report

from .planted import abnormal_batchnorm, logit_norm, report, zero_out

OPEN = Path("/proc/self/fd")


@pytest.fixture
def made() -> Report:
    alone = {"audio": 0.8, "visual": float("nan")}
    dead = {"audio_net.bn": ("audio", 3, 64), "head.bn": ("", 0, 8)}
    return report(
        zero_out=zero_out(alone, {"audio": 0.5, "visual": 0.1}),
        logit_norm=logit_norm({"audio": [9.0, 8.0], "visual": [0.0, 1.0]}),
        abnormal_batchnorm=abnormal_batchnorm(dead),
        skipped={"ogr": "no checkpoints"},
        notes=["A note with äöü and <b>."],
        readout={"kind": "linear_split", "additivity_gap": 2e-7, "identifiable": {"audio": True}},
    )


def run(code: str, **kwargs) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        **kwargs,
    )


def test_what_was_saved_is_what_is_loaded(made, tmp_path):
    made.save(tmp_path / "r.nc")
    loaded = load_report(tmp_path / "r.nc")
    assert set(loaded.tree.children) == set(made.tree.children)
    for name, group in made.tree.children.items():
        stored = loaded.tree[name].to_dataset()
        xr.testing.assert_identical(stored, group.to_dataset())
        for variable, values in group.variables.items():
            assert stored[variable].dtype == values.dtype, variable
    xr.testing.assert_identical(loaded.tree, made.tree)
    assert loaded.findings == made.findings
    assert loaded.recommendations == made.recommendations
    assert str(loaded) == str(made)
    assert loaded._repr_html_() == made._repr_html_()


def test_a_number_that_is_named_like_its_probe_is_loaded_too(tmp_path):
    found = logit_norm({"audio": [9.0, 8.0], "visual": [0.0, 1.0]})
    report(norm_ratio=found).save(tmp_path / "r.nc")
    xr.testing.assert_identical(
        load_report(tmp_path / "r.nc").tree["norm_ratio"].to_dataset(), found
    )


def test_a_loaded_report_can_be_saved_again(made, tmp_path):
    made.save(tmp_path / "a.nc")
    load_report(tmp_path / "a.nc").save(tmp_path / "b.nc")
    xr.testing.assert_identical(load_report(tmp_path / "b.nc").tree, made.tree)


def test_what_is_loaded_carries_nothing_of_the_file(made, tmp_path):
    made.save(tmp_path / "r.nc")
    for group in load_report(tmp_path / "r.nc").tree.subtree:
        assert group.encoding == {}
        assert not any(values.encoding for values in group.variables.values())


def test_a_report_without_any_answer_survives(tmp_path):
    report().save(tmp_path / "r.nc")
    xr.testing.assert_identical(load_report(tmp_path / "r.nc").tree, report().tree)


@pytest.mark.parametrize("names", [("ä/ö", "日本"), ("", "a+b"), ("x" * 60, "y\n")])
def test_names_of_every_kind_survive(tmp_path, names):
    saved = report(names, zero_out=zero_out({names[0]: 0.8, names[1]: 0.3}))
    saved.save(tmp_path / "r.nc")
    loaded = load_report(tmp_path / "r.nc")
    assert loaded.modalities == names
    xr.testing.assert_identical(loaded.tree, saved.tree)
    assert loaded.findings == saved.findings


def test_numbers_of_every_kind_survive(tmp_path):
    def variable(values):
        values = np.asarray(values)
        return schema.variable(("layer",), values, units="1", long_name="n", formula="f")

    ds = schema.dataset(
        {
            "double": variable([np.nan, np.inf]),
            "single": variable(np.array([1e-40, 3.0], dtype=np.float32)),
            "whole": variable([2**62, -1]),
            "flag": variable([True, False]),
        },
        {"layer": ["a.b", "c"]},
        settings={"nested": {"none": None, "yes": True}},
        examples=3,
        loss=0.5,
    )
    saved = report(numbers=ds)
    saved.save(tmp_path / "r.nc")
    loaded = load_report(tmp_path / "r.nc").tree["numbers"].to_dataset()
    xr.testing.assert_identical(loaded, ds)
    assert {n: v.dtype for n, v in loaded.items()} == {n: v.dtype for n, v in ds.items()}
    assert {n: type(v) for n, v in loaded.attrs.items()} == {
        n: type(v) for n, v in ds.attrs.items()
    }


def test_the_file_opens_without_torch(made, tmp_path):
    made.save(tmp_path / "r.nc")
    done = run(f"""
        import sys
        sys.modules["torch"] = None
        from imbalance_lens import load_report
        report = load_report({str(tmp_path / "r.nc")!r})
        print(report)
        report._repr_html_(), report.to_dataframe(), report.recommendations
    """)
    assert done.stdout == f"{made}\n"


def test_importing_the_report_loads_nothing_heavy():
    done = run("""
        import sys
        import imbalance_lens.report
        heavy = {"torch", "xarray", "pandas", "numpy", "h5netcdf", "h5py", "jinja2", "matplotlib"}
        print(sorted(heavy & set(sys.modules)))
    """)
    assert done.stdout == "[]\n"


@pytest.mark.skipif(not OPEN.is_dir(), reason="this system does not list a process's open files")
def test_nothing_stays_open(made, tmp_path):
    made.save(tmp_path / "r.nc")
    before = len(list(OPEN.iterdir()))
    load_report(tmp_path / "r.nc")
    assert len(list(OPEN.iterdir())) == before


def test_a_full_disk_leaves_the_old_report(made, tmp_path):
    path = tmp_path / "r.nc"
    made.save(path)
    before = path.read_bytes()
    done = run(f"""
        import resource, signal
        from imbalance_lens import load_report
        report = load_report({str(path)!r})
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            report.save({str(path)!r})
        except OSError as error:
            print(error)
    """)
    assert f"{path} could not be written (File too large)" in done.stdout
    assert "what was there before is unchanged" in done.stdout
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_what_netcdf_cannot_hold_is_told_and_leaves_the_old_report(made, tmp_path):
    path = tmp_path / "r.nc"
    made.save(path)
    before = path.read_bytes()
    made.tree["zero_out"].attrs["settings"] = {"a": 1}
    with pytest.raises(SchemaError, match="cannot be stored as netCDF"):
        made.save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_a_folder_and_text_are_no_reports(tmp_path):
    (tmp_path / "text.nc").write_text("not a report")
    (tmp_path / "empty.nc").touch()
    with pytest.raises(SchemaError, match=r"none.nc cannot be read as a report \(No such file"):
        load_report(tmp_path / "none.nc")
    with pytest.raises(SchemaError, match=r"cannot be read as a report \(Is a directory"):
        load_report(tmp_path)
    for name in ("text.nc", "empty.nc"):
        with pytest.raises(SchemaError, match=rf"{name} is no netCDF file, or a damaged one"):
            load_report(tmp_path / name)


@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_is_told(made, tmp_path, kept):
    path = tmp_path / "r.nc"
    made.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(SchemaError, match=r"r.nc is no netCDF file, or a damaged one") as caught:
        load_report(path)
    assert "\n" not in str(caught.value)


def test_someone_elses_netcdf_is_no_report(tmp_path):
    path = tmp_path / "weather.nc"
    xr.Dataset({"rain": ("day", [1.0, 2.0])}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SchemaError, match="names no version of imbalance-lens, so it is no report"):
        load_report(path)


def test_the_dataset_of_one_probe_is_no_report(tmp_path):
    path = tmp_path / "probe.nc"
    zero_out({"audio": 0.8, "visual": 0.3}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(SchemaError, match="is no complete report: attribute 'torch_version'"):
        load_report(path)


@pytest.mark.parametrize(
    ("version", "told"),
    [("2", "was written with schema 2.*Update imbalance-lens"), ("new", "which is no number")],
)
def test_a_newer_report_is_told(made, tmp_path, version, told):
    made.tree.attrs["schema_version"] = version
    made.save(tmp_path / "r.nc")
    with pytest.raises(SchemaError, match=told):
        load_report(tmp_path / "r.nc")
