import numpy as np
import pytest
import torch

from imbalance_lens import attribute_inputs
from imbalance_lens.errors import SettingError
from imbalance_lens.figures import plot_attributions, save
from imbalance_lens.models import LateFusion


def found():
    torch.manual_seed(0)
    model = LateFusion.small(["audio", "visual"], classes=3)
    inputs = {"audio": torch.rand(2, 1, 32, 32), "visual": torch.rand(2, 1, 8, 8)}
    return inputs, attribute_inputs(model, inputs, torch.tensor([0, 2]), n_steps=4)


@pytest.mark.parametrize("modality", ["audio", "visual"])
def test_an_image_lies_under_what_it_adds_on_a_scale_with_zero_in_the_middle(modality, tmp_path):
    inputs, parts = found()
    ax = plot_attributions(inputs[modality][1], parts[modality][1])
    below, above = ax.images
    np.testing.assert_allclose(below.get_array(), inputs[modality][1, 0].numpy())
    np.testing.assert_allclose(above.get_array(), parts[modality][1, 0])
    low, high = above.get_clim()
    assert -low == high == pytest.approx(np.abs(parts[modality][1, 0]).max())
    assert ax.get_figure().axes[1].get_ylabel() == "Added to the logit (logit)"
    save(ax, tmp_path / "a.pdf")


def test_a_signal_is_a_line_with_colored_points():
    ax = plot_attributions(np.arange(5.0), np.array([0, 1, -2, np.nan, 0]))
    assert ax.lines[0].get_ydata() == pytest.approx(np.arange(5.0))
    assert ax.collections[0].get_clim() == (-2, 2)


def test_nothing_added_and_unknown_numbers_are_drawn_without_color():
    for added in (np.zeros((4, 4)), np.full((4, 4), np.nan)):
        ax = plot_attributions(np.ones((4, 4)), added)
        ax.get_figure().canvas.draw()
        assert np.all(ax.images[1].get_alpha() == 0)


@pytest.mark.parametrize("shapes", [((4, 4), (4, 5)), ((2, 1, 4, 4), (2, 1, 4, 4)), ((0,), (0,))])
def test_shapes_that_are_no_single_example_are_refused(shapes):
    with pytest.raises(SettingError, match=r"must have one shape.*got .*Give one example\."):
        plot_attributions(*map(np.zeros, shapes))
