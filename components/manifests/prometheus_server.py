"""Prometheus' pod, which keeps its data on a volume, the rules it evaluates, and what it may do."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from settings.monitoring import Prometheus
from settings.types import duration_seconds, memory_bytes

from . import common
from .common import Manifest, Text
from .prometheus import PORT, RULES_AT, SERVER, labels, selector

CONFIG_FILE = "prometheus.yml"
RULES = "prometheus-rules"
USER = 65534
# An object of Kubernetes holds 1 MiB with all that stands around its data.
MOST_RULES = 900_000

_UNITS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_LONGEST = 36_500 * _UNITS["d"]  # Prometheus counts in 64 bits of nanoseconds: 292 years


def rule_files(rules: Mapping[str, Any]) -> dict[str, str]:
    """Name of a file -> its text, JSON, of at most `MOST_RULES` bytes, together all of
    `{"groups": […]}`. No group is divided; empty without groups.

    Raises ValueError if one group is too large for a file.
    """
    files: list[list[str]] = []
    for group in rules.get("groups", []):
        text = json.dumps(group, separators=(",", ":"))
        if len(text) + 20 > MOST_RULES:
            raise ValueError(
                f"rules: group {group['name']} has {len(text)} bytes, and a file holds {MOST_RULES}"
            )
        if not files or sum(len(each) + 1 for each in files[-1]) + len(text) + 20 > MOST_RULES:
            files.append([])
        files[-1].append(text)
    return {
        f"rules-{number}.yml": f'{{"groups":[{",".join(groups)}]}}'
        for number, groups in enumerate(files)
    }


def retention(duration: str) -> str:
    """A time of the configuration, such as 1.5h, as Prometheus takes it: a whole number of the
    largest unit that fits, from a millisecond to a hundred years.
    """
    millis = min(max(math.ceil(duration_seconds(duration) * 1000 - 1e-6), 1), _LONGEST)
    return next(f"{millis // size}{unit}" for unit, size in _UNITS.items() if millis % size == 0)


def deployment(
    image: Text,
    config: Text,
    config_map: Text,
    claim: Text,
    settings: Prometheus,
    rules: Sequence[Text] = (),
) -> Manifest:
    """The spec of the Deployment. The data may fill four fifths of the volume.

    config: the digest of the configuration and the rules; another one makes another pod, which
    reads them. rules: the names of the ConfigMaps with the rule files.
    """
    megabytes = memory_bytes(settings.size) * 4 // 5 // 2**20
    pod = common.pod(
        SERVER,
        automountServiceAccountToken=True,  # it asks the API server for pods, and nodes know it
        securityContext=common.pod_security(USER),
        terminationGracePeriodSeconds=60,
        containers=[
            common.container(
                SERVER,
                image,
                [
                    "/bin/prometheus",
                    f"--config.file=/etc/prometheus/{CONFIG_FILE}",
                    f"--web.listen-address=0.0.0.0:{PORT}",
                    "--storage.tsdb.path=/data",
                    f"--storage.tsdb.retention.size={megabytes}MB",
                    f"--storage.tsdb.retention.time={retention(settings.retention)}",
                ],
                workingDir="/data",
                ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
                resources={
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"cpu": "1", "memory": "512Mi"},
                },
                startupProbe=common.http_probe(
                    "/-/ready", "http", period=2, timeout=5, failures=60
                ),
                livenessProbe=common.http_probe(
                    "/-/healthy", "http", period=15, timeout=10, failures=4
                ),
                readinessProbe=common.http_probe(
                    "/-/ready", "http", period=5, timeout=5, failures=3
                ),
                volumeMounts=[
                    common.mount("config", "/etc/prometheus", read_only=True),
                    *([common.mount("rules", RULES_AT, read_only=True)] if rules else []),
                    common.mount("data", "/data"),
                ],
            )
        ],
        volumes=[
            {"name": "config", "configMap": {"name": config_map}},
            *([_projected("rules", rules)] if rules else []),
            common.claim_volume("data", claim),
        ],
    )
    return common.single_replica(
        selector(),
        {
            "metadata": {
                "labels": labels(),
                "annotations": {"slipway.dev/config-sha256": config},
            },
            "spec": pod,
        },
    )


def digest(config: str, rules: Mapping[str, str]) -> str:
    """SHA-256 of the configuration and the rule files, for `deployment`."""
    return hashlib.sha256(json.dumps([config, rules], sort_keys=True).encode()).hexdigest()


def pod_reader_rules() -> list[Manifest]:
    """The rules of the Role that lets it find pods, and nothing else."""
    return [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]


def node_reader_rules() -> list[Manifest]:
    """The rules of the ClusterRole that lets it find nodes and read their metrics: nodes are in no
    namespace, so no Role can.
    """
    return [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]},
        {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
    ]


def _projected(name: str, config_maps: Sequence[Text]) -> Manifest:
    sources = [{"configMap": {"name": each}} for each in config_maps]
    return {"name": name, "projected": {"sources": sources}}
