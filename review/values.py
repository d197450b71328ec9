"""What differs between a resource's inputs of now and of then, and quantities as Kubernetes writes
them. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from review.preview import SECRET, Step, is_unknown

_UNITS: Final = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
}
# What is written as a quantity. A provider may write one in another way than the program.
_RESOURCES: Final = frozenset({"cpu", "memory", "storage", "ephemeral-storage", "sizeLimit"})
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)([a-zA-Z]{0,2})")
_PLAIN_KEY: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class _Absent:
    """Stands for a value that is not there."""

    def __repr__(self) -> str:
        return "absent"


ABSENT: Final = _Absent()


@dataclass(frozen=True)
class Difference:
    """One property: where it is, and its value of now and of then; ABSENT where it is not there."""

    path: str
    old: Any
    new: Any


def quantity(value: Any) -> Decimal | None:
    """The number that a quantity such as `250m` or `1Gi` is; None if it is none."""
    found = _QUANTITY.fullmatch(str(value)) if isinstance(value, (str, int, float)) else None
    if found is None or found[2] not in _UNITS:
        return None
    return Decimal(found[1]) * _UNITS[found[2]]


def amount(number: Decimal) -> str:
    """A number with at most two decimals: `0.5`, `2`."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


def memory(number: Decimal) -> str:
    """Bytes in the unit that a person would take: `512 MiB`, `1.5 GiB`."""
    for unit, name in (("Ti", "TiB"), ("Gi", "GiB"), ("Mi", "MiB")):
        if number >= _UNITS[unit]:
            return f"{amount(number / _UNITS[unit])} {name}"
    return f"{amount(number / _UNITS['Ki'])} KiB"


def differences(step: Step) -> list[Difference]:
    """What differs between the inputs, in the order of the paths.

    What Pulumi says changes although the inputs look alike is there too: a secret, whose values
    nobody is shown, or what somebody has changed in the cluster.
    """
    old = dict(step.old.inputs) if step.old else ABSENT
    new = dict(step.new.inputs) if step.new else ABSENT
    found = list(_compare("", old, new))
    known = {_normal(one.path) for one in found}
    if isinstance(old, dict) and isinstance(new, dict):
        for path in step.paths:
            if path.startswith("__"):
                continue
            now, then = at(old, path), at(new, path)
            covered = any(_normal(path).startswith(one) for one in known)
            key = path.rsplit(".", 1)[-1]
            alike = key in _RESOURCES and same(now, then, key)
            if not covered and not alike and not any(k.startswith(_normal(path)) for k in known):
                found.append(Difference(path, now, then))
    return sorted(found, key=lambda one: one.path)


def at(value: Any, path: str) -> Any:
    """What lies at a path such as `spec.http[2].name`; what is secret all the way down."""
    for part in re.findall(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.\[\]]+)', path):
        if value == SECRET:
            return SECRET
        key = part[0] or part[2]
        if part[1] and isinstance(value, list) and int(part[1]) < len(value):
            value = value[int(part[1])]
        elif not part[1] and isinstance(value, dict) and key in value:
            value = value[key]
        else:
            return ABSENT
    return value


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none if it is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def same(old: Any, new: Any, key: str = "") -> bool:
    """Whether two values say the same: of a resource such as `cpu`, `1` and `1000m` do."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(same(old[one], new[one], one) for one in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same, old, new))
    if old == new:
        return type(old) is type(new)
    found = quantity(old) if key in _RESOURCES else None
    return found is not None and found == quantity(new)


def _normal(path: str) -> str:
    """Pulumi and this file write the same place in two ways."""
    return re.sub(r'\["((?:[^"\\]|\\.)*)"\]', r".\1", path)


def show(value: Any, longest: int = 200) -> str:
    """A value on one line, of at most `longest` characters."""
    if value is ABSENT:
        return "(none)"
    if is_unknown(value):
        return "(known during the update)"
    if value == SECRET:
        return SECRET
    text = value if isinstance(value, str) else json.dumps(_known(value), sort_keys=True)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _known(value: Any) -> Any:
    if is_unknown(value):
        return "(known during the update)"
    if isinstance(value, dict):
        return {key: _known(item) for key, item in value.items()}
    return [_known(item) for item in value] if isinstance(value, list) else value


def _compare(path: str, old: Any, new: Any, key: str = "") -> Iterator[Difference]:
    if same(old, new, key):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            inner = _joined(path, key)
            yield from _compare(inner, old.get(key, ABSENT), new.get(key, ABSENT), key)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            now = old[index] if index < len(old) else ABSENT
            then = new[index] if index < len(new) else ABSENT
            yield from _compare(f"{path}[{index}]", now, then)
    else:
        yield Difference(path, old, new)


def _joined(path: str, key: str) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key)}]"
