"""Model servers are probed at the start, for life and for readiness."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import ACTIVATOR, COMPARER, MODEL_SERVER_KNOB, Container, beside, of_containers
from engine.rule import Given, Rule
from engine.values import mapping

_HOW = ("httpGet", "grpc", "tcpSocket", "exec")


def _messages(container: Container, given: Given) -> Iterator[str]:
    if container.kind != "containers" or not container.pod.serves(given):
        return
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        if not any(mapping(container.spec, probe).get(how) is not None for how in _HOW):
            yield f"{container.called}: {probe} is not set"


RULE = Rule(
    name="model-server-probes",
    title="All three probes on model servers",
    description="Model servers, and what holds or copies their requests, have a startup, a "
    "liveness and a readiness probe.",
    severity="high",
    remediation="Set the probe. A model that loads for long needs the startup probe, or the "
    "liveness probe kills it before it is there.",
    references=(
        "https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/",
    ),
    check=of_containers(_messages),
    knobs={"model_server": MODEL_SERVER_KNOB, "beside": beside(ACTIVATOR, COMPARER)},
)
