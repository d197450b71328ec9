"""Plain values, some of which a preview does not know yet.

Rules read values by `get` and its kin alone: a value that is not known raises `Undecidable`, so no
rule can take it for good.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class Undecidable(Exception):  # noqa: N818  (no error: an answer)
    """The verdict hangs on a value that is known only after the update. `path` says which."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class MalformedError(Exception):
    """A value is of another kind than its place demands; the message says where and which."""


class Unknown:
    """A value that is known only after the update. Whoever looks into it gets `Undecidable`."""

    def __init__(self, path: str) -> None:
        self.path = path

    def _refuse(self, *_: object) -> Any:
        raise Undecidable(self.path)

    __bool__ = __len__ = __iter__ = __getitem__ = __contains__ = _refuse
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __str__ = __int__ = __float__ = _refuse
    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Unknown({self.path!r})"


def get(value: Any, *keys: str | int) -> Any:
    """What lies at these keys, None where there is nothing.

    Raises Undecidable if it, or what leads to it, is unknown.
    """
    for key in keys:
        value = known(value)
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int):
            value = value[key] if -len(value) <= key < len(value) else None
        else:
            return None
    return known(value)


def known(value: Any) -> Any:
    """The value itself. Raises Undecidable if it is unknown."""
    if isinstance(value, Unknown):
        raise Undecidable(value.path)
    return value


def mapping(value: Any, *keys: str | int) -> Mapping[str, Any]:
    """The object there, {} where there is none. Raises MalformedError if it is no object."""
    found = get(value, *keys)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise MalformedError(f"{_path(keys)} is no object")
    return found


def items(value: Any, *keys: str | int) -> list[Any]:
    """The list there, [] where there is none; its items may be unknown. Raises MalformedError if it
    is no list.
    """
    found = get(value, *keys)
    if found is None:
        return []
    if not isinstance(found, list):
        raise MalformedError(f"{_path(keys)} is no list")
    return found


def texts(value: Any, *keys: str | int) -> list[str]:
    """The list there as texts; one text counts as a list of it. Raises Undecidable if one is
    unknown.
    """
    found = get(value, *keys)
    if isinstance(found, str):
        return [found]
    return [str(known(item)) for item in items(value, *keys)]


def labels(value: Any, *keys: str | int) -> dict[str, str]:
    """The object of texts there. Raises Undecidable if one of them is unknown."""
    return {key: str(known(item)) for key, item in mapping(value, *keys).items()}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Path and value of all that is neither an object nor a list, unknown values too."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def _path(keys: tuple[str | int, ...]) -> str:
    return ".".join(str(key) for key in keys) or "an item"
