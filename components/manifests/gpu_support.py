"""The manifests of what runs on every node with GPUs: NVIDIA's device plugin, by which pods can ask
for GPUs, and the DCGM exporter, which says in metrics what the GPUs do.

https://github.com/NVIDIA/k8s-device-plugin (v0.19: its configuration file is `version: v1`)
https://github.com/NVIDIA/dcgm-exporter
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from settings.gpu import RESOURCE, Sharing

from . import common, placement
from .common import Manifest, Text

NAMESPACE = "gpu"
PLUGIN = "nvidia-device-plugin"
EXPORTER = "dcgm-exporter"
EXPORTER_PORT = 9400
PLUGIN_FILE = "config.json"
PARTS_FILE = "parts.json"
COUNTERS_FILE = "counters.csv"

# What the boards show: https://github.com/NVIDIA/dcgm-exporter, etc/default-counters.csv
COUNTERS = {
    "DCGM_FI_DEV_GPU_UTIL": "GPU utilization (in %).",
    "DCGM_FI_DEV_FB_USED": "Framebuffer memory used (in MiB).",
    "DCGM_FI_DEV_FB_FREE": "Framebuffer memory free (in MiB).",
    "DCGM_FI_DEV_GPU_TEMP": "GPU temperature (in C).",
    "DCGM_FI_DEV_POWER_USAGE": "Power draw (in W).",
    "DCGM_FI_DEV_XID_ERRORS": "Value of the last XID error encountered.",
}

_SOCKETS = "/var/lib/kubelet/device-plugins"
_PLUGIN_CONFIG_AT = "/etc/nvidia-device-plugin"
_COUNTERS_AT = "/etc/slipway"
_CUT = "slipway"
_EXPORTER_USER = 1000  # of its image


def selector(part: str) -> dict[str, str]:
    """The labels that pick the pods of PLUGIN or EXPORTER."""
    return common.selector(part, part)


def labels(part: str) -> dict[str, str]:
    """The labels of its objects."""
    return common.labels(part, part, NAMESPACE)


def plugin_config(sharing: Sharing | None) -> str:
    """The device plugin's configuration file, as JSON, which is YAML too.

    MIG parts count as nvidia.com/gpu (strategy `single`). A pod that asks for more than one time
    slice is refused: it would get no more of the GPU.
    """
    mig = "single" if sharing and sharing.mig else "none"
    # Where no GPU is found it waits, and is seen to, instead of failing time after time.
    whole: Manifest = {"version": "v1", "flags": {"migStrategy": mig, "failOnInitError": False}}
    if sharing and sharing.time_slices:
        slices = {"name": RESOURCE, "replicas": sharing.time_slices}
        whole["sharing"] = {
            "timeSlicing": {
                "renameByDefault": False,
                "failRequestsGreaterThanOne": True,
                "resources": [slices],
            }
        }
    return json.dumps(whole, indent=2)


def parts_config(profile: str, count: int) -> str:
    """The file by which NVIDIA's mig-parted cuts every GPU into so many parts of this profile, as
    JSON, which is YAML too. https://github.com/NVIDIA/mig-parted
    """
    cut = {"devices": "all", "mig-enabled": True, "mig-devices": {profile: count}}
    return json.dumps({"version": "v1", "mig-configs": {_CUT: [cut]}}, indent=2)


def counters() -> str:
    """The exporter's list of fields: name, kind, help."""
    return "".join(f"{name}, gauge, {told}\n" for name, told in COUNTERS.items())


