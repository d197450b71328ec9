"""A canary gets much traffic by a rollout's decision alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.journal import directory
from engine.resource import Resource
from engine.rule import Given, Rule, of_parts
from engine.workloads import routes, splits

_SERVER = re.compile(r"(?P<model>[^.]+)-v(?P<version>\d+)(\.|$)")


def _canaries(route: Resource) -> Iterator[tuple[Resource, str, int, int]]:
    if not routes(route):
        return
    for shares in splits(route):
        for host, weight in shares[1:]:
            if found := _SERVER.match(host):
                yield route, found["model"], int(found["version"]), int(weight)


def _messages(canary: tuple[Resource, str, int, int], given: Given) -> Iterator[str]:
    route, model, version, weight = canary
    limit = given["overrides"].get(model, given["limit"])
    if weight <= limit:
        return
    decided = given.rollouts(route.stack, model, version)
    if decided is None or decided < weight:
        told = (
            f"no rollout of it is open in {directory() / route.stack / model}"
            if decided is None
            else f"its rollout has decided on {decided} % so far"
        )
        yield f"canary {version} of {model} has {weight} % (limit: {limit:g} %), and {told}"


RULE = Rule(
    name="canary-weight",
    title="Much traffic by evidence alone",
    description="A canary has more than a limit of the traffic only if a rollout decided so.",
    severity="high",
    remediation="Let the evidence decide: `slipway run MODEL`. To go past it, set the model's own "
    "limit in the knob overrides, where a reviewer sees it.",
    references=("https://sre.google/workbook/canarying-releases/",),
    check=of_parts(_canaries, _messages),
    knobs={
        "limit": {
            "type": "integer",
            "minimum": 0,
            "maximum": 100,
            "default": 25,
            "description": "percent of the traffic that a canary may have without a rollout",
        },
        "overrides": {
            "type": "object",
            "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 100},
            "default": {},
            "description": "model -> its own limit",
        },
    },
)
