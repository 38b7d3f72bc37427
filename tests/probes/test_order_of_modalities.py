"""The order in which a user names the modalities is no part of any answer."""

import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import imbalance_lens as lens
from imbalance_lens.probes._base import Probe
from imbalance_lens.probes.missing_modality import MissingModality
from imbalance_lens.probes.permutation import Permutation
from imbalance_lens.probes.shapley import Shapley

NAMES = ("audio", "text", "visual")


class Interacting(nn.Module):
    """Multiplies and adds what three encoders say, so that each one's part is another."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({name: nn.Linear(4, 5) for name in NAMES})
        self.head = nn.Linear(5, 3)

    def forward(self, **inputs: Tensor) -> Tensor:
        audio, text, visual = (self.encoders[name](inputs[name]) for name in NAMES)
        return self.head(audio * text + torch.tanh(visual) + text)


@pytest.mark.parametrize(
    "make",
    [
        Permutation,
        lambda: Shapley(exact_up_to=2, order_pairs=2),
        lambda: MissingModality(exact_up_to=2),
        lambda: Shapley(fill="permute"),
    ],
    ids=["permutation", "shapley with drawn orders", "missing_modality", "fill permute"],
)
def test_naming_the_modalities_in_another_order_changes_no_number(make) -> None:
    torch.manual_seed(0)
    model = Interacting()
    labels = torch.arange(30) % 3
    batch = {name: torch.randn(30, 4) for name in NAMES}, labels

    def answered(probe: Probe, order: tuple[str, ...]) -> xr.Dataset:
        who = {name: f"encoders.{name}" for name in order}
        report = lens.diagnose(model, [batch], who, probes=[probe], progress=False)
        (name,) = report.tree.children
        found = report.tree[name].to_dataset()
        return found.drop_dims("coalition", errors="ignore").sel(modality=list(NAMES))

    told, turned = answered(make(), NAMES), answered(make(), NAMES[::-1])
    if "other" in told.dims:
        turned = turned.sel(other=list(NAMES))
    xr.testing.assert_allclose(told, turned, atol=1e-6)
