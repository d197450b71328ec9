"""Which images a stack's settings name. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from pydantic import BaseModel

from settings import Settings
from settings.types import ImageName

# Where Istio's charts have the images from: each is this, a name, and one tag for all.
HUB = ("istio", "hub")
ISTIO = ("pilot", "proxyv2")
# What marks a setting as such, beside its type.
_MARKS = frozenset(map(id, get_args(ImageName)[1:]))


def named(section: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """The path and the value of each setting that is an image's name, however deep, `HUB` too."""
    for key, field in type(section).model_fields.items():
        value = getattr(section, key)
        if isinstance(value, BaseModel):
            yield from named(value, (*path, key))
        elif isinstance(value, str) and _MARKS & set(map(id, field.metadata)):
            yield (*path, key), value


def wanted(settings: Settings) -> dict[tuple[str, ...], str]:
    """Path in the stack's configuration -> name of an image, of all but Istio's."""
    return {path: name for path, name in named(settings) if path != HUB}
