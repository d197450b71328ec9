"""Pods and containers, out of whatever makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.resource import Resource
from engine.rule import Check, Given, of_parts, patterns
from engine.values import get, items, known, labels, mapping

_TEMPLATES = {
    "Pod": (),
    "PodTemplate": ("template",),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Deployment": ("spec", "template"),
    "Job": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
}
_GROUPS = {"", "apps", "batch", "extensions"}
MODEL_SERVER = "app.kubernetes.io/component=model-server"
_LABEL = "^[^=]+=[^=]*$"
MODEL_SERVER_KNOB = {
    "type": "string",
    "pattern": _LABEL,
    "default": MODEL_SERVER,
    "description": "the label, as name=value, that the pods of model servers have",
}
ACTIVATOR = "app.kubernetes.io/component=activator"
COMPARER = "app.kubernetes.io/component=shadow-comparer"


def beside(*default: str) -> dict[str, Any]:
    """The schema of a knob that names what a rule holds to the same as model servers."""
    found = patterns(
        "labels, as name=value, of other pods that hold or copy models' requests", default
    )
    return {**found, "items": {**found["items"], "pattern": _LABEL}}


@dataclass(frozen=True)
class Pod:
    """A pod that a resource makes: its metadata and its spec."""

    resource: Resource
    metadata: Mapping[str, Any]
    spec: Mapping[str, Any]

    def labelled(self, label: str) -> bool:
        """Whether it has this label, as name=value. Raises Undecidable."""
        name, _, value = label.partition("=")
        return bool(get(self.metadata, "labels", name) == value)

    def serves(self, given: Given) -> bool:
        """Whether it is of a model server, or of what the knob `beside` names. Raises
        Undecidable.
        """
        return any(map(self.labelled, (given["model_server"], *given["beside"])))


@dataclass(frozen=True)
class Container:
    """A container of a pod; `kind` is the list it stands in."""

    pod: Pod
    kind: str
    spec: Any

    @property
    def called(self) -> str:
        """`container server`. Raises Undecidable."""
        called = {"initContainers": "init container", "ephemeralContainers": "ephemeral container"}
        return f"{called.get(self.kind, 'container')} {get(self.spec, 'name')}"

    def effective(self, key: str) -> Any:
        """A field of its security context, or of its pod's where its own is silent."""
        own = get(self.spec, "securityContext", key)
        return get(self.pod.spec, "securityContext", key) if own is None else own


def makes_pods(resource: Resource) -> bool:
    """Whether it makes pods that can be seen. What a chart makes cannot."""
    return resource.kubernetes(*_TEMPLATES) and resource.group in _GROUPS


def pods(resource: Resource) -> list[Pod]:
    """The pod that the resource makes, if it makes one. Raises Undecidable."""
    if not makes_pods(resource):
        return []
    template = mapping(resource.props, *_TEMPLATES[resource.kind])
    return [Pod(resource, mapping(template, "metadata"), mapping(template, "spec"))]


def containers(pod: Pod) -> Iterator[Container]:
    """All containers of a pod. Raises Undecidable where a list of them is unknown."""
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for spec in items(pod.spec, kind):
            yield Container(pod, kind, spec)


def of_pods(messages: Callable[[Pod, Given], Iterable[str]]) -> Check:
    """A check of each pod by itself."""
    return of_parts(pods, messages)


def of_containers(messages: Callable[[Container, Given], Iterable[str]]) -> Check:
    """A check of each container by itself."""

    def parts(resource: Resource) -> Iterator[Container]:
        for pod in pods(resource):
            yield from containers(pod)

    return of_parts(parts, messages)


def environment(container: Container) -> dict[str, Any]:
    """Variable -> its value, None where it comes from elsewhere, unknown ones as they are."""
    found: dict[str, Any] = {}
    for variable in items(container.spec, "env"):
        found[str(get(variable, "name"))] = mapping(variable).get("value")
    return found


def words(container: Container) -> list[Any]:
    """Its command and its arguments; unknown ones as they are."""
    return [*items(container.spec, "command"), *items(container.spec, "args")]


def number(value: Any) -> float:
    """A number, also one that stands as text; 0 for anything else."""
    try:
        return float(known(value))
    except (TypeError, ValueError):
        return 0.0


def selects(selector: Any, target: Mapping[str, str]) -> bool:
    """Whether a label selector picks what has these labels. Raises Undecidable.

    Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/
    """
    selector = mapping(selector)
    if any(target.get(key) != value for key, value in labels(selector, "matchLabels").items()):
        return False
    for demand in items(selector, "matchExpressions"):
        key, operator = str(get(demand, "key")), get(demand, "operator")
        values = [str(known(value)) for value in items(demand, "values")]
        met = {
            "In": target.get(key) in values,
            "NotIn": target.get(key) not in values,
            "Exists": key in target,
            "DoesNotExist": key not in target,
        }
        if not met.get(str(operator), False):
            return False
    return True
