"""Workloads of several pods, and what scales, guards and reaches them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from engine.pods import number, pods, selects
from engine.resource import Resource
from engine.rule import patterns, picked, some
from engine.values import Undecidable, get, items, known, labels, mapping

SINGLE_KNOB = patterns("workloads, as patterns of namespace/name, that may be one pod alone")
_WORLD = ("0.0.0.0/0", "::/0")


def replicated(resource: Resource) -> bool:
    """Whether it is a workload of as many pods as one likes."""
    return resource.kubernetes("Deployment", "StatefulSet", group="apps")


def pod_labels(workload: Resource) -> dict[str, str]:
    """The labels of its pods. Raises Undecidable."""
    return {
        key: value
        for pod in pods(workload)
        for key, value in labels(pod.metadata, "labels").items()
    }


def fewest(workload: Resource, stack: Sequence[Resource]) -> int:
    """The fewest pods that it has when all is well: its autoscaler's least, or its replicas."""
    scaler = autoscaler(workload, stack)
    if scaler is not None:
        field = "minReplicas" if scaler.kind == "HorizontalPodAutoscaler" else "minReplicaCount"
        default = 1 if field == "minReplicas" else 0
        found = get(scaler.props, "spec", field)
        idle = get(scaler.props, "spec", "idleReplicaCount")
        if scaler.kind == "ScaledObject" and idle is not None:
            found = idle  # as many while nobody asks, whatever the least of the others
    else:
        default, found = 1, get(workload.props, "spec", "replicas")
    return default if found is None else int(number(found))


def autoscaler(workload: Resource, stack: Sequence[Resource]) -> Resource | None:
    """What scales it, None if nothing does. Raises Undecidable."""
    return some(stack, lambda each: _scales(each, workload))


def _scales(scaler: Resource, workload: Resource) -> bool:
    if not (
        scaler.kubernetes("HorizontalPodAutoscaler", group="autoscaling")
        or scaler.kubernetes("ScaledObject", group="keda.sh")
    ):
        return False
    target = mapping(scaler.props, "spec", "scaleTargetRef")
    return (
        get(target, "name") == workload.object_name
        and (get(target, "kind") or "Deployment") == workload.kind
        and scaler.namespace == workload.namespace
    )


def budgets(workload: Resource, stack: Sequence[Resource]) -> Iterator[Resource]:
    """The PodDisruptionBudgets that select its pods. Raises Undecidable after those it knows."""
    target = pod_labels(workload)
    return picked(
        stack,
        lambda each: (
            each.kubernetes("PodDisruptionBudget", group="policy")
            # Without a selector it is of no pod, with an empty one of all.
            and get(each.props, "spec", "selector") is not None
            and selects(get(each.props, "spec", "selector"), target)
            and each.namespace == workload.namespace
        ),
    )


def evictable(guard: Resource, replicas: int) -> int:
    """How many of that many healthy pods a PodDisruptionBudget lets go at a time.

    Percentages are rounded up, as Kubernetes does:
    https://kubernetes.io/docs/tasks/run-application/configure-pdb/
    """
    most = get(guard.props, "spec", "maxUnavailable")
    if most is not None:
        return _count(most, replicas)
    least = get(guard.props, "spec", "minAvailable")
    return replicas - _count(1 if least is None else least, replicas)


def _count(value: object, of: int) -> int:
    text = str(value)
    if text.endswith("%"):
        return math.ceil(number(text[:-1]) * of / 100)
    return int(number(text))


def anybody(peer: Any) -> str:
    """Whom a peer of a NetworkPolicy stands for, if for as good as everybody; else nothing."""
    if get(peer, "ipBlock", "cidr") in _WORLD:
        return f"everybody from {get(peer, 'ipBlock', 'cidr')}"
    if get(peer, "podSelector") is not None and mapping(peer, "podSelector"):
        return ""
    spaces = get(peer, "namespaceSelector")
    return "" if spaces is None or mapping(spaces) else "all pods of all namespaces"


def behind(host: str, stack: Sequence[Resource], near: str) -> list[Resource]:
    """The workloads behind a host of the cluster's DNS, none if it is not of this stack. `near`:
    the namespace of whoever calls it. Raises Undecidable.
    """
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0] or near
    service = some(
        stack,
        lambda each: (
            each.kubernetes("Service", group="")
            and each.object_name == name
            and each.namespace == namespace
        ),
    )
    if service is None or not (picks := labels(service.props, "spec", "selector")):
        return []
    return [
        each
        for each in stack
        if replicated(each)
        and picks.items() <= pod_labels(each).items()
        and each.namespace == namespace
    ]


def splits(route: Resource) -> list[list[tuple[str, float]]]:
    """The entries of a VirtualService that split requests: hosts and weights of each, in order."""
    found = []
    for entry in items(route.props, "spec", "http"):
        shares = items(entry, "route")
        if len(shares) > 1:
            found.append(
                [
                    (str(get(share, "destination", "host")), number(get(share, "weight")))
                    for share in map(known, shares)
                ]
            )
    return found


def routes(resource: Resource) -> bool:
    """Whether it is a route of Istio's."""
    return resource.kubernetes("VirtualService", group="networking.istio.io")


@dataclass(frozen=True)
class Trial:
    """A canary and the stable it is compared with: what a route calls them, and what serves."""

    stable_name: str
    stable: Resource
    canary_name: str
    canary: Resource


def trials(route: Resource, stack: Sequence[Resource]) -> Iterator[Trial]:
    """Stable and each canary of a route: the first of its hosts, and each other one.

    What is behind both, as one who holds requests for them, tells them not apart. Raises
    Undecidable where nothing of this stack is behind one of them alone.
    """
    pairs = [(shares[0][0], host) for shares in splits(route) for host, _ in shares[1:]]
    for hosts in dict.fromkeys(pairs):
        found = [behind(host, stack, route.namespace) for host in hosts]
        own = [
            [each for each in found[side] if all(each is not other for other in found[1 - side])]
            for side in (0, 1)
        ]
        for host, workloads in zip(hosts, own, strict=True):
            if not workloads:
                raise Undecidable(f"what is behind {host} alone, which is not of this stack,")
        names = [host.partition(".")[0] for host in hosts]
        for stable, canary in product(*own):
            yield Trial(names[0], stable, names[1], canary)
