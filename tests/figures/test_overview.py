import pytest
import xarray as xr

from imbalance_lens.errors import SchemaError, UnknownNameError
from imbalance_lens.figures import plot_overview, save
from imbalance_lens.report import Report

from .looks import complaints
from .real import FEW, MANY, answers, nth


def report(size):
    found = {name: ds for name, ds in answers(*size).items() if name != "capacity"}
    encoders = {name: name for name in nth(size[0])}
    return Report.build(found, anatomy={"encoders": encoders}, model="Net", examples=48)


@pytest.mark.parametrize("size", [FEW, MANY])
def test_a_page_has_a_panel_for_all_that_was_measured(size, tmp_path):
    page = plot_overview(report(size).tree)
    assert len(page.axes) == 8
    assert all(ax.has_data() for ax in page.axes)
    assert page.get_suptitle() == "Net, 48 examples"
    assert complaints(page) == []
    save(page, tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_what_was_not_measured_leaves_no_hole():
    tree = report(FEW).tree
    page = plot_overview(xr.DataTree.from_dict({"/": tree.to_dataset(), "a": tree["zero_out"]}))
    assert len(page.axes) == 1


def test_a_tree_without_numbers_is_refused():
    with pytest.raises(SchemaError, match="Nothing in the tree can be drawn; it holds nothing"):
        plot_overview(xr.DataTree())


def test_chosen_panels_are_drawn_in_their_order():
    page = plot_overview(report(FEW).tree, panels=["linear_probe", "zero_out"])
    titles = [part.get_suptitle() for part in page.subfigs]
    assert titles == ["What the encoders know", "Each modality alone, and left out"]


def test_an_unknown_panel_is_refused_with_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"No panel named 'zero'.*Known: zero_out, shapley"):
        plot_overview(report(FEW).tree, panels=["zero"])
