"""What a stack would have, from its configuration alone: no account, no cluster, no login.

The program itself runs, against the recording engine that the tests have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from review import cost_text, prices
from review.bill import Resource, Stack
from review.cost import Costs, Table, table
from review.markdown import rows, sentence
from review.words import plain
from settings import PROJECT

# What a page has around the table that is put into it.
BEGIN = "<!-- made by make cost -->"
END = "<!-- end -->"
# What stands in for a secret: nothing is billed by one, and some must be URLs.
_STAND_IN = "https://secret.example.org/of-no-meaning"


class OfflineError(ValueError):
    """There is no such configuration, or the program refuses it; a line for each fault."""


def costs(name: str, directory: Path = Path()) -> Costs | None:
    """What the stack with this name would cost; None if nothing of it is on AWS.

    Raises:
        OfflineError: as `stack`, or its region has no prices.
        PricesError: the region's file is none of prices.
    """
    found = stack(name, directory)
    if not found.on_aws:
        return None
    known = prices.load(found.region) if found.region else None
    whole = Costs(found.region, known, Table(), table(found, known))
    if known is None:
        there = f"there are those of {', '.join(prices.regions()) or 'none'}"
        raise OfflineError("; ".join([*map(plain, cost_text.lines(whole)), there]))
    return whole


def page(costs: Costs) -> str:
    """The table in Markdown, with what is to be known of it."""
    notes = [f"- {sentence(line)}" for line in cost_text.footnotes(costs)]
    return "\n".join([f"{cost_text.title(costs)}:", "", *rows(costs.after), "", *notes])


def put(text: str, made: str) -> str:
    """The text of a page with `made` between its two marks.

    Raises:
        OfflineError: it does not have them.
    """
    before, first, rest = text.partition(BEGIN)
    _, second, after = rest.partition(END)
    if not first or not second:
        raise OfflineError(f"the page has no {BEGIN} with an {END} after it")
    return f"{before}{BEGIN}\n{made}\n{END}{after}"


def stack(name: str, directory: Path = Path()) -> Stack:
    """The resources of the stack with this name.

    Raises:
        OfflineError: it has no file of configuration, or the program refuses what that says.
    """
    import pulumi

    from tests import rendered

    values = configuration(name, directory)
    try:
        found = rendered.offline(values, name.rpartition("/")[2]).resources.values()
    except pulumi.RunError as error:
        raise OfflineError(str(error)) from None
    return Stack(
        tuple(
            Resource(one.type, one.name, one.inputs, frozenset(one.depends_on))
            # The engine registers them in whatever order; a page has one.
            for one in sorted(found, key=lambda it: (it.type, it.name))
            if not one.type.startswith("slipway:")
        )
    )


def configuration(name: str, directory: Path = Path()) -> dict[str, Any]:
    """The stack file's keys of this project, without its name; something stands in for a secret.

    Raises:
        OfflineError: there is no such file, or it is no stack's.
    """
    file = directory / f"Pulumi.{name.rpartition('/')[2]}.yaml"
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        stored = dict(content["config"])
    except OSError:
        raise OfflineError(f"{name}: there is no {file.name}") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise OfflineError(f"{file.name}: is no stack's configuration") from None
    prefix = f"{PROJECT}:"
    return {
        str(key).removeprefix(prefix): _told(value)
        for key, value in stored.items()
        if ":" not in str(key) or str(key).startswith(prefix)
    }


def _told(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            return _STAND_IN
        return {key: _told(one) for key, one in value.items()}
    return [_told(one) for one in value] if isinstance(value, list) else value
