"""A review in a terminal."""

from __future__ import annotations

import io

from rich.console import Console

from review.report import DiffLine, Review, Section
from review.terminal import FEW, show
from review.words import Data, Strong
from tests.previews import golden


def shown(review: Review, *, everything: bool = False, colours: bool = False) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=colours, width=80, highlight=False)
    show(review, console, everything=everything)
    return stream.getvalue()


def test_it_says_what_the_comment_says() -> None:
    lines = shown(golden.reviewed("weight")).splitlines()
    assert lines[0] == "dev: 1 changed resource"
    assert lines[2:4] == [
        "What it means",
        "  churn: canary 2 goes from 10 % to 25 % of traffic; no pod restarts",
    ]
    assert "  +   spec.http[2].route[1].weight: 25" in lines
    text = shown(golden.reviewed("policy"))
    assert "A policy refuses this update." in text
    assert "critical, the update is refused: no-pickled-models" in text
    assert "Serve it as ONNX or skops." in text
    assert "110 is not a whole percentage" in shown(golden.reviewed("bad-key"))


def test_of_a_long_difference_the_first_lines_are_shown_or_all() -> None:
    few = shown(golden.reviewed("first"))
    every = shown(golden.reviewed("first"), everything=True)
    assert f"… {len(golden.reviewed('first').difference) - FEW} more lines; ALL=1" in few
    assert len(every.splitlines()) > len(few.splitlines()) > FEW
    assert "ALL=1" not in every


def test_nobody_else_draws_on_the_terminal() -> None:
    evil = "\x1b[2J[bold]x[/bold]\u202e\r\n"
    section = Section(evil.replace("\x1b", "").strip(), ((Data(evil), Strong("own"), evil[4:5]),))
    found = Review(evil, "nothing", (evil,), False, (section,), (DiffLine("+", evil),))
    text = shown(found, colours=True)
    assert "\x1b[2J" not in text
    assert "\u202e" not in text.replace(section.title, "")
    assert "\\u001b[2J[bold]x[/bold]" in text
