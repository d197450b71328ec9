"""What a preview takes away: what is replaced and deleted, and which data may go with it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from review.preview import Step
from review.values import at, quantity, show
from review.words import Data, Line, Part, Strong, count

# What holds data, as the last part of a type, and what goes with it.
_HOLDERS: Final = {
    "PersistentVolumeClaim": "the data on this volume",
    "PersistentVolume": "the data on this volume",
    "StatefulSet": "what its volumes hold may be orphaned",
    "Namespace": "everything in this namespace",
    "CustomResourceDefinition": "every object of this kind",
    "Bucket": "the objects in this bucket",
    "BucketV2": "the objects in this bucket",
    "Instance": "the database",
    "Cluster": "the database",
    "Table": "the rows in this table",
    "FileSystem": "the files in it",
    "Volume": "the data on this volume",
    "Key": "whatever this key has encrypted",
    "Repository": "the images in it",
}
# `Instance`, `Cluster` and the like are many things; these are the ones that hold data.
_AMBIGUOUS: Final = {
    "Instance": ("aws:rds/",),
    "Cluster": ("aws:rds/", "aws:docdb/"),
    "Table": ("aws:dynamodb/",),
    "Volume": ("aws:ebs/",),
    "Key": ("aws:kms/",),
    "Repository": ("aws:ecr/",),
}
_MOST: Final = 6


def replaced(steps: Iterable[Step]) -> list[Line]:
    """What is deleted and made anew, and because of what."""
    lines: list[Line] = []
    for step in steps:
        if step.op != "replace":
            continue
        parts: list[Part] = [Strong("replaced"), ": ", Data(f"{step.kind} {step.name}")]
        for index, reason in enumerate(step.reasons[:_MOST]):
            parts += [", " if index else ", because of ", Data(reason)]
        lines.append(tuple(parts))
    return lines


def deleted(steps: Iterable[Step]) -> list[Line]:
    """What goes. A component that goes as a whole is one line."""
    gone = [step for step in steps if step.op == "delete"]
    wholes = {step.urn for step in gone if step.component}
    lines: list[Line] = []
    for step in gone:
        if step.component:
            own = sum(one.state.parent == step.urn for one in gone)
            rest = f" and {count(own, 'resource')} of it" if own else ""
            lines.append((Strong("deleted"), ": ", Data(f"{step.kind} {step.name}"), rest))
        elif step.state.parent not in wholes:
            kept = ", but kept in the cluster or account" if step.state.retained else ""
            lines.append((Strong("deleted"), ": ", Data(f"{step.kind} {step.name}"), kept))
    return lines


def data(steps: Iterable[Step]) -> list[Line]:
    """Which data may be lost, and which guards against that come off."""
    lines: list[Line] = []
    for step in steps:
        what = _holds(step)
        name = Data(f"{step.kind} {step.name}")
        if what and step.op in ("delete", "replace"):
            if step.state.retained or (step.old and step.old.retained):
                lines.append((name, f" is {step.op}d and kept outside the stack: {what}"))
            else:
                lines.append((Strong("data lost"), ": ", name, f" is {step.op}d: {what}"))
        if step.old and step.op in ("delete", "replace") and step.old.protect:
            lines.append((name, " is protected: the update will be refused"))
        if step.old and step.new and step.op not in ("delete", "replace"):
            if step.old.protect and not step.new.protect:
                lines.append((name, " is protected no more"))
            if step.old.retained and not step.new.retained:
                lines.append((name, " is no longer kept when it is deleted"))
        lines += _smaller(step, name)
    return lines


def _holds(step: Step) -> str:
    if not step.type.startswith(("kubernetes:", "aws:")):
        return ""
    if step.kind in _AMBIGUOUS and not step.type.startswith(_AMBIGUOUS[step.kind]):
        return ""
    return _HOLDERS.get(step.kind, "")


def _smaller(step: Step, name: Data) -> list[Line]:
    if step.kind != "PersistentVolumeClaim" or not step.old or not step.new:
        return []
    before, after = (
        at(state.inputs, "spec.resources.requests.storage") for state in (step.old, step.new)
    )
    old, new = quantity(before), quantity(after)
    if old is None or new is None or new >= old:
        return []
    return [
        (
            name,
            " is to shrink from ",
            Data(show(before)),
            " to ",
            Data(show(after)),
            ": Kubernetes refuses that",
        )
    ]
