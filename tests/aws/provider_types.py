"""Recorded inputs, held to the types of the providers' own SDKs.

Mocks take anything, and so does the engine until a provider is asked: a misspelt key passes a
preview against mocks. The SDKs know every input by its wire name (camelCase) and type; `check`
walks the inputs and the types side by side.
"""

from __future__ import annotations

import difflib
import enum
import functools
import importlib
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, get_type_hints

import pulumi
from pulumi import _types
from pulumi.runtime import rpc

from tests.aws.type_kinds import alternatives, described, is_map, is_sequence, item_type
from tests.conftest import Recorded

# The SDKs that hold the types, by the first part of a resource's type.
SDKS = {
    "aws": "pulumi_aws",
    "kubernetes": "pulumi_kubernetes",
    "docker-build": "pulumi_docker_build",
}
# Enumerations that AWS adds to between two releases of the SDK: text is enough.
OPEN_ENUMS = frozenset({"InstanceType", "ManagedPolicy", "Runtime"})


@dataclass
class Report:
    """What was found.

    faults: one line each. checked: how many resources. untyped: type -> how many of a kind that
    no SDK describes (custom resources).
    """

    faults: list[str] = field(default_factory=list)
    checked: int = 0
    untyped: dict[str, int] = field(default_factory=dict)


def check(resources: Iterable[Recorded]) -> Report:
    """Hold each resource that a provider would create to its SDK's types."""
    report = Report()
    for resource in resources:
        arguments = inputs_of(resource.type)
        if arguments is None:
            report.untyped[resource.type] = report.untyped.get(resource.type, 0) + 1
            continue
        inputs = resource.inputs
        if resource.type.startswith("pulumi:providers:"):
            inputs = {
                key: value
                if str in alternatives(properties(arguments).get(key))
                else _decoded(value)
                for key, value in inputs.items()
            }
        where = f"{resource.type} {resource.name}"
        report.faults += [f"{where}: {fault}" for fault in faults(inputs, arguments)]
        report.checked += 1
    return report


def _decoded(value: Any) -> Any:
    """A provider's own inputs: all that is no text travels as JSON."""
    if not isinstance(value, str):
        return value
    try:
        decoded = json.loads(value)
    except ValueError:
        return value
    return decoded if isinstance(decoded, dict | list | bool) else value


@functools.cache
def inputs_of(type_: str) -> type | None:
    """The SDK's Args class of `aws:eks/cluster:Cluster`; None where no SDK has the type."""
    package, module, kind = type_.split(":")
    if package == "pulumi" and module == "providers":
        sdk = SDKS.get(kind)
        return _member(f"{sdk}.provider", "ProviderArgs") if sdk else None
    sdk = SDKS.get(package)
    if sdk is None:
        return None
    importlib.import_module(sdk)
    known: Sequence[Any] = rpc._RESOURCE_MODULES.get(f"{package}:{module}", [])
    found = next((entry for entry in known if type_ in entry.mod_info["classes"]), None)
    if found is None:
        return None
    home, name = found.mod_info["fqn"], found.mod_info["classes"][type_]
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
    # A whole service of AWS is slow to import; where the file has another name it is needed.
    leaf = next((leaf for leaf in (snake, name) if find_spec(f"{home}.{leaf}")), None)
    resource = getattr(importlib.import_module(f"{home}.{leaf}" if leaf else home), name)
    # A nested object may have the name that the resource's own inputs would have: then those are
    # InitArgs.
    for arguments in (f"{name}InitArgs", f"{name}Args"):
        cls: type | None = getattr(sys.modules[resource.__module__], arguments, None)
        if cls is not None and cls.__module__ == resource.__module__:
            return cls
    raise AssertionError(f"{type_}: the SDK has the resource, and not its inputs")


def _member(module: str, name: str) -> type | None:
    return getattr(importlib.import_module(module), name, None)


@functools.cache
def properties(cls: type) -> Mapping[str, Any]:
    """Wire name -> type of each input of an Args class."""
    names = {"Output": pulumi.Output, "T": type(None)}
    space = _types._globals_for_cls(cls)
    found = {}
    for _, wire, getter in _types._py_properties(cls):
        hints = get_type_hints(getter.fget, globalns=space, localns=names)
        found[wire] = hints.get("return", Any)
    return found


