"""What single figures show, number by number."""

import numpy as np
import pytest
from matplotlib.colors import to_hex

import recipes
from imbalance_lens import figures, schema
from imbalance_lens.figures import FIGURES
from imbalance_lens.figures._style import JOINT_COLOR, look, modalities

from .looks import complaints
from .real import (
    FEW,
    MANY,
    answers,
    comparison,
    history,
    states,
    watched,
)


def drawn(figure, ds, **where):
    ax = getattr(figures, f"plot_{figure}")(ds, **where)
    ax.get_figure(root=True).canvas.draw()
    return ax


def written(ax):
    legend = ax.get_legend()
    labels = [] if legend is None else legend.get_texts()
    return [text.get_text() for text in (*ax.texts, *labels)]


def test_the_bars_of_zero_out_are_the_accuracies_with_their_intervals():
    ds = answers(*FEW)["zero_out"]
    ax = drawn("zero_out", ds)
    heights = [bar.get_height() for bar in ax.patches if bar.get_height()]
    sets = ["audio", "visual", "visual", "audio"]  # alone, left out, modality by modality
    assert heights == pytest.approx([v for v in ds.accuracy.sel(coalition=sets).values if v])
    assert {"alone", "left out", "all", "most frequent label"} == set(written(ax))
    ends = ds.accuracy_interval.sel(coalition="audio").values
    lines = [segment for c in ax.collections for segment in c.get_segments()]
    assert any(np.allclose(sorted(line[:, 1]), ends) for line in lines)


@pytest.mark.parametrize(("size", "bars"), [(FEW, 3), (MANY, 20)])
def test_the_classes_that_gain_most_come_first_and_those_that_lose_most_last(size, bars):
    ds = answers(*size)["zero_out"]
    strongest = ds["modality"].values[ds.alone.values.argmax()]
    everyone = "+".join(ds["modality"].values)
    accuracy = ds.class_accuracy
    gains = (accuracy.sel(coalition=everyone) - accuracy.sel(coalition=strongest)).values
    ranked = sorted(gains[np.isfinite(gains)], reverse=True)
    wanted = ranked if len(ranked) <= 20 else [*ranked[:10], *ranked[-10:]]
    assert len(wanted) == bars
    heights = [bar.get_height() for bar in drawn("class_gain", ds).patches]
    assert heights == pytest.approx(wanted)


def test_the_curves_of_logit_norm_are_the_means_and_the_label_has_the_unit():
    ds = answers(*FEW)["logit_norm"]
    ax = drawn("logit_norm", ds)
    for line, head in zip(ax.lines, ds["head"].values, strict=True):
        assert line.get_ydata() == pytest.approx(ds.mean_norm.sel(head=head).values)
    assert ax.get_ylabel().endswith("(logit)")
    assert to_hex(ax.lines[-1].get_color()) == JOINT_COLOR
    assert [len(c.get_segments()) for c in ax.collections] == [3, 3, 3]


def test_reliability_names_the_error_of_each_head_and_leaves_empty_bins_out():
    ds = answers(*FEW)["calibration"]
    ax = drawn("calibration", ds)
    told = [f"{head} (ECE {float(ds.error.sel(head=head)):.3f})" for head in ds["head"].values]
    assert written(ax) == told
    for points, head in zip(ax.collections, ds["head"].values, strict=True):
        assert len(points.get_offsets()) == np.isfinite(ds.accuracy.sel(head=head)).sum()


def test_the_cells_of_the_agreement_matrix_are_its_shares():
    ds = answers(*FEW)["agreement"]
    ax = drawn("agreement", ds)
    assert written(ax) == [f"{100 * v:.1f} %" for v in (*ds.right.values, *ds.wrong.values)]
    shown = [tick.get_text() for tick in ax.get_xticklabels()]
    assert shown == ["none", "audio", "visual", "audio\n+ visual"]


def test_the_trace_of_ratios_is_drawn_by_step_with_a_mean_per_epoch():
    ds = history("ogm_ge")
    ax = drawn("discrepancy", ds)
    raw, means = ax.lines[:2]
    assert raw.get_ydata() == pytest.approx(ds.step_ratio.sel(modality="audio").values)
    half = ds.step_ratio.sel(modality="audio").values.reshape(2, -1).mean(1)
    assert means.get_ydata() == pytest.approx(half)
    assert ax.get_yscale() == "log"


def test_ratios_close_to_each_other_have_numbers_on_their_axis():
    ds = history("ogm_ge")
    close = ds.assign(step_ratio=1 + (ds.step_ratio - ds.step_ratio.mean()) / 50)
    close["step_ratio"].attrs = ds["step_ratio"].attrs
    ax = drawn("discrepancy", close)
    low, high = ax.get_ylim()
    assert ax.get_yscale() == "log"
    assert sum(low <= tick <= high for tick in ax.get_yticks()) >= 3


