"""Every figure, on what the real probes and trainings say: what it draws, in which colors."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from imbalance_lens import figures, schema
from imbalance_lens.errors import SchemaError, SettingError
from imbalance_lens.figures import FIGURES, save
from imbalance_lens.figures._style import look, modalities

from .looks import complaints
from .real import (
    FEW,
    MANY,
    NAMES,
    OF_PROBES,
    OF_STATES,
    OF_TRAININGS,
    answers,
    comparison,
    history,
    looked,
    nth,
    states,
    watched,
)

UNKNOWN = "no number is known"
IMAGES = ("feature_maps", "filters")
WITHOUT_MODALITIES = ("agreement", "comparison", "class_gain", "loss_curves", *IMAGES)


def examples():
    for size in (FEW, MANY):
        for figure, probe in OF_PROBES.items():
            yield pytest.param(
                figure, lambda p=probe, s=size: answers(*s)[p], id=f"{figure} {size}"
            )
        for figure, probe in OF_STATES.items():
            yield pytest.param(
                figure, lambda p=probe, s=size: states(*s, p), id=f"{figure} of states {size}"
            )
    for figure in IMAGES:
        yield pytest.param(figure, lambda f=figure: looked(f), id=figure)
    for figure, recipe in OF_TRAININGS.items():
        yield pytest.param(figure, lambda r=recipe: history(r), id=f"{figure} of {recipe}")
    yield pytest.param("comparison", comparison, id="comparison")
    for figure in ("logit_norm", "abnormal_batchnorm"):
        yield pytest.param(figure, lambda p=figure: watched(p), id=f"{figure} of a training")


def drawn(figure, ds, **where):
    ax = getattr(figures, f"plot_{figure}")(ds, **where)
    ax.get_figure(root=True).canvas.draw()
    return ax


def written(ax):
    legend = ax.get_legend()
    labels = [] if legend is None else legend.get_texts()
    return [text.get_text() for text in (*ax.texts, *labels)]


def colors(ax):
    lines = [to_hex(line.get_color()) for line in ax.lines]
    return {*lines, *(to_hex(bar.get_facecolor()) for bar in ax.patches)} | {
        to_hex(color)
        for kind in ("get_facecolor", "get_edgecolor")
        for collection in ax.collections
        for color in getattr(collection, kind)()
    }


def unknown(ds):
    """The same dataset without any number."""
    return ds.map(lambda values: values.astype(float) * np.nan, keep_attrs=True)


def test_every_figure_is_drawn_in_these_tests():
    apart = {"comparison", "sensitivity", *IMAGES}  # the second has a file of its own
    assert {*OF_PROBES, *OF_TRAININGS, *OF_STATES, *apart} == set(FIGURES.names())


@pytest.mark.parametrize(("figure", "ds"), list(examples()))
def test_a_figure_fits_its_dataset_and_names_what_it_shows(figure, ds):
    ds = ds()
    entry = FIGURES.get(figure)
    assert entry.fits(ds)
    ax = drawn(figure, ds)
    assert ax.get_ylabel() or figure in IMAGES
    assert UNKNOWN not in written(ax)
    assert ax.get_figure(root=True).get_figwidth() in (3.35, pytest.approx(6.9), 4.6)
    shown = entry.numbers(ds)
    assert set(entry.check(ds)) <= set(shown.data_vars)


@pytest.mark.parametrize(("figure", "ds"), list(examples()))
def test_a_modality_has_the_same_color_in_every_figure(figure, ds):
    ds = ds()
    if figure in WITHOUT_MODALITIES:
        pytest.skip("no modality has a color here")
    names = modalities(ds)
    wanted = {look(name, names).color.lower() for name in names}
    assert len(wanted) == len(names)
    assert wanted <= colors(drawn(figure, ds))


@pytest.mark.parametrize(("figure", "ds"), list(examples()))
def test_a_figure_without_numbers_says_so(figure, ds):
    ds = ds()
    nothing = unknown(ds)
    assert not FIGURES.get(figure).fits(nothing)
    assert UNKNOWN in written(drawn(figure, nothing))


@pytest.mark.parametrize(("figure", "ds"), list(examples()))
def test_axes_that_are_given_are_drawn_on(figure, ds):
    ax = Figure().subplots()
    assert drawn(figure, ds(), ax=ax) is ax
    assert ax.has_data()


@pytest.mark.parametrize(("figure", "ds"), list(examples()))
def test_nothing_is_cut_off_or_written_over_something_else(figure, ds):
    assert complaints(drawn(figure, ds()).get_figure(root=True)) == []


@pytest.mark.parametrize("figure", FIGURES.names())
def test_another_dataset_is_refused_by_what_it_lacks(figure):
    ds = answers(*FEW)["emap"]
    with pytest.raises(SchemaError, match=rf"plot_{figure} reads \w+\(.*; the dataset has accura"):
        getattr(figures, f"plot_{figure}")(ds)


@pytest.mark.parametrize(
    ("figure", "probe", "dim"),
    [
        ("abnormal_batchnorm", "abnormal_batchnorm", "layer"),
        ("dead_features", "dead_features", "layer"),
        ("discrepancy", "discrepancy", "step"),
        ("logit_norm_per_class", "logit_norm", "label"),
        ("shapley_per_class", "shapley", "label"),
        ("shapley_per_example", "shapley", "example"),
        ("calibration", "calibration", "bin"),
        ("agreement", "agreement", "pattern"),
    ],
)
def test_an_empty_dimension_leaves_an_empty_figure(figure, probe, dim):
    empty = answers(*FEW)[probe].isel({dim: slice(0, 0)})
    assert not FIGURES.get(figure).fits(empty)
    assert UNKNOWN in written(drawn(figure, empty))


def test_a_name_with_dollars_is_no_formula():
    ax = drawn("zero_out", answers(*MANY)["zero_out"])
    labels = [label.get_text() for label in ax.get_xticklabels()]
    assert labels == [*NAMES[:-1], r"\$m_ell\$"]


def test_the_order_that_a_report_tells_decides_on_the_colors():
    ds = answers(*FEW)["abnormal_batchnorm"]
    turned = ds.assign_attrs(modalities=schema.to_json(["visual", "audio"]))
    assert modalities(ds) == ["audio", "visual"] == list(nth(2))
    first, *_ = drawn("abnormal_batchnorm", turned).patches
    assert to_hex(first.get_facecolor()) == look("audio", ["visual", "audio"]).color.lower()


@pytest.mark.parametrize("form", ["pdf", "svg"])
def test_a_vector_file_has_its_fonts_inside_and_is_the_same_twice(form, tmp_path):
    paths = [tmp_path / f"{name}.{form}" for name in "ab"]
    for path in paths:
        save(figures.plot_zero_out(answers(*FEW)["zero_out"]), path)
    one, other = (path.read_bytes() for path in paths)
    assert one == other
    if form == "pdf":
        assert b"/FontFile2" in one
        assert b"/Type3" not in one
    else:
        assert b"<text" not in one


def test_a_format_that_nobody_writes_is_refused(tmp_path):
    with pytest.raises(SettingError, match=r"format='docx' is not known\. Choose one of: .*'pdf'"):
        save(figures.plot_zero_out(answers(*FEW)["zero_out"]), tmp_path / "a.docx")


@pytest.mark.parametrize("form", ["pdf", "svg", "png"])
def test_a_figure_that_finds_no_room_leaves_the_old_one(tmp_path, form):
    resource = pytest.importorskip("resource")
    path, limit = tmp_path / f"old.{form}", resource.RLIMIT_FSIZE
    path.write_text("old")
    axes, before = figures.plot_zero_out(answers(*FEW)["zero_out"]), resource.getrlimit(limit)
    resource.setrlimit(limit, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=rf"old\.{form} could not be written \(File too large"):
            save(axes, path)
    finally:
        resource.setrlimit(limit, before)
    assert [each.read_text() for each in tmp_path.iterdir()] == ["old"]


def test_matplotlib_is_left_as_it_was(tmp_path):
    before = dict(mpl.rcParams)
    save(drawn("shapley", answers(*FEW)["shapley"]), tmp_path / "a.pdf")
    assert dict(mpl.rcParams) == before


def test_figures_need_neither_torch_nor_pyplot():
    code = (
        "import sys, importlib\nfrom imbalance_lens.figures import FIGURES\n"
        "assert 'matplotlib' not in sys.modules\n"
        "for name in FIGURES.names(): FIGURES.get(name)\n"
        "import imbalance_lens.figures.overview\n"
        "print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_figure_is_no_attribute():
    with pytest.raises(AttributeError, match="plot_zero_ot"):
        _ = figures.plot_zero_ot
    assert "plot_zero_out" in dir(figures)
