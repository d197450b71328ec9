"""Sentences that keep apart what this project says and what somebody else wrote. Pure.

Names and values come from whoever proposes the change. They are only ever shown as code.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

# What changes the direction of text, hides in it, or ends a line.
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})


@dataclass(frozen=True)
class Data:
    """Somebody else's text."""

    text: str


@dataclass(frozen=True)
class Strong:
    """Own words that must not be overlooked."""

    text: str


Part = str | Data | Strong
Line = tuple[Part, ...]


def visible(text: str) -> str:
    """The text on one line, with what cannot be seen written out: `\\u202e`."""
    return "".join(
        f"\\u{ord(letter):04x}" if unicodedata.category(letter) in _HIDDEN else letter
        for letter in text.replace("\n", " ⏎ ").replace("\t", " ")
    )


def joined(lines: Iterable[Line], between: str = "; ") -> Line:
    """Several in one."""
    parts: list[Part] = []
    for line in lines:
        parts += [between, *line] if parts else line
    return tuple(parts)


def plain(line: Line) -> str:
    """A sentence without marks."""
    return "".join(visible(part.text) if isinstance(part, Data) else _own(part) for part in line)


def listed(numbers: Iterable[int]) -> str:
    """`1`, `1 and 2`, `1, 2 and 3`."""
    texts = [str(number) for number in sorted(numbers)]
    return " and ".join(filter(None, [", ".join(texts[:-1]), *texts[-1:]]))


def count(number: int, one: str, many: str = "") -> str:
    """`1 pod`, `2 pods`."""
    return f"{number} {one if number == 1 else many or f'{one}s'}"


def _own(part: str | Strong) -> str:
    return part.text if isinstance(part, Strong) else part
