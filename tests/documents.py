"""Documents as what they are: files to write, code to run, and what is printed then."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]

_BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^>]+) -->\n)?^```(?P<language>\w+)\n(?P<text>.*?)^```$", re.M | re.S
)
_COMMAND = re.compile(r"^\$ (?P<command>(?:.*\\\n)*.*)\n(?P<shown>(?:(?!\$ ).*\n)*)", re.M)
_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?")


class Block(NamedTuple):
    """A fenced block, and what an HTML comment before it says: `key: value`."""

    language: str
    text: str
    note: str

    def noted(self, key: str) -> str:
        """What the comment says under a key, or nothing."""
        name, _, value = self.note.partition(": ")
        return value if name == key else ""


def blocks(document: str) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    for found in _BLOCK.finditer((REPOSITORY / document).read_text()):
        yield Block(found["language"], found["text"], found["note"] or "")


def commands(block: Block) -> Iterator[tuple[str, str]]:
    """The commands of a console block, each with what is shown below it."""
    for found in _COMMAND.finditer(block.text):
        yield found["command"], found["shown"]


def reads_like(printed: str, shown: str) -> bool:
    """Whether a text is what a document shows, but for its numbers and for what `...` leaves out.

    Numbers are not compared, since they differ from machine to machine; nor is white space, since
    lines are filled and columns aligned by the numbers in them.
    """
    parts = (_plain(part) for part in re.split(r"^\.\.\.$", shown, flags=re.M))
    pattern = ".*".join(rf"(?<!\S){re.escape(part)}(?!\S)" if part else "" for part in parts)
    return re.fullmatch(pattern, _plain(printed)) is not None


def _plain(text: str) -> str:
    return " ".join(_NUMBER.sub("0", text).split())
