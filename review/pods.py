"""The pods of a preview: which come, go and restart, how many, and what they ask for. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal

from review.preview import State, Step, is_unknown
from review.roles import VERSION_LABEL
from review.values import ABSENT, at, memory, objects, quantity, same
from review.values import amount as number

_WORKLOADS: Final = ("Deployment", "StatefulSet", "DaemonSet")
_AUTOSCALERS: Final = {
    "HorizontalPodAutoscaler": ("minReplicas", "maxReplicas"),
    "ScaledObject": ("minReplicaCount", "maxReplicaCount"),
}
Fate = Literal["stays", "comes", "goes", "restarts"]


@dataclass(frozen=True)
class Bounds:
    """How many pods a workload has: at least and at most; both 0 where that is not known."""

    least: int
    most: int

    def __str__(self) -> str:
        if not self.most:
            return ""
        return f"{self.least} " if self.least == self.most else f"{self.least} to {self.most} "


@dataclass(frozen=True)
class Workload:
    """What runs pods.

    old, new: how many it has, and is to have. why: of a restart, what changes, as in `image`.
    sure: False if what changes is known only during the update, so that nothing may come of it.
    cpu, memory: what one pod of it asks for, in cores and in bytes. asked: what one has asked for.
    """

    step: Step
    fate: Fate
    old: Bounds
    new: Bounds
    why: tuple[str, ...] = ()
    sure: bool = True
    cpu: Decimal = Decimal(0)
    memory: Decimal = Decimal(0)
    asked: tuple[Decimal, Decimal] = (Decimal(0), Decimal(0))

    @property
    def gained(self) -> int:
        """How many pods more there are at least; negative: fewer."""
        before = 0 if self.fate == "comes" else self.old.least
        after = 0 if self.fate == "goes" else self.new.least
        return after - before


def workloads(steps: Iterable[Step]) -> list[Workload]:
    """Every workload that is known, changed or not."""
    listed = list(steps)
    # A kind of autoscaler that gives way to another is there twice.
    scalers: dict[str, list[Step]] = {}
    for step in listed:
        if step.kind in _AUTOSCALERS:
            target = str(at(step.state.inputs, "spec.scaleTargetRef.name"))
            scalers.setdefault(target, []).append(step)
    return [
        _workload(step, scalers.get(str(at(step.state.inputs, "metadata.name")), []))
        for step in listed
        if step.kind in _WORKLOADS
    ]


def total(gained: Iterable[Workload]) -> str:
    """`2 new pods, +0.5 CPU, +1 GiB`, and of what goes `2 pods go, -0.5 CPU, -1 GiB`; may be empty.

    Only of workloads that come or go as a whole.
    """
    parts = []
    listed = list(gained)
    for fate, sign in (("comes", "+"), ("goes", "-")):
        chosen = [one for one in listed if one.fate == fate]
        count = sum(abs(one.gained) for one in chosen)
        if not count:
            continue
        pods = f"{count} {'pod' if count == 1 else 'pods'}"
        words = [f"{count} new {'pod' if count == 1 else 'pods'}"]
        if fate == "goes":
            words = [f"{pods} {'goes' if count == 1 else 'go'}"]
        parts.append(", ".join([*words, *_asking(chosen, sign)]))
    return "; ".join(parts)


def raised(workloads: Iterable[Workload]) -> str:
    """`up to 2 more pods, +0.5 CPU, +1 GiB`, where the least of what stays rises; may be empty.

    How many there are now is the autoscaler's affair, so it may be fewer.
    """
    chosen = [one for one in workloads if one.fate in ("stays", "restarts") and one.gained > 0]
    pods = sum(one.gained for one in chosen)
    if not pods:
        return ""
    return ", ".join([f"up to {pods} more {'pod' if pods == 1 else 'pods'}", *_asking(chosen, "+")])


def _asking(chosen: list[Workload], sign: str) -> list[str]:
    cpu = sum((one.cpu * abs(one.gained) for one in chosen), Decimal(0))
    size = sum((one.memory * abs(one.gained) for one in chosen), Decimal(0))
    return [f"{sign}{number(cpu)} CPU"] * bool(cpu) + [f"{sign}{memory(size)}"] * bool(size)


def restarts(workload: Workload) -> str:
    """`2 to 4 pods restart (image)`."""
    alone = workload.old.most == 1
    verb = "restarts" if alone else "restart"
    if not workload.sure:
        verb = "may restart"
    pods = "pod" if alone else "pods"
    why = ", ".join(workload.why)
    if not workload.sure:
        why += ", known only during the update"
    return f"{workload.old}{pods} {verb} ({why}){_more(workload)}"


def _more(workload: Workload) -> str:
    """What one pod asks for, if that changes."""
    cpu, size = workload.asked
    told = [f"{number(workload.cpu)} CPU instead of {number(cpu)}"] * (workload.cpu != cpu)
    told += [f"{memory(workload.memory)} instead of {memory(size)}"] * (workload.memory != size)
    return f", a pod asks for {' and '.join(told)}" if told else ""


def _workload(step: Step, scalers: list[Step]) -> Workload:
    old = _bounds(step.old, [s.old for s in scalers]) if step.old else Bounds(0, 0)
    new = _bounds(step.new, [s.new for s in scalers]) if step.new else Bounds(0, 0)
    cpu, size = _asked(step.state)
    fate: Fate = "stays"
    why: tuple[str, ...] = ()
    sure = True
    if step.old is None:
        fate = "comes"
    elif step.new is None:
        fate = "goes"
    elif step.op == "replace":
        fate, why = "restarts", ("replaced",)
    elif step.changes:
        before, after = at(step.old.inputs, _POD), at(step.new.inputs, _POD)
        if not same(before, after):
            fate = "restarts"
            why = tuple(sorted(_reasons(before, after)))
            sure = not same(_without_unknown(before, after), _without_unknown(after, after))
    asked = _asked(step.old) if fate == "restarts" and step.old else (cpu, size)
    return Workload(step, fate, old, new, why, sure, cpu, size, asked)


_POD: Final = "spec.template"
_NAMES: Final = {
    "image": "image",
    "resources": "resources",
    "env": "environment",
    "command": "command",
    "args": "command",
    "annotations": "configuration",
    "volumes": "volumes",
    "volumeMounts": "volumes",
    "labels": "labels",
}


def _reasons(old: Any, new: Any) -> set[str]:
    """What of a pod changes, in a person's words."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: set[str] = set()
        for key in {*old, *new}:
            now, then = old.get(key, ABSENT), new.get(key, ABSENT)
            if not same(now, then):
                found |= {_NAMES[key]} if key in _NAMES else _reasons(now, then)
        return found
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return set().union(*(_reasons(*pair) for pair in zip(old, new, strict=True)))
    return set() if same(old, new) else {"settings"}


