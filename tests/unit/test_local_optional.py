"""The one-machine cluster's images, and what is made only where a stack asks for it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
import yaml

import settings_scaling
from local import catalogue, images, instance, node_files, optional, pki, venv
from settings_platform import Images


@pytest.fixture
def dev(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> instance.Instance:
    monkeypatch.setenv("SLIPWAY_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("SLIPWAY_INSTANCE", raising=False)
    monkeypatch.delenv("SLIPWAY_WITH_KEDA", raising=False)
    made = instance.load("unit")
    (made.state / "registry").mkdir(parents=True)
    return made


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SLIPWAY_WITH_KEDA", raising=False)
    monkeypatch.setattr(optional, "PROJECT", tmp_path)
    return tmp_path


WANTED = "config: {slipway:models: {a: {}, churn: {stable: 1, scaling: {requests_per_second: 5}}}}"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (WANTED, True),
        ("config: {slipway:models: {churn: {scaling: {requests_per_second: null}}}}", False),
        ("config: {slipway:models: {churn: {scaling: {min: 2}}}}", False),
        ("config: {slipway:other: {churn: {scaling: {requests_per_second: 5}}}}", False),
        ("config:\n  # requests_per_second: 5\n  slipway:models: {churn: {stable: 1}}", False),
        ("config: {slipway:models: [requests_per_second]}", False),
        ("config: {slipway:models: {churn: requests_per_second}}", False),
        ("requests_per_second: [", False),
        ("", False),
    ],
)
def test_keda_is_for_models_with_requests_per_second(
    project: Path, text: str, wanted: bool
) -> None:
    file = project / "Pulumi.dev.yaml"
    file.write_text(text)
    assert optional.wants_keda(file) is wanted
    assert optional.keda() is wanted
    assert optional.keda(cluster=False) is wanted


def test_other_stacks_ask_for_the_chart_alone(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "Pulumi.prod.yaml").write_text(WANTED)
    assert not optional.keda()
    assert optional.keda(cluster=False)
    names = {tool.name for tool in catalogue.all_tools(cluster=False, keda=True)}
    assert "keda-chart" in names
    assert "keda" not in names
    (project / "Pulumi.prod.yaml").unlink()
    assert not optional.keda(cluster=False)
    monkeypatch.setenv("SLIPWAY_WITH_KEDA", "1")
    assert optional.keda()


def test_before_the_environment_exists_it_is_made_and_asked(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(sys, "prefix", "/usr")
    monkeypatch.setattr(venv, "ensure_venv", lambda: asked.append("made"))
    monkeypatch.setenv("PYTHONPATH", str(instance.PROJECT))
    file = project / "Pulumi.dev.yaml"
    file.write_text("config: {}")
    assert not optional.keda()
    assert not asked
    file.write_text(WANTED)
    assert optional.keda()
    file.write_text("# requests_per_second")
    assert not optional.keda()
    assert asked == ["made", "made"]


def test_keda_is_built_only_where_it_is_asked_for() -> None:
    without = {tool.name for tool in catalogue.all_tools(cluster=True)}
    assert {tool.name for tool in catalogue.all_tools(cluster=True, keda=True)} - without == {
        "keda",
        "keda-chart",
    }


def test_programs_that_check_rules_and_routes_are_linked() -> None:
    linked = {name for tool in catalogue.all_tools(cluster=True) for name in tool.binaries}
    assert {"promtool", "amtool"} <= linked


def test_images_of_keda_are_missing_once_it_is_asked_for(
    dev: instance.Instance, project: Path
) -> None:
    assert not images.present(dev)
    images._marker(dev, images.BASE).touch()
    assert images.present(dev)
    (project / "Pulumi.dev.yaml").write_text(WANTED)
    assert not images.present(dev)
    images._marker(dev, images.KEDA).touch()
    assert images.present(dev)


def test_the_default_images_are_those_of_the_registry_that_stands_in() -> None:
    keda = settings_scaling.Keda()
    ours = [getattr(Images(), name) for name in Images.model_fields if name != "grafana"]
    made = {*images.BASE.images.values(), *images.KEDA.images.values()}
    for name in (*ours, keda.operator, keda.adapter):
        host, _, rest = name.partition("/")
        assert host in node_files.MIRRORED, name
        assert rest in made, name


def test_every_stage_and_every_file_of_the_dockerfile_is_in_one_group() -> None:
    text = images.DOCKERFILE.read_text()
    stages = re.split(r"^FROM \S+ AS (\S+)$", text, flags=re.M)[1:]
    found = dict(zip(stages[::2], stages[1::2], strict=True))
    groups = [images.BASE, images.KEDA]
    assert sorted(found) == sorted(stage for group in groups for stage in group.images)
    for group in groups:
        for stage in group.images:
            files = set(re.findall(r"^(?:COPY|ADD) (\S+) ", found[stage], flags=re.M))
            assert files <= set(group.files), stage


def test_every_mirrored_registry_leads_to_the_nodes_own(dev: instance.Instance) -> None:
    pki.write_all(dev)
    node_files.write(dev)
    for name in ("docker.io", "ghcr.io", "registry.k8s.io"):
        text = (dev.state / f"certs.d/{name}/hosts.toml").read_text()
        assert f'[host."http://{dev.registry}"]' in text
    documents = yaml.safe_load_all((dev.state / "manifests.yaml").read_text())
    [storage] = [entry for entry in documents if entry["kind"] == "StorageClass"]
    assert storage["metadata"]["annotations"]["defaultVolumeType"] == "local"
