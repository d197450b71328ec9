"""The roles of a model's versions, as its route and its servers have them. Pure.

They are read from what is deployed and to be deployed, not from the configuration: that is what
will happen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from review.preview import State, Step
from review.values import ABSENT, at, objects

MODEL_LABEL: Final = "slipway.dev/model"
VERSION_LABEL: Final = "slipway.dev/version"
_SERVER: Final = "slipway:index:ModelServer"
_ROUTE: Final = "slipway:index:ModelRoute"
# What asks for a version's first pod, and bounds no other.
_WAKES: Final = "metrics-api"
_COMPARER: Final = "slipway:index:ShadowComparer"


@dataclass(frozen=True)
class Scaling:
    """What an autoscaler of a version says: its bounds, what one replica bears, and its kind.

    idle: after how many seconds without a request the last pods go; None: never.
    """

    kind: str
    least: int
    most: int
    targets: Mapping[str, str] = field(default_factory=dict)
    idle: int | None = None


@dataclass(frozen=True)
class Model:
    """A model at one point of time.

    stable: None if its route is not known or there is none. shadow: version and percentage; the
    version is None where the preview does not show it. servers: its versions, each with its
    autoscaler if the preview shows it.
    """

    stable: int | None = None
    canary: int | None = None
    weight: int = 0
    shadow: tuple[int | None, int] | None = None
    sticky: bool = False
    routed: bool = False
    servers: Mapping[int, Scaling | None] = field(default_factory=dict)

    @property
    def previous(self) -> tuple[int, ...]:
        """Versions that are kept warm and get no request."""
        busy = {self.stable, self.canary, self.shadow[0] if self.shadow else None}
        return tuple(sorted(version for version in self.servers if version not in busy))


def by_model(steps: Iterable[Step]) -> dict[str, list[Step]]:
    """Model -> what belongs to it, in the order of the names."""
    found: dict[str, list[Step]] = {}
    for step in steps:
        if name := model_of(step):
            found.setdefault(name, []).append(step)
    return dict(sorted(found.items()))


def before_and_after(name: str, own: Iterable[Step]) -> tuple[Model | None, Model | None]:
    """What a model is and what it is to be, by what belongs to it; None where it is not there."""
    listed = list(own)
    old = _model(name, [(step, step.old) for step in listed if step.old])
    new = _model(name, [(step, step.new) for step in listed if step.new])
    return old, new


def model_of(step: Step) -> str:
    """The model that a resource belongs to; empty if to none."""
    label = at(step.state.inputs, f'metadata.labels["{MODEL_LABEL}"]')
    if isinstance(label, str) and label:
        return label
    if _COMPARER in step.urn.split("::", 3)[2]:
        return step.name.rsplit("-comparer", 1)[0]
    if step.type == _ROUTE:
        return step.name
    if step.type == _SERVER:
        return re.sub(r"-v\d+$", "", step.name)
    return ""


def version_of(step: Step) -> int | None:
    """The version of a model server's resource."""
    label = at(step.state.inputs, f'metadata.labels["{VERSION_LABEL}"]')
    if isinstance(label, str) and label.isdecimal():
        return int(label)
    found = re.search(r"-v(\d{1,9})$", step.name) if step.type == _SERVER else None
    return int(found[1]) if found else None


def _model(name: str, states: list[tuple[Step, State]]) -> Model | None:
    versions: dict[int, Scaling | None] = {}
    route: State | None = None
    shadow_version = None
    for step, state in states:
        version = version_of(step)
        if version is not None and _SERVER in step.urn.split("::", 3)[2]:
            versions.setdefault(version, None)
            if found := _scaling(step, state):
                versions[version] = found
        if step.kind == "VirtualService":
            route = state
        if step.kind == "Deployment" and _COMPARER in step.urn:
            told = _environment(state).get("SHADOW_VERSION", "")
            shadow_version = int(told) if told.isdecimal() else None
    if route is None and not versions:
        return None
    entries = objects(at(route.inputs, "spec.http")) if route else []
    # The last entry takes what no other has taken.
    last = entries[-1] if entries else {}
    shares = [
        (_version(name, at(one, "destination.host")), one.get("weight", 100))
        for one in objects(last.get("route"))
    ]
    copied = at(last, "mirrorPercentage.value")
    # What is no number compares with none.
    mirrored = copied if isinstance(copied, int | float) and 0 <= copied <= 100 else None
    return Model(
        stable=shares[0][0] if shares else None,
        canary=shares[1][0] if len(shares) > 1 else None,
        weight=int(shares[1][1]) if len(shares) > 1 and isinstance(shares[1][1], int) else 0,
        shadow=None if mirrored is None else (shadow_version, int(mirrored)),
        sticky=".sticky" in str(last.get("name", "")),
        routed=route is not None,
        servers=versions,
    )


def _scaling(step: Step, state: State) -> Scaling | None:
    spec = state.inputs.get("spec")
    if not isinstance(spec, dict):
        return None
    if step.kind == "HorizontalPodAutoscaler":
        least, most = spec.get("minReplicas"), spec.get("maxReplicas")
        targets = {
            str(at(one, "resource.name")): f"{at(one, 'resource.target.averageUtilization')} %"
            for one in objects(spec.get("metrics"))
        }
    elif step.kind == "ScaledObject":
        least, most = spec.get("minReplicaCount"), spec.get("maxReplicaCount")
        targets = {}
        for one in objects(spec.get("triggers")):
            if one.get("type") == "prometheus":
                targets["requests a second"] = str(at(one, "metadata.threshold"))
            elif one.get("type") != _WAKES:
                targets[str(one.get("type"))] = f"{at(one, 'metadata.value')} %"
    else:
        return None
    if not isinstance(least, int) or not isinstance(most, int):
        return None
    idle = spec.get("cooldownPeriod")
    return Scaling(step.kind, least, most, targets, idle if isinstance(idle, int) else None)


def _environment(state: State) -> dict[str, str]:
    env = at(state.inputs, "spec.template.spec.containers[0].env")
    return {str(one.get("name")): str(one.get("value", "")) for one in objects(env)}


def _version(model: str, host: Any) -> int | None:
    found = re.match(rf"{re.escape(model)}-v(\d{{1,9}})(\.|$)", str(host))
    return int(found[1]) if found and host is not ABSENT else None
