"""GPUs: where models with some run, and what runs on the nodes that have them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from components import dashboards
from components.manifests import gpu_support, model_server, placement
from components.manifests.model_server import Server
from settings import SettingsError, parse
from settings.gpu import Gpu, Sharing, Taint
from settings.model import Resources
from settings.scaling import Scaling

BASE = {"context": "test", "registry": "registry.test:5000"}
LABELS = {"gpu": "a10"}


def pod(gpu: int, pool: placement.GpuPool | None) -> dict[str, Any]:
    server = Server("churn", 2, Resources(gpu=gpu), Scaling(), gpu=pool)
    return model_server.pod(server, "image", "http://mlflow")


def faults(**keys: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse({**BASE, **keys})
    return caught.value.faults


def asking(gpu: int) -> dict[str, Any]:
    return {"churn": {"stable": 1, "resources": {"gpu": gpu}}}


def test_a_model_with_gpus_goes_to_its_pool() -> None:
    found = pod(1, placement.own())
    taint = {"key": "nvidia.com/gpu", "operator": "Equal", "value": "present"}
    assert found["tolerations"] == [taint | {"effect": "NoSchedule"}]
    assert found["nodeSelector"] == {"slipway.dev/node-pool": "gpu"}
    added = {"tolerations", "nodeSelector"}
    assert {key: value for key, value in found.items() if key not in added} == pod(1, None)


def test_a_model_without_gpus_never_changes() -> None:
    assert json.dumps(pod(0, placement.own())) == json.dumps(pod(0, None))


def test_a_pool_is_told_by_its_cluster() -> None:
    gpu = Gpu(taint=Taint(key="dedicated", value=""), labels=LABELS)
    found = pod(1, placement.existing(gpu))
    assert found["tolerations"] == [{"key": "dedicated", "operator": "Exists"}]
    assert found["nodeSelector"] == LABELS
    assert "nodeSelector" not in pod(1, placement.existing(Gpu()))


@pytest.mark.parametrize(
    ("gpu", "line"),
    [
        (
            {"plugin": True},
            "gpu.labels: is not set; with plugin: true it takes labels that the nodes with GPUs "
            "have, and no others",
        ),
        (
            {"sharing": {"time_slices": 4}},
            'gpu.sharing: {"time_slices": 4} is of the stack\'s own device plugin; set plugin: '
            "true, or configure the cluster's",
        ),
        (
            {"labels": LABELS, "plugin": True, "sharing": {"time_slices": 4, "mig": "1g.5gb"}},
            'gpu.sharing: {"time_slices": 4, "mig": "1g.5gb"} is not one of time_slices and mig',
        ),
        (
            {"labels": LABELS, "plugin": True, "sharing": {"time_slices": 1}},
            "gpu.sharing.time_slices: 1 is not a whole number of slices from 2 to 48",
        ),
        (
            {"labels": LABELS, "plugin": True, "sharing": {"mig": "all-1g.5gb"}},
            'gpu.sharing.mig: "all-1g.5gb" is not a MIG profile\'s name, as in 1g.10gb',
        ),
        (
            {"taints": {}},
            "gpu.taints: is not a known key; did you mean taint? (known: exporter, labels, plugin, "
            "sharing, taint)",
        ),
    ],
)
def test_faults_of_a_cluster_that_exists(gpu: dict[str, Any], line: str) -> None:
    assert faults(gpu=gpu) == [f"slipway:{line}"]


def test_a_share_is_one() -> None:
    gpu = {"labels": LABELS, "plugin": True, "sharing": {"time_slices": 4}}
    assert faults(gpu=gpu, models=asking(2)) == [
        "slipway:models.churn.resources.gpu: 2 is more than 1, and with gpu.sharing a pod gets one "
        "share"
    ]


def test_without_a_section_all_is_as_it_was() -> None:
    assert parse(BASE | {"gpu": {}}).gpu is None
    assert parse(BASE | {"models": asking(4)}).gpu is None


def test_the_plugin_is_told_how_gpus_are_shared() -> None:
    assert json.loads(gpu_support.plugin_config(None)) == {
        "version": "v1",
        "flags": {"migStrategy": "none", "failOnInitError": False},
    }
    slices = json.loads(gpu_support.plugin_config(Sharing(time_slices=4)))["sharing"]
    assert slices["timeSlicing"]["resources"] == [{"name": "nvidia.com/gpu", "replicas": 4}]
    assert slices["timeSlicing"]["failRequestsGreaterThanOne"] is True
    mig = json.loads(gpu_support.plugin_config(Sharing(mig="1g.10gb")))
    assert mig["flags"]["migStrategy"] == "single" and "sharing" not in mig


def daemons() -> Iterator[tuple[str, dict[str, Any]]]:
    pool = placement.own()
    files = {gpu_support.PLUGIN_FILE: gpu_support.plugin_config(None)}
    yield "plugin", gpu_support.plugin("image", files, "map", pool, None)
    mig = Sharing(mig="1g.10gb")
    cut = files | {gpu_support.PARTS_FILE: gpu_support.parts_config("1g.10gb", 7)}
    yield "mig", gpu_support.plugin("image", cut, "map", pool, mig, "cutter")
    yield "exporter", gpu_support.exporter("image", "map", pool)


def test_daemons_run_on_nodes_with_gpus_alone() -> None:
    for name, spec in daemons():
        found = spec["template"]["spec"]
        assert {key: found[key] for key in ("tolerations", "nodeSelector")} == placement.scheduling(
            placement.own()
        ), name
        assert found["automountServiceAccountToken"] is False


def test_only_the_plugin_has_more_than_the_restricted_level_gives() -> None:
    found = {name: spec["template"]["spec"] for name, spec in daemons()}
    exporter = found["exporter"]
    assert exporter["securityContext"]["runAsUser"] == 1000
    assert exporter["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert not any("hostPath" in volume for volume in exporter["volumes"])
    paths = [volume["hostPath"]["path"] for volume in found["plugin"]["volumes"][1:]]
    assert paths == ["/var/lib/kubelet/device-plugins"]
    security = found["plugin"]["containers"][0]["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"]} and "initContainers" not in found["plugin"]
    for container in found["mig"]["containers"] + found["mig"]["initContainers"]:
        capabilities = container["securityContext"]["capabilities"]
        assert capabilities == {"drop": ["ALL"], "add": ["SYS_ADMIN"]}


def test_gpus_are_cut_before_they_are_offered() -> None:
    (mig,) = (spec for name, spec in daemons() if name == "mig")
    (cut,) = mig["template"]["spec"]["initContainers"]
    assert cut["image"] == "cutter"
    assert cut["command"][:4] == ["nvidia-mig-parted", "apply", "--selected-config", "slipway"]
    assert json.loads(gpu_support.parts_config("1g.10gb", 7))["mig-configs"]["slipway"] == [
        {"devices": "all", "mig-enabled": True, "mig-devices": {"1g.10gb": 7}}
    ]


def test_another_configuration_makes_new_pods() -> None:
    def annotations(sharing: Sharing | None) -> dict[str, str]:
        files = {gpu_support.PLUGIN_FILE: gpu_support.plugin_config(sharing)}
        spec = gpu_support.plugin("image", files, "map", placement.own(), sharing)
        return dict(spec["template"]["metadata"]["annotations"])

    assert annotations(None) == annotations(None) != annotations(Sharing(time_slices=2))


def test_the_exporter_counts_what_the_boards_show() -> None:
    asked = set(re.findall(r"DCGM_\w+", "".join(dashboards.every().values())))
    assert len(asked) == 4 and asked <= set(gpu_support.COUNTERS)
    lines = gpu_support.counters().splitlines()
    assert [line.split(", ", 2)[0] for line in lines] == list(gpu_support.COUNTERS)