def _without_unknown(value: Any, guide: Any) -> Any:
    """`value` without what is unknown in `guide`."""
    if is_unknown(guide):
        return None
    if isinstance(value, dict) and isinstance(guide, dict):
        return {key: _without_unknown(item, guide.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(guide, list) and len(value) == len(guide):
        return [_without_unknown(*pair) for pair in zip(value, guide, strict=True)]
    return value


def _bounds(state: State, scalers: list[State | None]) -> Bounds:
    name = at(state.inputs, "metadata.name")
    space = at(state.inputs, "metadata.namespace")
    for scaler in filter(None, scalers):
        target = at(scaler.inputs, "spec.scaleTargetRef.name")
        if name is ABSENT or target != name or at(scaler.inputs, "metadata.namespace") != space:
            continue
        keys = _AUTOSCALERS.get(str(scaler.inputs.get("kind")), ("minReplicas", "maxReplicas"))
        least, most = (at(scaler.inputs, f"spec.{key}") for key in keys)
        if isinstance(least, int) and isinstance(most, int):
            return Bounds(least, most)
    replicas = at(state.inputs, "spec.replicas")
    # A model server has as many as its autoscaler says, which is not in this preview.
    default = 0 if at(state.inputs, f'metadata.labels["{VERSION_LABEL}"]') is not ABSENT else 1
    count = replicas if isinstance(replicas, int) else default
    return Bounds(count, count)


def _asked(state: State) -> tuple[Decimal, Decimal]:
    """What one pod asks for: all containers together, or the greediest that runs before them."""
    spec = at(state.inputs, f"{_POD}.spec")
    if not isinstance(spec, dict):
        return Decimal(0), Decimal(0)

    def of(group: str, resource: str) -> list[Decimal]:
        found = [at(one, f"resources.requests.{resource}") for one in objects(spec.get(group))]
        return [quantity(value) or Decimal(0) for value in found]

    cpu, size = (
        max([sum(of("containers", resource), Decimal(0)), *of("initContainers", resource)])
        for resource in ("cpu", "memory")
    )
    return cpu, size
