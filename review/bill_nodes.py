"""Nodes on the bill: EKS' node groups, and what Karpenter may make. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Final

from review.bill import Item, Resource, Stack, length, mapping, number, text, times
from review.preview import is_unknown
from review.prices import Prices
from review.values import objects, quantity
from review.words import Data, Line

# What EKS takes where a node group names none.
# https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateNodegroup.html
_TYPE: Final = "t3.medium"
_DISK: Final = 20
_SPOT: Final = "spot, whose price changes by the hour"
_AHEAD: Final = "a capacity block, paid ahead"
_GIB: Final = Decimal(2**30)

# Karpenter's requirement -> the part of an instance type that it is about.
# https://karpenter.sh/docs/concepts/scheduling/#well-known-labels
_PARTS: Final[dict[str, Callable[[str], str]]] = {
    "node.kubernetes.io/instance-type": lambda kind: kind,
    "karpenter.k8s.aws/instance-family": lambda kind: kind.partition(".")[0],
    "karpenter.k8s.aws/instance-size": lambda kind: kind.partition(".")[2],
    "karpenter.k8s.aws/instance-category": lambda kind: kind[:1],
}
_GPUS: Final = "nvidia.com/gpu"


def group(one: Resource, stack: Stack) -> Iterator[Item]:
    """A managed node group: nodes from its least to its most, and their disks."""
    scaling = mapping(one.inputs.get("scalingConfig"))
    low, high = number(scaling.get("minSize"), 0), number(scaling.get("maxSize"))
    template = _template(one, stack)
    given = one.inputs.get("instanceTypes") or mapping(template).get("instanceType") or [_TYPE]
    kinds = [given] if isinstance(given, str) else given
    kind = text(kinds[0]) if isinstance(kinds, list) and kinds else ""
    named: Line = ("nodes of ", Data(one.name))
    capacity = text(one.inputs.get("capacityType"))
    if capacity in ("SPOT", "CAPACITY_BLOCK"):
        why = _SPOT if capacity == "SPOT" else _AHEAD
        yield Item((*named, ", ", Data(kind or "?")), "", low, high, note=why)
    elif not kind:
        yield Item((*named, ", a type that is unknown"), "", None, None)
    else:
        more = (length(kinds) or Decimal(1)) - 1
        note = f"the first of {more + 1} types" if more > 0 else ""
        yield Item((*named, ", ", Data(kind)), f"ec2.{kind}", low, high, note=note)
    yield from _disks(one, template, low, high)


def _template(one: Resource, stack: Stack) -> dict[str, Any] | None:
    """The inputs of the launch template that the group's inputs come from."""
    if "launchTemplate" not in one.inputs:
        return None
    for found in stack.of("aws:ec2/launchTemplate:LaunchTemplate"):
        if found.name in one.depends:
            return dict(found.inputs)
    return {}


def _disks(
    one: Resource, template: dict[str, Any] | None, low: Decimal | None, high: Decimal | None
) -> Iterator[Item]:
    named: Line = ("disks of ", Data(one.name))
    if template is None:
        size = number(one.inputs.get("diskSize"), _DISK)
        yield Item(named, "ebs.gp3", times(low, size), times(high, size))
        return
    volumes = [
        mapping(each.get("ebs"))
        for each in objects(template.get("blockDeviceMappings"))
        if "ebs" in each
    ]
    sized = [each for each in volumes if "volumeSize" in each]
    if not sized:
        yield Item(named, "", None, None, note="as large as the image of the nodes has them")
    for kind in sorted({text(each.get("volumeType")) or "gp2" for each in sized}):
        sizes = [
            number(each["volumeSize"])
            for each in sized
            if (text(each.get("volumeType")) or "gp2") == kind
        ]
        whole = None if None in sizes else sum((s for s in sizes if s is not None), Decimal(0))
        yield Item(named, f"ebs.{kind}", times(low, whole), times(high, whole))


def karpenter(one: Resource, stack: Stack, prices: Prices | None) -> Iterator[Item]:
    """A NodePool of Karpenter: none while nobody asks, and at most what its limits let be, all of
    the type that makes that dearest.
    """
    spec = mapping(one.inputs.get("spec"))
    wanted = mapping(mapping(mapping(spec.get("template")).get("spec")))
    named: Line = ("nodes of Karpenter's ", Data(_called(one)))
    allowed = {
        text(each.get("key")): [text(value) for value in each.get("values") or []]
        for each in objects(wanted.get("requirements"))
        if each.get("operator", "In") == "In" and isinstance(each.get("values"), list)
    }
    capacity = allowed.get("karpenter.sh/capacity-type", [])
    note = "on demand; spot costs less" if len(capacity) > 1 else ""
    if capacity == ["spot"]:
        yield Item(named, "", Decimal(0), None, note=_SPOT)
        return
    if capacity == ["reserved"]:
        yield Item(named, "", Decimal(0), None, note=_AHEAD)
        return
    limits = mapping(spec.get("limits"))
    if any(is_unknown(limits.get(each)) for each in ("cpu", _GPUS)):
        yield Item(named, "", Decimal(0), None)
        return
    most = _dearest(allowed, quantity(limits.get("cpu")), quantity(limits.get(_GPUS)), prices)
    if most is None:
        yield Item(named, "", Decimal(0), None, note="no price for any of its types")
        return
    kind, nodes = most
    bounded = nodes is not None
    yield Item((*named, ", ", Data(kind)), f"ec2.{kind}", Decimal(0), nodes, bounded, note=note)
    yield from _volumes(one, wanted, nodes, bounded, stack)


def _dearest(
    allowed: dict[str, list[str]],
    cpus: Decimal | None,
    gpus: Decimal | None,
    prices: Prices | None,
) -> tuple[str, Decimal | None] | None:
    """The type and number of nodes that cost most within the limits; no number without a limit."""
    found: list[tuple[Decimal, str, Decimal | None]] = []
    for kind, price in (prices.instances if prices else {}).items():
        if not all(_PARTS[key](kind) in values for key, values in allowed.items() if key in _PARTS):
            continue
        bounds = []
        if cpus is not None and price.vcpu:
            bounds.append(cpus // price.vcpu)
        if gpus is not None and price.gpu:
            bounds.append(gpus // price.gpu)
        nodes = min(bounds) if bounds else None
        found.append((price.usd * (1 if nodes is None else nodes), kind, nodes))
    if not found:
        return None
    without = [one for one in found if one[2] is None]
    _, kind, nodes = max(without or found)
    return kind, nodes


def _volumes(
    one: Resource, wanted: Any, nodes: Decimal | None, bounded: bool, stack: Stack
) -> Iterator[Item]:
    """The disks of the nodes, by the node class that the pool names."""
    name = text(mapping(wanted.get("nodeClassRef")).get("name"))
    for each in stack.of("kubernetes:karpenter.k8s.aws/v1:EC2NodeClass"):
        if _called(each) != name:
            continue
        for volume in objects(mapping(each.inputs.get("spec")).get("blockDeviceMappings")):
            disk = mapping(volume.get("ebs"))
            size = quantity(disk.get("volumeSize"))
            key = f"ebs.{text(disk.get('volumeType')) or 'gp2'}"
            high = times(nodes, size / _GIB if size is not None else None)
            what: Line = ("disks of Karpenter's ", Data(_called(one)))
            yield Item(what, key, Decimal(0), high, bounded)


def _called(one: Resource) -> str:
    return text(mapping(one.inputs.get("metadata")).get("name")) or one.name
