"""When a session looks: schedules are functions from a step to yes or no."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..checks import whole

Schedule = Callable[[int], bool]


def every(steps: int) -> Schedule:
    """Look at step 0 and at every `steps`-th step after it.

    Raises:
        SettingError: `steps` is not above 0.

    Example:
        >>> look = every(50)
        >>> [step for step in range(120) if look(step)]
        [0, 50, 100]
    """
    whole("steps", steps)
    return lambda step: step % steps == 0


def log_spaced(per_decade: int = 10) -> Schedule:
    """Look often at first and ever more rarely: `per_decade` times from step 10^k to 10^(k+1).

    Raises:
        SettingError: `per_decade` is not above 0.

    Example:
        >>> look = log_spaced(2)
        >>> [step for step in range(200) if look(step)]
        [0, 1, 4, 10, 32, 100]
    """
    whole("per_decade", per_decade)

    def look(step: int) -> bool:
        if step < 1:
            return step == 0
        mark = math.floor(math.log10(step) * per_decade + 1e-9)
        return step == math.ceil(10 ** (mark / per_decade) - 1e-9)

    return look
