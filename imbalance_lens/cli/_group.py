"""The command that has all others below it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from .. import __version__
from ..errors import ImbalanceLensWarning
from ..registry import Registry, unknown
from ..shadow import DISTRIBUTION
from ._complaints import complaint

COMMANDS = Registry(package="imbalance_lens.cli", attribute="COMMAND", kind="command")
INTERRUPTED = 130
"""Exit code after Ctrl-C: 128 and the number of the signal, as shells have it."""


class Commands(click.Group):
    """Finds its commands by their files, and says in one sentence what went wrong in them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(COMMANDS.names())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the command of that name, or None."""
        return COMMANDS.get(cmd_name) if cmd_name in COMMANDS.names() else None

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Return the command that the arguments name.

        Raises:
            click.UsageError: there is none; the message names one that looks alike.
        """
        if not args[0].startswith("-") and args[0] not in COMMANDS.names():
            raise click.UsageError(str(unknown("command", args[0], COMMANDS.names())), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; no traceback reaches the user without `--debug`."""
        try:
            with _notes_on_stderr():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)
        except Exception as error:
            if ctx.params["debug"]:
                raise
            raise click.ClickException(complaint(error)) from error


@contextmanager
def _notes_on_stderr() -> Iterator[None]:
    """Show the library's own warnings as sentences, without the place in the code."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", ImbalanceLensWarning)
        shown = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *rest: Any) -> None:
            if issubclass(category, ImbalanceLensWarning):
                click.echo(f"Note: {message}", err=True)
            else:
                shown(message, category, *rest)

        warnings.showwarning = show
        yield


@click.group(cls=Commands)
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(__version__, prog_name=DISTRIBUTION)
def main(debug: bool) -> None:
    """Find out which modality dominates a multimodal PyTorch model, and why.

    Results go to stdout, everything else to stderr. Exit codes: 0, it worked; 1, it did not, and
    one sentence says why; 2, the command was written wrongly; 130, interrupted.
    """
