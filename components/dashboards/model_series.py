"""The selectors of one model's series, with the variables of its dashboard in them."""

from __future__ import annotations

from .board import MODELS
from .panels import Series

MODEL = 'model_name="$model"'
VERSION = f'{MODEL},model_version=~"$version"'
POD = f'namespace="{MODELS}",pod=~"$model-v$version-[a-z0-9]+-[a-z0-9]+"'
SERVER = f'{POD},container="server"'
HPA = f'namespace="{MODELS}",horizontalpodautoscaler=~"(keda-hpa-)?$model-v$version"'
WEIGHT = f"max by (model_version) (slipway_route_weight{{{VERSION}}}) / 100"


def by_version(rule: str) -> str:
    """What the rule says of each version that is chosen, with no label but model_version."""
    return f"max by (model_version) ({rule}{{{VERSION}}})"


def line(rule: str) -> Series:
    """A line for each version that is chosen."""
    return Series(f"{rule}{{{VERSION}}}", "v{{model_version}}")


def share(part: str, whole: str, selected: str, by: str = "model_version") -> str:
    """The increase of counter `part` over that of `whole`, by the labels `by`."""
    above, below = (
        f"sum by ({by}) (rate({it}{{{selected}}}[$__rate_interval]))" for it in (part, whole)
    )
    return f"{above} / {below}"
