"""What a preview means for all that is no model: alerts, dashboards, the gateway, MLflow. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from review.pods import Workload, restarts, total
from review.preview import State, Step
from review.roles import model_of
from review.values import at, objects
from review.words import Data, Line, Part, count, joined

_TITLES: Final = {
    "Activator": "holds requests for versions that sleep",
    "Alertmanager": "Alertmanager",
    "ArtifactBucket": "artifact bucket",
    "GatewayTracing": "traces",
    "Grafana": "Grafana",
    "IsolatedNamespace": "namespace",
    "IstioMesh": "gateway",
    "Keda": "KEDA",
    "KubeStateMetrics": "kube-state-metrics",
    "MlflowServer": "MLflow",
    "Monitoring": "Prometheus",
    "OperatorMonitoring": "Prometheus operator's monitors",
    "ServingImage": "serving image",
    "TrainingJob": "training",
}
_OPS: Final = {"create": "new", "update": "changed", "replace": "replaced", "delete": "deleted"}
# So many names of alerts are listed.
_MOST: Final = 12

Rules = dict[str, list[Any]]


def of_platform(steps: Iterable[Step], workloads: Iterable[Workload]) -> list[Line]:
    """A sentence for each component of the platform that something happens to."""
    running = list(workloads)
    groups: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        of_pulumi = step.component or step.type.startswith("pulumi:providers:")
        if step.changes and not of_pulumi and not model_of(step):
            groups.setdefault(_home(step), []).append(step)
    lines: list[Line] = []
    for (kind, name), own in sorted(groups.items()):
        pods = [one for one in running if one.step in own]
        title = _TITLES.get(kind.rsplit(":", 1)[-1])
        head: Line = (Data(name), f" ({title}): ") if title else (Data(name), ": ")
        said: list[Line] = [_counted(own)]
        if any(step.kind == "Image" and step.new for step in own):
            said.append(("built again, its digest is known only during the update",))
        said += _rules(own)
        said += _traces(own)
        boards = [step for step in own if "dashboard" in step.name]
        said += [(f"{count(len(boards), 'dashboard')} among them",)] if boards else []
        said += [(restarts(one),) for one in pods if one.fate == "restarts"]
        said += [(moved,)] if (moved := total(pods)) else []
        lines.append((*head, *joined(said)))
    return lines


def _home(step: Step) -> tuple[str, str]:
    """Type and name of the component that a resource belongs to; its own if to none."""
    parts = step.state.parent.split("::", 3)
    kind = parts[2].rsplit("$", 1)[-1] if len(parts) == 4 else ""
    return (kind, parts[3]) if kind.startswith("slipway:") else (step.type, step.name)


def _counted(steps: list[Step]) -> Line:
    found = [
        f"{number} {word}"
        for op, word in _OPS.items()
        if (number := sum(step.op == op for step in steps))
    ]
    other = sum(step.op not in _OPS for step in steps)
    return (", ".join([*found, *([f"{other} touched"] if other else [])]),)


def _traces(steps: list[Step]) -> list[Line]:
    """How many requests leave a trace."""
    for step in steps:
        if step.kind == "Telemetry":
            was, will = (
                at(state.inputs, "spec.tracing[0].randomSamplingPercentage") if state else None
                for state in (step.old, step.new)
            )
            if isinstance(will, int | float) and was != will:
                before = f" instead of {was:g} %" if isinstance(was, int | float) else ""
                return [(f"{will:g} % of requests are traced{before}",)]
            if step.new is None:
                return [("no request is traced any more",)]
    return []


def _rules(steps: list[Step]) -> list[Line]:
    """Which alerts come, go and change, and how many recording rules do."""
    old: Rules = {}
    new: Rules = {}
    for step in steps:
        _read(step.old, old)
        _read(step.new, new)
    lines: list[Line] = []
    alerts = sorted(name for name in {*old, *new} if name.startswith("alert:"))
    for word, names in (
        ("new", [name for name in alerts if name not in old]),
        ("gone", [name for name in alerts if name not in new]),
        ("changed", [n for n in alerts if n in old and n in new and old[n] != new[n]]),
    ):
        if names:
            parts: list[Part] = [f"{count(len(names), 'alert')} {word} ("]
            for index, name in enumerate(names[:_MOST]):
                parts += [", "] * bool(index) + [Data(name.removeprefix("alert:"))]
            parts.append(", …)" if len(names) > _MOST else ")")
            lines.append(tuple(parts))
    other = sum(
        old.get(name) != new.get(name) for name in {*old, *new} if not name.startswith("alert:")
    )
    if other:
        lines.append((f"{count(other, 'recording rule')} changed",))
    return lines


def _read(state: State | None, into: Rules) -> None:
    """Add the rules that a ConfigMap of this project or a PrometheusRule holds, by name."""
    if state is None:
        return
    found = [at(state.inputs, "spec.groups")]
    data = state.inputs.get("data")
    for name, text in sorted(data.items()) if isinstance(data, Mapping) else []:
        if "rules" in str(name):
            try:
                # The project writes them as JSON, which is YAML too.
                found.append(at(json.loads(str(text)), "groups"))
            except ValueError:
                continue
    for groups in found:
        for group in objects(groups):
            for rule in objects(group.get("rules")):
                kind = "alert" if "alert" in rule else "record"
                into.setdefault(f"{kind}:{rule.get(kind)}", []).append(rule)
