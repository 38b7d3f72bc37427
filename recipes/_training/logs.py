"""Where the numbers of a training can be sent while it runs."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

from imbalance_lens.errors import MissingPackageError

Log = Callable[[dict[str, float], int], None]
"""Gets numbers by name, and the optimizer step that they belong to."""


def to_csv(path: str | os.PathLike[str]) -> Log:
    """Return a log that appends to a CSV file: step, name, value.

    Args:
        path: the file; made with a header where it does not exist. Each call is written at once.

    Example:
        >>> path = getfixture("tmp_path") / "log.csv"
        >>> log = to_csv(path)
        >>> log({"loss": 0.5}, 3)
        >>> path.read_text().split()
        ['step,name,value', '3,loss,0.5']
    """
    target = Path(path)

    def log(numbers: dict[str, float], step: int) -> None:
        is_new = not target.exists()
        with target.open("a", newline="") as file:
            writer = csv.writer(file)
            if is_new:
                writer.writerow(("step", "name", "value"))
            writer.writerows((step, name, value) for name, value in numbers.items())

    return log


def to_tensorboard(folder: str | os.PathLike[str]) -> Log:
    """Return a log that writes scalars for TensorBoard.

    Args:
        folder: of the event files.

    Raises:
        MissingPackageError: tensorboard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingPackageError(
            "Logging to TensorBoard needs it. Install it: pip install tensorboard"
        ) from error
    writer = SummaryWriter(os.fspath(folder))

    def log(numbers: dict[str, float], step: int) -> None:
        for name, value in numbers.items():
            writer.add_scalar(name, value, step)
        writer.flush()

    return log
