"""A Service is open to the world only where that is listed."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.resource import Resource
from engine.rule import Given, Rule, of_parts, patterns
from engine.values import Unknown, get, known, leaves, mapping

# The place of a Service, what it is, and the addresses that it takes of its own accord.
Entrance = tuple[str, str, bool]


def _services(resource: Resource) -> Iterator[Entrance]:
    if resource.kubernetes("Service", group=""):
        spec = mapping(resource.props, "spec")
        yield resource.place, str(get(spec, "type") or "ClusterIP"), bool(get(spec, "externalIPs"))
    elif resource.type.startswith("kubernetes:helm.sh/") and resource.kind == "Release":
        name = get(resource.props, "name") or resource.name
        place = f"{get(resource.props, 'namespace') or 'default'}/{name}"
        yield from ((place, kind, False) for kind in _types(get(resource.props, "values")))


def _types(values: object) -> Iterator[str]:
    """The types of Services in a chart's values: `type` of an object called as a service is. Raises
    Undecidable, after all that it knows, if a value is unknown: it may be a whole object.
    """
    unknown = None
    for path, value in leaves(values):
        if isinstance(value, Unknown):
            unknown = unknown or value
            continue
        *around, last = re.sub(r"\[\d+\]", "", path).lower().split(".")
        if last == "servicetype" or (last == "type" and around and "service" in around[-1]):
            yield str(value)
    known(unknown)


def _messages(entrance: Entrance, given: Given) -> Iterator[str]:
    place, kind, external = entrance
    if given.listed("allowed", place):
        return
    if kind == "LoadBalancer":
        yield f"{place}: is of type LoadBalancer and is not listed"
    if external:
        yield f"{place}: takes externalIPs and is not listed"


RULE = Rule(
    name="load-balancers",
    title="Load balancers only where listed",
    description="Services are open to the world only where that is listed.",
    severity="high",
    remediation="Make the Service a ClusterIP behind the gateway, or list it in the knob allowed. "
    "Of a chart, only what its values say is seen.",
    references=("https://kubernetes.io/docs/concepts/services-networking/service/",),
    check=of_parts(_services, _messages),
    knobs={"allowed": patterns("Services and releases, as patterns of namespace/name")},
)