def test_a_comparison_has_the_mean_the_deviation_and_each_seed():
    ds = comparison()
    ax = drawn("comparison", ds)
    values = ds["value"].sel(metric="accuracy")
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(values.mean("seed").values)
    points = [line.get_ydata() for line in ax.lines if line.get_marker() == "o"]
    assert points[0] == pytest.approx(values.isel(recipe=0).values)
    (error,) = ax.collections[0].get_segments()
    spread = values.isel(recipe=0).std("seed", ddof=1).item()
    assert np.ptp(error[:, 1]) == pytest.approx(2 * spread)
    assert drawn("comparison", ds.sel(metric=["map"])).get_ylabel() == "mAP"


def test_a_unimodal_reference_is_marked_where_it_is_known():
    ds = answers(*FEW)["linear_probe"]
    assert "trained alone" not in written(drawn("linear_probe", ds))
    told = ds.assign_attrs(unimodal_accuracy=schema.to_json({"audio": 0.9}))
    ax = drawn("linear_probe", told)
    (mark,) = [line for line in ax.lines if line.get_marker() == "D"]
    assert mark.get_ydata()[0] == 0.9
    assert np.isnan(mark.get_ydata()[1:]).all()


def test_the_curves_of_a_linear_probe_are_its_accuracies_epoch_by_epoch():
    ds = states(*FEW, "linear_probe")
    ax = drawn("linear_probe_curves", ds)
    heads = ds["head"].values
    curves = [line for line in ax.lines if len(line.get_xdata()) == 2]
    assert [line.get_linestyle() for line in curves] == ["-"] * 3 + ["--"] * 3
    for line, head in zip(curves[:3], heads, strict=True):
        assert line.get_ydata() == pytest.approx(ds.accuracy.sel(head=head).values)
    for line, head in zip(curves[3:], heads, strict=True):
        assert line.get_ydata() == pytest.approx(ds.own_accuracy.sel(head=head).values)
    assert written(ax) == [*heads, "linear probe", "own logits"]


@pytest.mark.parametrize("figure", ["linear_probe_curves", "accuracy_curves"])
def test_what_a_modality_reaches_alone_is_a_line_across_the_curves(figure):
    ds = states(*FEW, "linear_probe") if figure == "linear_probe_curves" else history("ogm_ge")
    assert "trained alone" not in written(drawn(figure, ds))
    ax = drawn(figure, ds.assign_attrs(unimodal_accuracy=schema.to_json({"visual": 0.9})))
    assert "trained alone" in written(ax)
    (line,) = [line for line in ax.lines if set(line.get_ydata()) == {0.9}]
    assert to_hex(line.get_color()) == look("visual", modalities(ds)).color.lower()


def test_the_losses_of_a_training_are_those_of_validation_and_means_of_the_steps():
    ds = history("ogm_ge")
    held_out, training = drawn("loss_curves", ds).lines
    assert held_out.get_ydata() == pytest.approx(ds.val_loss.values)
    assert training.get_ydata() == pytest.approx(ds.step_loss.values.reshape(2, -1).mean(1))


@pytest.mark.parametrize("size", [FEW, MANY])
def test_the_gain_of_several_states_is_that_of_the_last_over_the_first(size):
    ds = states(*size, "zero_out")
    everyone = ds.class_accuracy.sel(coalition="+".join(ds["modality"].values))
    gains = (everyone.isel(epoch=1) - everyone.isel(epoch=0)).values
    ranked = sorted(gains[np.isfinite(gains)], reverse=True)
    wanted = ranked if len(ranked) <= 20 else [*ranked[:10], *ranked[-10:]]
    ax = drawn("class_gain", ds)
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(wanted)
    assert ax.get_ylabel() == "Accuracy of the last state,\nminus that of the first"


def test_settings_are_drawn_as_curves_of_the_factor_by_the_ratio():
    ds = recipes.coefficient_curves({"weak": ("ogm_ge", {"alpha": 0.1}), "strong": "mlb"})
    assert FIGURES.get("coefficient_ratio").fits(ds)
    ax = drawn("coefficient_ratio", ds)
    curves = [line for line in ax.lines if len(line.get_xdata()) == ds.sizes["ratio"]]
    assert [line.get_label() for line in curves] == ["weak", "strong"] == written(ax)
    for line, label in zip(curves, ds["recipe"].values, strict=True):
        assert line.get_ydata() == pytest.approx(ds.coefficient.sel(recipe=label).values)
    assert ax.get_xscale() == "log"
    assert complaints(ax.get_figure(root=True)) == []


def test_the_first_epoch_is_marked_beside_the_last():
    ds = watched("abnormal_batchnorm")
    assert ds.sizes["epoch"] == 2
    assert "first epoch" in written(drawn("abnormal_batchnorm", ds))
    assert "first epoch" not in written(drawn("abnormal_batchnorm", ds.isel(epoch=[0])))
