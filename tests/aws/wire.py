"""A provider's inputs as parameters of AWS' API, by the API's own model, and held to that model.

botocore checks kinds, what is required and least lengths before it sends; the model also holds
enumerations, patterns and greatest lengths, which AWS checks and moto mostly doesn't.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from ipaddress import ip_network
from typing import Any

from botocore.model import Shape


def fit(shape: Shape, value: Any, left_out: set[str], path: str = "") -> Any:
    """A value as the shape has it: members are found by their name in any case, one or many; an
    object becomes a list of one, or of Key and Value; text becomes a number or a boolean.

    left_out: gets the paths of the keys that the shape has no member for.
    """
    match shape.type_name:
        case "structure":
            if isinstance(value, list) and len(value) == 1:
                (value,) = value
            return _structure(shape, value, left_out, path) if isinstance(value, dict) else value
        case "list":
            if isinstance(value, dict):
                value = _pairs(shape.member, value) or [value]
            listed = value if isinstance(value, list) else [value]
            return [fit(shape.member, item, left_out, f"{path}[]") for item in listed]
        case "map" if isinstance(value, dict):
            return {
                key: fit(shape.value, item, left_out, f"{path}.{key}")
                for key, item in value.items()
            }
        case "boolean" if value in ("true", "false"):
            return value == "true"
        case "integer" | "long" if isinstance(value, str) and value.isdecimal():
            return int(value)
        case "integer" | "long" if isinstance(value, float) and value.is_integer():
            return int(value)
    return value


def _structure(shape: Shape, value: Mapping[str, Any], left_out: set[str], path: str) -> Any:
    plain = {name.lower(): name for name in shape.members}
    made = {}
    for key, item in value.items():
        if item is None or key.startswith("__"):
            continue
        member = next((plain[one] for one in _spelt(key) if one in plain), None)
        if member is None:
            left_out.add(f"{path}.{key}".removeprefix("."))
        else:
            made[member] = fit(shape.members[member], item, left_out, f"{path}.{key}".lstrip("."))
    return made


def _spelt(key: str) -> Iterator[str]:
    """One or many: the SDK names lists by the plural, the API often by neither rule."""
    low = key.lower()
    yield low
    yield low.removesuffix("s")
    yield f"{low}s"
    yield re.sub("ies$", "y", low)
    yield f"{low}list"
    yield f"{low.removesuffix('s')}set"
    yield f"{low.removesuffix('s')}list"
    yield f"{low}configuration"


def _pairs(member: Shape, value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Tags: {a: b} where the API has [{Key: a, Value: b}]."""
    if member.type_name != "structure":
        return None
    names = {name.lower(): name for name in member.members}
    if not {"key", "value"} <= set(names) or {"key", "value"} <= {key.lower() for key in value}:
        return None
    return [{names["key"]: key, names["value"]: item} for key, item in value.items()]


def faults(shape: Shape, value: Any, path: str = "") -> Iterator[str]:
    """What the model allows no request to hold: values beside an enumeration, a pattern or a
    range.
    """
    if shape.type_name == "structure" and isinstance(value, dict):
        for key, item in value.items():
            if key in shape.members:
                yield from faults(shape.members[key], item, f"{path}.{key}".removeprefix("."))
    elif shape.type_name == "list" and isinstance(value, list):
        yield from _range(shape, len(value), f"{path}: {len(value)} items")
        for index, item in enumerate(value):
            yield from faults(shape.member, item, f"{path}[{index}]")
    elif shape.type_name == "map" and isinstance(value, dict):
        for key, item in value.items():
            yield from faults(shape.key, key, f"{path}.{key}")
            yield from faults(shape.value, item, f"{path}.{key}")
    elif isinstance(value, str):
        if getattr(shape, "enum", None) and value not in shape.enum:
            yield f"{path}: {value!r} is none of {', '.join(shape.enum[:12])}"
        yield from _range(shape, len(value), f"{path}: {len(value)} characters")
        yield from _pattern(shape, value, path)
        yield from _network(value, path)
    elif type(value) in (int, float):
        yield from _range(shape, value, f"{path}: {value}")


def _range(shape: Shape, value: float, what: str) -> Iterator[str]:
    least, most = shape.metadata.get("min"), shape.metadata.get("max")
    if least is not None and value < least:
        yield f"{what}, {least} at least"
    if most is not None and value > most:
        yield f"{what}, {most} at most"


def _pattern(shape: Shape, value: str, path: str) -> Iterator[str]:
    pattern = shape.metadata.get("pattern")
    if not pattern:
        return
    try:
        matches = re.fullmatch(pattern, value, re.DOTALL)
    except re.error:  # one of the few that Python's grammar lacks
        return
    if not matches:
        yield f"{path}: {value[:60]!r} does not match {pattern}"


def _network(value: str, path: str) -> Iterator[str]:
    """The model has no pattern for CIDRs, and moto looks at those of VPCs and subnets alone."""
    if "cidr" not in path.rsplit(".", 1)[-1].lower():
        return
    try:
        network = ip_network(value, strict=True)
    except ValueError as wrong:
        yield f"{path}: {value!r} is no CIDR: {wrong}"
    else:
        if str(network) != value:
            yield f"{path}: {value!r} is no CIDR: write {network}"
