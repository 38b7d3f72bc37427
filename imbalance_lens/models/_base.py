"""What all fusions share: which modalities they take, and a check of what they are given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor, nn

from .. import checks
from ..errors import SettingError


class Fusion(nn.Module):
    """A module from features {modality: (batch, size)} to logits (batch, classes).

    A fusion of one's own need not be one of these; any module that takes such a mapping will do.

    Attributes:
        sizes: modality -> length of its feature vector. Their order is that of the modalities.
        classes: number of logits.
    """

    def __init__(self, sizes: Mapping[str, int], classes: int) -> None:
        super().__init__()
        if not sizes:
            raise SettingError("sizes names no modality. Give {modality: length of its features}.")
        for modality, size in sizes.items():
            checks.whole(f"sizes[{modality!r}]", size)
        checks.whole("classes", classes)
        self.sizes, self.classes = dict(sizes), classes

    def checked(self, features: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the features in the order of the modalities.

        Raises:
            SettingError: other modalities or other shapes than the fusion was made for.
        """
        checks.same_modalities("features", features, self.sizes)
        for modality, size in self.sizes.items():
            given = features[modality]
            fits = given.ndim == 2 and given.shape[1] == size
            checks.shape(f"features[{modality!r}]", given, f"(batch, {size})", fits)
        return [features[modality] for modality in self.sizes]


class PairFusion(Fusion):
    """A fusion of two modalities of which one acts on the other.

    Attributes:
        acting: the modality that scales, shifts or gates.
        acted_on: the other one.
    """

    def __init__(self, sizes: Mapping[str, int], classes: int, acting: str | None = None) -> None:
        super().__init__(sizes, classes)
        if len(sizes) != 2:
            raise SettingError(
                f"{type(self).__name__} is defined for two modalities; got {', '.join(sizes)}. "
                "For more, take ConcatFusion, SumFusion, MlpFusion, GatedUnitFusion, "
                "AttentionFusion or LowRankFusion."
            )
        first, second = sizes
        if acting is not None:
            checks.known_modality(acting, sizes)
        self.acting, self.acted_on = (second, first) if acting == second else (first, second)

    def pair(self, features: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the features of the acting modality and of the one that is acted on."""
        self.checked(features)
        return features[self.acting], features[self.acted_on]


def by_modality(
    modules: Mapping[str, nn.Module] | Iterator[tuple[str, nn.Module]],
) -> nn.ModuleDict:
    """Return the modules as children named after their modalities, added in their order.

    Raises:
        SettingError: a name that torch does not allow for a child, such as "a.b" or "keys".
    """
    children = nn.ModuleDict()
    for name, module in dict(modules).items():
        try:
            children[name] = module
        except (KeyError, TypeError) as refused:
            raise SettingError(
                f"{name!r} cannot name a modality of a module: {refused.args[0]}. "
                "Give another name."
            ) from None
    return children


def all_given(inputs: Mapping[str, object], modalities: Iterable[str]) -> None:
    """Complain unless there is an input for each modality; others are not looked at."""
    missing = [name for name in modalities if name not in inputs]
    if missing:
        raise SettingError(
            f"The model needs an input for {', '.join(map(repr, missing))}; got "
            f"{', '.join(map(repr, inputs)) or 'none'}. Call model(**inputs by modality)."
        )