def required(cls: type) -> Iterator[str]:
    """Wire names of what can't be left out of an Args class."""
    signature = inspect.signature(cls)
    wires = {python: wire for python, wire, _ in _types._py_properties(cls)}
    for name, parameter in signature.parameters.items():
        if name in wires and parameter.default is inspect.Parameter.empty:
            yield wires[name]


def faults(inputs: Mapping[str, Any], cls: type, path: str = "") -> Iterator[str]:
    """What is wrong with the inputs of one Args class, one line each, by the path of the key."""
    known = properties(cls)
    at = f"{path}." if path else ""
    for key, value in sorted(inputs.items()):
        if key.startswith("__"):
            continue
        if key not in known:
            nearest = _nearest(key, known)
            yield f"{at}{key}: no such key{f', {nearest}?' if nearest else ''}"
        elif value is not None:
            yield from _value(value, known[key], f"{at}{key}")
    for key in required(cls):
        if inputs.get(key) is None:
            yield f"{at}{key}: required, and missing"


def _nearest(key: str, known: Iterable[str]) -> str | None:
    by_sense = {re.sub("[^a-z0-9]", "", name.lower()): name for name in known}
    plain = re.sub("[^a-z0-9]", "", key.lower())
    close = difflib.get_close_matches(plain, by_sense, 1)
    return by_sense[close[0]] if close else None


def _value(value: Any, hint: Any, path: str) -> list[str]:
    """The faults of the alternative that comes nearest: of the fewest of them, the deepest."""
    choices = alternatives(hint)
    if not choices:
        return []
    tried = [list(_against(value, choice, path)) for choice in choices]
    right = [choice for choice, found in zip(choices, tried, strict=True) if not found]
    enums = [choice for choice in choices if isinstance(choice, type) and _is_enum(choice)]
    if right and enums and right == [str]:
        closed = [choice for choice in enums if choice.__name__ not in OPEN_ENUMS]
        return [line for choice in closed for line in _against(value, choice, path)]
    if right:
        return []
    wrong = f"{path}: {described(value)} given, {' or '.join(map(_named, choices))} expected"
    inside = [found for found in tried if any(not line.startswith(f"{path}: ") for line in found)]
    return min(inside, key=len) if inside else [wrong] if len(choices) > 1 else tried[0]


def _against(value: Any, kind: Any, path: str) -> Iterator[str]:
    wrong = f"{path}: {described(value)} given, {_named(kind)} expected"
    if kind is Any or kind is object:
        return
    if is_sequence(kind):
        if not isinstance(value, list):
            yield wrong
            return
        for index, item in enumerate(value):
            yield from _value(item, item_type(kind), f"{path}[{index}]")
    elif is_map(kind):
        if not isinstance(value, dict):
            yield wrong
            return
        for key, item in value.items():
            if item is not None:
                yield from _value(item, item_type(kind), f"{path}.{key}")
    elif _types.is_input_type(kind):
        if not isinstance(value, dict):
            yield wrong
            return
        yield from faults(value, kind, path)
    elif _is_enum(kind):
        allowed = [member.value for member in kind]
        if value not in allowed:
            few = ", ".join(map(str, allowed[:8])) + (", …" if len(allowed) > 8 else "")
            yield f"{path}: {value!r} is none of {few}"
    elif not _fits(value, kind):
        yield wrong


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)


def _fits(value: Any, kind: Any) -> bool:
    if kind is bool or kind is str:
        return type(value) is kind
    if kind in (int, float):
        number = type(value) in (int, float)
        return number and (kind is float or float(value).is_integer())
    if isinstance(kind, type) and issubclass(kind, pulumi.Asset | pulumi.Archive):
        return isinstance(value, pulumi.Asset | pulumi.Archive)
    if isinstance(kind, type) and issubclass(kind, pulumi.Resource):
        return True
    raise AssertionError(f"the SDK has a type that this check doesn't know: {kind!r}")


def _named(kind: Any) -> str:
    words = {str: "text", bool: "true or false", int: "a whole number", float: "a number"}
    if is_sequence(kind):
        return "a list"
    if is_map(kind) or _types.is_input_type(kind):
        return "an object"
    return words.get(kind, getattr(kind, "__name__", str(kind)))
