"""`{stack}` in the configuration: the name of the stack, so that a copy of it is another's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PLACEHOLDER = "{stack}"
# The keys that say what a stack is called outside of itself, and its own caches of images.
KEYS = ("aws", "gateway", "images", "istio", "keda", "labels", "mlflow")


def filled(raw: Mapping[str, Any], stack: str) -> dict[str, Any]:
    """`raw` with the stack's name for each `{stack}` in a text below KEYS; keys stay as they
    are.
    """
    return {key: _filled(value, stack) if key in KEYS else value for key, value in raw.items()}


def _filled(value: Any, stack: str) -> Any:
    if isinstance(value, str):
        return value.replace(PLACEHOLDER, stack)
    if isinstance(value, Mapping):
        return {key: _filled(item, stack) for key, item in value.items()}
    return [_filled(item, stack) for item in value] if isinstance(value, list) else value
