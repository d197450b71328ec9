"""A review in a terminal. Pure but for the console that it is given."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from review import cost_text
from review.cost import Costs, Table
from review.markdown import DRIFTED
from review.report import Review
from review.words import Data, Line, Strong, visible

_COLOURS: Final = {"+": "green", "-": "red", "~": "yellow", "±": "magenta", " ": ""}
# So many lines of the full difference; the rest is for `--all`.
FEW: Final = 40


def show(review: Review, console: Console, *, everything: bool = False) -> None:
    """Print the review; of the difference FEW lines, or everything."""

    def say(text: Text) -> None:
        console.print(text, soft_wrap=True)

    say(Text.assemble((visible(review.stack), "bold cyan"), ": ", (review.summary, "bold")))
    if review.errors:
        say(Text("The preview failed, so there may be more than is said here:", "bold red"))
        for text in review.errors:
            for row in text.splitlines():
                say(Text(f"  {visible(row)}", "red"))
    elif review.refused:
        say(Text("A policy refuses this update.", "bold red"))
    elif review.drift and review.difference:
        say(Text(DRIFTED, "bold yellow"))
    for section in review.sections:
        say(Text(f"\n{section.title}", "bold"))
        for line in section.lines:
            say(Text("  ").append_text(_text(line)))
    if everything and review.costs:
        show_costs(review.costs, console)
    if not review.difference:
        return
    say(Text("\nEvery change", "bold"))
    shown = review.difference if everything else review.difference[:FEW]
    for one in shown:
        say(Text(f"  {one.sign} {visible(one.text)}", _COLOURS[one.sign]))
    if len(shown) < len(review.difference):
        say(Text(f"  … {len(review.difference) - len(shown)} more lines; ALL=1 shows them", "dim"))


def show_costs(costs: Costs, console: Console) -> None:
    """Print the table of what a stack costs after the update, and what is to be known of it."""
    console.print(Text(f"\n{cost_text.title(costs)}", "bold"))
    console.print(_grid(costs.after))
    for line in cost_text.footnotes(costs):
        console.print(Text("  ").append_text(_text(line)), soft_wrap=True)


def _grid(table: Table) -> Grid:
    grid = Grid(box=None, pad_edge=False)
    for place, head in enumerate(cost_text.HEADS):
        grid.add_column(head, justify="right" if place > 2 else "left", overflow="fold")
    for line in cost_text.cells(table):
        grid.add_row(*map(_text, line))
    return grid


def _text(line: Line) -> Text:
    text = Text()
    for part in line:
        if isinstance(part, Data):
            text.append(visible(part.text), "cyan")
        elif isinstance(part, Strong):
            text.append(part.text, "bold red")
        else:
            text.append(part)
    return text
