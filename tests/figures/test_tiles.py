import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.patches import Rectangle

from imbalance_lens import feature_maps, scan_filters
from imbalance_lens.figures import FIGURES, plot_feature_maps, plot_filters
from imbalance_lens.figures._tiles import tiles

from .looks import complaints
from .real import Looking, looked

DEAD = {0, 1, 4, 8, 9, 12}
"""The channels of `Looking` that BatchNorm switches off, behind the ReLU."""


def boxed(ax):
    """The frames around tiles, by color."""
    found: dict[str, list[Rectangle]] = {}
    for patch in ax.patches:
        if patch.get_width():
            found.setdefault(to_hex(patch.get_edgecolor()).upper(), []).append(patch)
    return found


def inside(frame, page):
    """What lies in a frame."""
    left, top = (round(at + 0.5) for at in frame.get_xy())
    return page[top : top + round(frame.get_height()), left : left + round(frame.get_width())]


def told(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_boxes_are_around_the_maps_that_are_dead_and_around_no_other():
    ds = looked("feature_maps")
    assert set(np.flatnonzero(ds["dead_rate"].values == 1).tolist()) == DEAD
    ax = plot_feature_maps(ds)
    (image,) = ax.images
    frames = boxed(ax)["#D55E00"]
    assert len(frames) == len(DEAD)
    page = np.ma.filled(image.get_array(), np.nan)
    assert all(np.nanmax(inside(frame, page)) == 0 for frame in frames)
    assert told(ax) == ["dead in all 8 examples: 6 of 16"]
    assert ax.get_title("right") == "norm > relu"


def test_a_channel_that_is_dead_in_one_example_only_has_another_box():
    ds = looked("feature_maps").copy(deep=True)
    ds["activation"][0, 2], ds["dead"][0, 2] = 0, True
    ax = plot_feature_maps(ds)
    assert told(ax) == ["dead in all 8 examples: 6 of 16", "dead in this one: 1 of 16"]
    (frame,) = boxed(ax)["#56B4E9"]
    assert frame.get_linestyle() == "--"
    assert told(plot_feature_maps(ds.isel(example=[1]))) == ["dead in this example: 6 of 16"]


def test_every_map_is_drawn_up_to_its_own_largest_entry():
    ds = looked("feature_maps")
    (image,) = plot_feature_maps(ds).images
    page = np.ma.filled(image.get_array(), np.nan)
    assert np.nanmax(page) == 1
    assert (page == 1).sum() == 16 - len(DEAD)
    assert image.get_clim() == (0, 1)


def test_maps_with_entries_below_zero_have_a_scale_for_them():
    net = torch.nn.Sequential(torch.nn.Conv1d(2, 5, 3), torch.nn.GELU())
    ax = plot_feature_maps(feature_maps(net, torch.randn(3, 2, 64), "0 > gelu"))
    assert ax.images[0].get_clim() == (-1, 1)


def test_the_table_has_the_numbers_of_the_example_that_is_drawn():
    shown = FIGURES.get("feature_maps").numbers(looked("feature_maps"))
    assert shown["activation"].sizes["example"] == 1


def test_filters_are_boxed_by_the_smallest_threshold_they_are_below():
    ax = plot_filters(looked("filters"))
    assert told(ax) == ["below 1e-10: 4 of 16", "below 2e-05: 0 of 16", "below 0.01: 2 of 16"]
    assert {color: len(frames) for color, frames in boxed(ax).items()} == {
        "#D55E00": 4,
        "#56B4E9": 2,
    }


def test_filters_of_three_planes_are_in_color_and_others_in_gray():
    colored, gray = (plot_filters(scan_filters(Looking(planes))) for planes in (3, 2))
    assert colored.images[0].get_array().shape[2] == 3
    assert gray.images[0].get_array().ndim == 2
    assert gray.images[0].get_cmap().name == "gray"


@pytest.mark.parametrize("channels", [1, 5, 64, 2048])
def test_any_number_of_channels_finds_room(channels):
    ax = plot_filters(scan_filters(Looking(1, channels)))
    assert complaints(ax.get_figure(root=True)) == []
    assert bool(ax.get_xlabel()) == (channels > 1024)


@pytest.mark.parametrize(("figure", "dim"), [("feature_maps", "channel"), ("filters", "channel")])
def test_no_channel_leaves_an_empty_figure(figure, dim):
    empty = looked(figure).isel({dim: slice(0, 0)})
    assert not FIGURES.get(figure).fits(empty)
    ax = FIGURES.get(figure).plot(empty)
    assert [text.get_text() for text in ax.texts] == ["no number is known"]


def test_a_long_signal_is_drawn_from_entries_at_even_distances():
    ax = tiles(None, np.arange(2 * 20_000.0).reshape(2, 1, 20_000), {}, "")
    page = np.ma.getdata(ax.get_images()[0].get_array())
    assert page.size < 200_000
    assert {0.0, 79.0, 20_000.0} <= set(page[np.isfinite(page)].ravel().tolist())