def plugin(
    image: Text,
    files: Mapping[str, str],
    config_map: Text,
    pool: placement.GpuPool,
    sharing: Sharing | None,
    cutter: Text | None = None,
) -> Manifest:
    """The spec of the device plugin's DaemonSet. Other `files`, which `config_map` holds, make new
    pods. cutter: the image of mig-parted, which cuts the node's GPUs before the plugin offers
    them, and offers none if it cannot; None where they are cut already, or not at all.

    It is root, for the kubelet's directory of sockets is root's, and with MIG it may see and make
    the parts of every GPU, which takes SYS_ADMIN. It talks to the kubelet's socket and to nobody
    else.
    """
    security: Manifest = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": False,
        "runAsUser": 0,
        "capabilities": {"drop": ["ALL"]},
    }
    mig: dict[str, str] = {}
    if sharing and sharing.mig:
        security["capabilities"]["add"] = ["SYS_ADMIN"]
        mig = {"NVIDIA_MIG_MONITOR_DEVICES": "all"}
    gpus = {"NVIDIA_VISIBLE_DEVICES": "all", "NVIDIA_DRIVER_CAPABILITIES": "compute,utility"}
    config = common.mount("config", _PLUGIN_CONFIG_AT, read_only=True)
    container = common.container(
        PLUGIN,
        image,
        ["nvidia-device-plugin", f"--config-file={_PLUGIN_CONFIG_AT}/{PLUGIN_FILE}"],
        env=common.env(gpus | mig),
        resources=_resources("64Mi"),
        volumeMounts=[config, common.mount("sockets", _SOCKETS)],
    )
    before = []
    if cutter is not None:
        command = ["nvidia-mig-parted", "apply", "--selected-config", _CUT]
        cut = common.container(
            "mig",
            cutter,
            [*command, "--config-file", f"{_PLUGIN_CONFIG_AT}/{PARTS_FILE}"],
            env=common.env(gpus | {"NVIDIA_MIG_CONFIG_DEVICES": "all"}),
            resources=_resources("128Mi"),
            volumeMounts=[config],
        )
        before = [cut | {"securityContext": security}]
    pod_security = {"runAsUser": 0, "runAsGroup": 0, "seccompProfile": {"type": "RuntimeDefault"}}
    return _daemon_set(
        PLUGIN,
        {"slipway.dev/config-sha256": _digest(json.dumps(files, sort_keys=True))},
        common.pod(
            PLUGIN,
            priorityClassName="system-node-critical",
            securityContext=pod_security,
            **({"initContainers": before} if before else {}),
            containers=[container | {"securityContext": security}],
            volumes=[
                {"name": "config", "configMap": {"name": config_map}},
                {"name": "sockets", "hostPath": {"path": _SOCKETS, "type": "Directory"}},
            ],
            **placement.scheduling(pool),
        ),
    )


def exporter(image: Text, config_map: Text, pool: placement.GpuPool) -> Manifest:
    """The spec of the exporter's DaemonSet, at the restricted level: the fields it reads need no
    right but to see the GPUs. `config_map` holds `counters`.
    """
    container = common.container(
        EXPORTER,
        image,
        ["/usr/bin/dcgm-exporter", "--collectors", f"{_COUNTERS_AT}/{COUNTERS_FILE}"],
        env=common.env(
            {
                "DCGM_EXPORTER_LISTEN": f":{EXPORTER_PORT}",
                "DCGM_EXPORTER_INTERVAL": "10000",
                "NVIDIA_VISIBLE_DEVICES": "all",
                "NVIDIA_DRIVER_CAPABILITIES": "compute,utility",
                "HOME": common.TMP,
            }
        )
        + [{"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
        ports=[{"name": "metrics", "containerPort": EXPORTER_PORT, "protocol": "TCP"}],
        resources=_resources("512Mi"),
        startupProbe=common.http_probe("/health", "metrics", period=5, timeout=5, failures=36),
        livenessProbe=common.http_probe("/health", "metrics", period=15, timeout=10, failures=4),
        readinessProbe=common.http_probe("/health", "metrics", period=10, timeout=5, failures=3),
        volumeMounts=[
            common.mount("config", _COUNTERS_AT, read_only=True),
            common.mount("tmp", common.TMP),
        ],
    )
    annotations = {
        "slipway.dev/config-sha256": _digest(counters()),
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(EXPORTER_PORT),
        "prometheus.io/path": "/metrics",
    }
    return _daemon_set(
        EXPORTER,
        annotations,
        common.pod(
            EXPORTER,
            securityContext=common.pod_security(_EXPORTER_USER),
            containers=[container],
            volumes=[
                {"name": "config", "configMap": {"name": config_map}},
                common.scratch("tmp", "64Mi"),
            ],
            **placement.scheduling(pool),
        ),
    )


def _daemon_set(part: str, annotations: dict[str, str], pod: Manifest) -> Manifest:
    return {
        "revisionHistoryLimit": 3,
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
        "selector": {"matchLabels": selector(part)},
        "template": {"metadata": {"labels": labels(part), "annotations": annotations}, "spec": pod},
    }


def _resources(memory: str) -> Manifest:
    return {
        "requests": {"cpu": "10m", "memory": memory},
        "limits": {"cpu": "250m", "memory": memory},
    }


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
