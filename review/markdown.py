"""A review as a comment in Markdown, for GitHub and GitLab. Pure.

What somebody else wrote is only ever code, so that it can neither link, nor mention anybody, nor
pass for the project's own words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from review import cost_text
from review.cost import Costs, Table
from review.report import DiffLine, Review
from review.words import Data, Line, Strong, visible

# GitHub takes 65,536 characters; some letters count twice.
LIMIT: Final = 60_000
_LONGEST: Final = 300
_ERRORS: Final = 6_000
DRIFTED: Final = "Somebody has done this without an update; the next one takes it back."
_CUT: Final = "… the rest is cut; `make preview` shows all of it"


def comment(review: Review, limit: int = LIMIT) -> str:
    """The comment, at most `limit` characters: of what is too long the difference is cut first, and
    of the rest what comes last.
    """
    kind = "drift" if review.drift else "preview"
    head = [marker(review.stack, kind), f"### {code(review.stack)}: {review.summary}", ""]
    if review.errors:
        head += ["**The preview failed**, so there may be more than is said here.", ""]
        head += [fenced("\n".join(review.errors)[:_ERRORS].splitlines()), ""]
    elif review.refused:
        head += ["**A policy refuses this update.**", ""]
    elif review.drift and review.difference:
        head += [DRIFTED, ""]
    body: list[str] = []
    for section in review.sections:
        body += [f"#### {section.title}", ""]
        body += [f"- {sentence(line)}" for line in section.lines]
        body.append("")
    kept = _fitting(body, limit - len("\n".join(head)) - len(_CUT) - 10)
    text = "\n".join([*head, *kept]).rstrip() + "\n"
    text += _bill(review.costs, limit - len(text))
    return text + _folded(review.difference, limit - len(text))


def marker(stack: str, kind: str = "preview") -> str:
    """The line, not shown, by which the comment is found again to be brought up to date."""
    name = re.sub(r"[^A-Za-z0-9]", lambda found: f"_{ord(found[0]):x}_", stack)
    return f"<!-- slipway-{kind}:{name} -->"


def sentence(line: Line) -> str:
    """A sentence, what is somebody else's as code."""
    return "".join(
        code(part.text)
        if isinstance(part, Data)
        else f"**{part.text}**"
        if isinstance(part, Strong)
        else part
        for part in line
    )


def rows(table: Table) -> list[str]:
    """What a stack costs, as the lines of a table."""
    found: list[Iterable[str]] = [cost_text.HEADS, ("---", "---", "---", "---:", "---:")]
    found += [map(_cell, line) for line in cost_text.cells(table)]
    return [f"| {' | '.join(line)} |" for line in found]


def _cell(line: Line) -> str:
    # In a table a bar ends a cell, even within code.
    return sentence(line).replace("|", "\\|")


def code(text: str) -> str:
    """Text as code in a line, whatever is in it."""
    shown = visible(text).strip() or " "
    if len(shown) > _LONGEST:
        shown = f"{shown[: _LONGEST - 1]}…"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    space = " " if "`" in shown else ""
    return f"{fence}{space}{shown}{space}{fence}"


def fenced(lines: Iterable[str], language: str = "") -> str:
    """Lines as a block of code, whatever is in them."""
    shown = [visible(line.rstrip()) for line in lines]
    longest = max((len(run) for line in shown for run in re.findall("`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return "\n".join([f"{fence}{language}", *shown, fence])


def _fitting(lines: list[str], room: int) -> list[str]:
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            return [*kept, "", _CUT]
        kept.append(line)
    return kept


def _bill(costs: Costs | None, room: int) -> str:
    """The table of costs, folded away: the whole of it, or where there is no room none."""
    if costs is None or not costs.changed:
        return ""
    table = "\n".join(rows(costs.after))
    whole = f"\n<details><summary>Cost by month, line by line</summary>\n\n{table}\n\n</details>\n"
    # The difference is to be announced too.
    return whole if len(whole) + 2 * _LONGEST <= room else ""


def _folded(difference: tuple[DiffLine, ...], room: int) -> str:
    """The full difference, folded away."""
    if not difference:
        return ""
    opened = "\n<details><summary>Every change</summary>\n\n"
    closed = "\n\n</details>\n"
    lines = []
    room -= len(opened) + len(closed) + 2 * _LONGEST + len(_CUT)
    for index, one in enumerate(difference):
        text = visible(f"{one.sign} {one.text}")
        text = text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
        room -= len(text) + 1
        if room < 0:
            lines.append(f"… {len(difference) - index} more lines; `make preview` shows all of it")
            break
        lines.append(text)
    return opened + fenced(lines, "diff") + closed
