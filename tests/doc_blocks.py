"""The code blocks of README.md and docs/, and how what a block shows is compared with what comes.

A fence's first word is its language. Further words say how the tests treat it:

``engine``   its commands need a Docker Engine: tests/docker runs them, elsewhere they are parsed
``not-run``  it is not run; the paragraph before it says "Not run by the tests" and why
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
FENCE = re.compile(
    r"^(?P<ticks>```+)(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=ticks)$", re.DOTALL | re.MULTILINE
)
NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+\.\d+(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands, its language and words, and its text."""

    page: str
    line: int
    language: str
    words: tuple[str, ...]
    text: str
    before: str

    @property
    def name(self):
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A shell command of a console block with the output that the page shows."""

    text: str
    output: str


def pages():
    """README.md and every page of docs/ that is written by hand."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def page_of(path):
    """Return the name of a page as the tests show it."""
    return str(path.relative_to(ROOT))


def blocks_of(path):
    """Return the blocks of a page in order; directives (``{...}``) are no code."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        words = match["info"].split()
        if words and words[0].startswith("{"):
            continue
        before = text[: match.start()].rstrip().rpartition("\n\n")[2]
        found.append(
            Block(
                page_of(path),
                text.count("\n", 0, match.start()) + 1,
                words[0] if words else "",
                tuple(words[1:]),
                match["text"],
                before,
            )
        )
    return found


def all_blocks(*languages):
    """Return the blocks of all pages in some languages."""
    found = []
    for page in pages():
        found.extend(block for block in blocks_of(page) if block.language in languages)
    return found


def commands_of(block):
    """Read ``$ command`` lines, continued by a backslash, each with the output below it."""
    commands = []
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        end = 1
        while lines[end - 1].endswith("\\"):
            end += 1
        commands.append(Command("\n".join(lines[:end]), "\n".join(lines[end:])))
    return commands


def shows(expected, got):
    """Tell whether an output is the one that a page shows.

    Numbers with a point may differ in their last digits, as they do between processors; ``...``
    stands for anything.
    """
    shown, came = expected.strip(), got.strip()
    pattern = ""
    for piece in re.split(f"({NUMBER.pattern}|\\.\\.\\.)", shown):
        if piece == "...":
            pattern += "(?:.|\n)*?"
        elif NUMBER.fullmatch(piece):
            pattern += f"({NUMBER.pattern})"
        else:
            pattern += re.escape(piece)
    match = re.fullmatch(pattern, came)
    if match is None:
        return False
    # What "..." stands for has no group, and NUMBER has none either.
    wanted = [number_of(text) for text in NUMBER.findall(shown)]
    return np.allclose([number_of(text) for text in match.groups()], wanted, rtol=1e-5, atol=1e-7)


def number_of(text):
    return float(text.replace("−", "-"))
