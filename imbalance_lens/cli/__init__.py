"""The command line. The file name is the command's name: a new command is a new file."""

from ._group import main

__all__ = ["main"]
