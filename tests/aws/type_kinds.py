"""The SDKs' annotations, taken apart: Input[Sequence[Input['XArgs']] | None] is a list of XArgs."""

from __future__ import annotations

import collections.abc
import types
from typing import Any, Union, get_args, get_origin, is_typeddict

import pulumi


def alternatives(hint: Any) -> list[Any]:
    """The kinds of value that a hint allows: without None, Awaitable, Output and the dictionaries
    that stand for an Args class. Empty where anything goes.
    """
    found = list(_flat(hint))
    if any(kind is Any for kind in found):
        return []
    args = [kind for kind in found if hasattr(kind, "_pulumi_input_type")]
    if args:
        found = [kind for kind in found if not is_map(kind)]
    return list(dict.fromkeys(found))


def _flat(hint: Any) -> collections.abc.Iterator[Any]:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _flat(part)
    elif not is_typeddict(hint) and hint not in (type(None), pulumi.Output):
        if origin in (pulumi.Output, collections.abc.Awaitable):
            return
        yield hint


def is_sequence(kind: Any) -> bool:
    return get_origin(kind) in (collections.abc.Sequence, list) or kind is list


def is_map(kind: Any) -> bool:
    return get_origin(kind) in (collections.abc.Mapping, dict) or kind is dict


def item_type(kind: Any) -> Any:
    """What a list or an object of this kind holds."""
    arguments = get_args(kind)
    return arguments[-1] if arguments else Any


def described(value: Any) -> str:
    """A value's kind, in a word or two; text and numbers with what they are."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"text {value!r}" if len(value) <= 40 else f"text {value[:37]!r}…"
        case int() | float():
            return f"number {value}"
        case list():
            return "a list"
        case dict():
            return "an object"
    return type(value).__name__
