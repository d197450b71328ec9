"""The weights of a route are whole shares of all its requests."""

from __future__ import annotations

from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts
from engine.values import get, items
from engine.workloads import routes


def _entries(route: Resource) -> Iterator[tuple[str, list[object]]]:
    if routes(route):
        for kind in ("http", "tcp", "tls"):
            for number, entry in enumerate(items(route.props, "spec", kind)):
                if shares := items(entry, "route"):
                    yield f"{kind}[{number}]", shares


def _messages(entry: tuple[str, list[object]], given: Given) -> Iterator[str]:
    called, shares = entry
    weights = [get(share, "weight") for share in shares]
    if len(weights) == 1 and weights[0] is None:
        return
    whole = [
        isinstance(each, int | float)
        and not isinstance(each, bool)
        and each == int(each)
        and 0 <= each <= 100
        for each in weights
    ]
    told = ", ".join(
        "none" if each is None else f"{each:g}" if good else str(each)
        for each, good in zip(weights, whole, strict=True)
    )
    if not all(whole):
        yield f"{called}: weights {told} are not whole percentages from 0 to 100"
    elif sum(weights) != 100:
        yield f"{called}: weights {told} sum to {sum(weights):g}, not to 100"


RULE = Rule(
    name="route-weights",
    title="Weights sum to 100",
    description="The weights of each entry of a route are whole percentages and sum to 100.",
    severity="high",
    remediation="Give each destination its weight; together they are 100.",
    references=("https://istio.io/latest/docs/reference/config/networking/virtual-service/",),
    check=of_parts(_entries, _messages),
)
