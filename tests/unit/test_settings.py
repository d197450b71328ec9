"""Settings: what is taken, and what each fault says, to the letter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import config

import settings
from settings import Settings, SettingsError, of_stack, parse
from settings.rollout import Rollout
from settings.scaling import Scaling
from settings.types import MAX_MODEL_NAME, cpu_millis, memory_bytes

BASE = {"context": "test", "registry": "registry.test:5000"}
ROOT = Path(__file__).resolve().parents[2]


def faults(**keys: Any) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse({**BASE, **keys})
    return caught.value.faults


def churn(**keys: Any) -> dict[str, Any]:
    return {"models": {"churn": {"stable": 1, **keys}}}


def test_two_keys_are_enough() -> None:
    assert parse(BASE) == Settings(context="test", registry="registry.test:5000")


def test_defaults_of_a_model() -> None:
    model = parse({**BASE, **churn()}).models["churn"]
    assert model.versions == (1,)
    assert (model.canary, model.previous, model.shadow, model.sticky) == (None, None, None, None)
    assert model.rollout == Rollout()
    assert model.allow_pickle is False
    assert model.resources.model_dump() == {
        "cpu": "250m",
        "memory": "512Mi",
        "gpu": 0,
        "disk": "4Gi",
    }
    assert model.scaling == Scaling()


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse(BASE).demo = True  # type: ignore[misc]


def test_the_stack_file_of_dev_is_good() -> None:
    stack = yaml.safe_load((ROOT / "Pulumi.dev.yaml").read_text())["config"]
    assert stack["pulumi:disable-default-providers"] == ["*"]
    mine = {key.removeprefix("slipway:"): it for key, it in stack.items() if "slipway:" in key}
    shown = {key: it for key, it in mine.items() if key not in settings.SECRET_KEYS}
    stored(**{key: it if isinstance(it, str) else json.dumps(it) for key, it in shown.items()})
    assert settings.load().models["churn"].canary is not None
    assert all("secure" in mine[key] for key in settings.SECRET_KEYS if key in mine)


def test_every_key_is_declared() -> None:
    declared = yaml.safe_load((ROOT / "Pulumi.yaml").read_text())["config"]
    assert set(declared) == set(Settings.model_fields) | set(settings.SECRET_KEYS)
    assert all(key["type"] and key["description"] for key in declared.values())
    required = {name for name, field in Settings.model_fields.items() if field.is_required()}
    assert {name for name in declared if "default" not in declared[name]} == required
    assert not any(key.get("default") for key in declared.values()), "settings alone holds them"


@pytest.mark.parametrize(
    "weight, shown", [(110, "110"), (-1, "-1"), (12.5, "12.5"), (True, "true"), ("12.5", '"12.5"')]
)
def test_a_bad_weight(weight: object, shown: str) -> None:
    assert faults(**churn(canary={"version": 2, "weight": weight})) == [
        f"slipway:models.churn.canary.weight: {shown} is not a whole percentage from 0 to 100"
    ]


def test_a_weight_that_is_text_has_a_way_out() -> None:
    # `pulumi config set --path` keeps text as text: after 12.5, which is text to it, so is 25.
    key = "slipway:models.churn.canary.weight"
    assert faults(**churn(canary={"version": 2, "weight": "10"})) == [
        f'{key}: "10" is not a whole percentage from 0 to 100; '
        f"it is text: pulumi config rm --path '{key}', then set it again"
    ]


@given(st.integers(0, 100))
def test_every_whole_percentage_is_a_weight(weight: int) -> None:
    canary = (
        parse({**BASE, **churn(canary={"version": 2, "weight": weight})}).models["churn"].canary
    )
    assert canary is not None and canary.weight == weight


@given(
    st.one_of(
        st.integers().filter(lambda n: not 0 <= n <= 100),
        st.floats(),
        st.booleans(),
        st.text(),
        st.none(),
    )
)
def test_nothing_else_is_a_weight(weight: object) -> None:
    (fault,) = faults(**churn(canary={"version": 2, "weight": weight}))
    assert fault.startswith("slipway:models.churn.canary.weight: ")
    assert " is not a whole percentage from 0 to 100" in fault


def test_a_canary_that_is_stable() -> None:
    line = (
        "slipway:models.churn.canary.version: 1 is the stable version too; a canary is another one"
    )
    assert faults(**churn(canary={"version": 1})) == [line]
    weight = "slipway:models.churn.canary.weight: 110 is not a whole percentage from 0 to 100"
    assert faults(**churn(canary={"version": 1, "weight": 110})) == [weight, line]


VERSION = "is not a version: a whole number from 1 to 2147483647"
ALIAS = "; resolve an alias to its version first (MLflow's get_model_version_by_alias)"
STABLE_TEXT = (
    "; it is text: pulumi config rm --path 'slipway:models.churn.stable', then set it again"
)
NAME = "is not a model's name here: a DNS label of a-z, 0-9 and '-' that starts with a letter"
MODEL_KEYS = (
    "allow_pickle, canary, experiments, floors, objectives, previous, resources, rollout, scaling, "
    "shadow, stable, sticky"
)
CPU = "is not a quantity of CPU such as 250m or 2"
MEMORY = "is not a quantity of bytes such as 512Mi or 2Gi, of 16Mi at least"


@pytest.mark.parametrize(
    "keys, line",
    [
        (churn(stable=0), f"models.churn.stable: 0 {VERSION}"),
        (churn(stable=-3), f"models.churn.stable: -3 {VERSION}"),
        (churn(stable="1"), f'models.churn.stable: "1" {VERSION}{STABLE_TEXT}'),
        (churn(stable=True), f"models.churn.stable: true {VERSION}"),
        (churn(stable=1.0), f"models.churn.stable: 1.0 {VERSION}"),
        (churn(stable="@champion"), f'models.churn.stable: "@champion" {VERSION}{ALIAS}'),
        (
            churn(canary={"version": "champion"}),
            f'models.churn.canary.version: "champion" {VERSION}{ALIAS}',
        ),
        (
            churn(canary={}),
            "models.churn.canary.version: is not set; "
            "it takes a version of the model in the registry",
        ),
        (churn(canary=2), "models.churn.canary: 2 is not an object of version, weight"),
        (
            churn(canry={}),
            f"models.churn.canry: is not a known key; did you mean canary? (known: {MODEL_KEYS})",
        ),
        (
            {"models": {"churn": {}}},
            "models.churn.stable: is not set; it takes the version that takes what the canary "
            "does not",
        ),
        ({"models": {"Churn": {"stable": 1}}}, f'models.Churn: "Churn" {NAME}'),
        ({"models": {"1st": {"stable": 1}}}, f'models.1st: "1st" {NAME}'),
        ({"models": {"a.b": {"stable": 1}}}, f'models.a.b: "a.b" {NAME}'),
        ({"models": {"a-": {"stable": 1}}}, f'models.a-: "a-" {NAME}'),
        (
            {"models": {"m" * 52: {"stable": 1}}},
            f'models.{"m" * 52}: "{"m" * 52}" has 52 characters, and a model\'s name at most 51',
        ),
        (
            {"models": {"churn": 1}},
            f"models.churn: 1 is not an object of {MODEL_KEYS}",
        ),
        ({"models": [1]}, "models: [1] is not an object"),
        (
            churn(scaling={"min": 5, "max": 3}),
            "models.churn.scaling.max: 3 is less than the min of 5",
        ),
        (churn(scaling={"min": 20}), "models.churn.scaling.max: 10 is less than the min of 20"),
        (
            churn(scaling={"min": 1}),
            "models.churn.scaling.min: 1 is not a whole number of replicas from 2 to 500, or 0",
        ),
        (
            churn(scaling={"cpu": 0}),
            "models.churn.scaling.cpu: 0 is not a whole percentage from 1 to 100",
        ),
        (churn(resources={"cpu": "lots"}), f'models.churn.resources.cpu: "lots" {CPU}'),
        (churn(resources={"cpu": "0"}), f'models.churn.resources.cpu: "0" {CPU}'),
        (churn(resources={"cpu": True}), f"models.churn.resources.cpu: true {CPU}"),
        (churn(resources={"memory": "512m"}), f'models.churn.resources.memory: "512m" {MEMORY}'),
        (churn(resources={"memory": 512}), f"models.churn.resources.memory: 512 {MEMORY}"),
        (
            churn(resources={"gpu": -1}),
            "models.churn.resources.gpu: -1 is not a whole number of GPUs from 0 to 64",
        ),
        (
            churn(allow_pickle="yes"),
            'models.churn.allow_pickle: "yes" is not true or false',
        ),
        (churn(allow_pickle=1), "models.churn.allow_pickle: 1 is not true or false"),
        ({"demo": "yes"}, 'demo: "yes" is not true or false'),
        (
            {"context": ""},
            "context: is not set; it takes the kubeconfig context of the cluster to deploy to",
        ),
        (
            {"registry": "http://r"},
            'registry: "http://r" is not a registry such as 127.0.0.1:5000 or ghcr.io/someone',
        ),
        (
            {"gateway": {"service_type": "Ingress"}},
            'gateway.service_type: "Ingress" is not one of ClusterIP, NodePort or LoadBalancer',
        ),
        (
            {"gateway": {"node_port": 30080}},
            "gateway.node_port: 30080 needs service_type NodePort or LoadBalancer beside it",
        ),
        (
            {"gateway": {"service_type": "NodePort", "node_port": 80}},
            "gateway.node_port: 80 is not a port from 30000 to 32767",
        ),
        (
            {"mlflow": {"url": "127.0.0.1:5001"}},
            'mlflow.url: "127.0.0.1:5001" is not a URL such as http://127.0.0.1:8080, '
            "without a path",
        ),
        (
            {"mlflow": {"allow_from": ["10.0.0.0/33"]}},
            'mlflow.allow_from[0]: "10.0.0.0/33" is not a network such as 10.0.0.0/8',
        ),
        ({"mlflow": {"allow_from": "10.0.0.0/8"}}, 'mlflow.allow_from: "10.0.0.0/8" is not a list'),
        (
            {"artifact_bucket": {"name": "No"}},
            "artifact_bucket.name: \"No\" is not a bucket's name: 3 to 63 of a-z, 0-9 and '-'",
        ),
        (
            {"istio": {"charts": "https://x"}},
            'istio.charts: "https://x" is not the path of a directory',
        ),
    ],
)
def test_one_fault_is_one_line(keys: dict[str, Any], line: str) -> None:
    assert faults(**keys) == [f"slipway:{line}"]


def test_all_faults_are_told_at_once() -> None:
    found = faults(
        context=None,
        demo=1,
        models={"churn": {"stable": 0}, "fraud": {"stable": 1, "x": 1}},
        registri="r",
    )
    assert [line.split(": ")[0].removeprefix("slipway:") for line in found] == [
        "context", "demo", "models.churn.stable", "models.fraud.x", "registri",
    ]  # fmt: skip


def test_an_unknown_key_does_not_show_its_value() -> None:
    assert "hunter2" not in faults(bucketSecretKye="hunter2")[0]


@given(st.from_regex(r"[a-z]([-a-z0-9]{0,49}[a-z0-9])?", fullmatch=True), st.integers(1, 2**31 - 1))
def test_a_good_name_fits_in_every_name_made_of_it(name: str, version: int) -> None:
    assert len(name) <= MAX_MODEL_NAME
    assert parse({**BASE, "models": {name: {"stable": version}}}).models[name].stable == version
    assert len(f"{name}-v{version}") <= 63


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_whatever_stands_there_is_taken_or_told(value: Any) -> None:
    for key in ("models", "gateway", "demo", "istio", "storage_class"):
        try:
            parse({**BASE, key: value})
        except SettingsError as error:
            assert error.faults and all(line.startswith(f"slipway:{key}") for line in error.faults)


def test_quantities() -> None:
    assert [cpu_millis(q) for q in ("250m", "2", "1.5")] == [250, 2000, 1500]
    assert [memory_bytes(q) for q in ("512Mi", "2G", "1024")] == [2**29, 2 * 10**9, 1024]


def stored(**keys: str) -> None:
    config.set_all_config(
        {f"slipway:{key}": value for key, value in keys.items()}, ["slipway:bucketSecretKey"]
    )


def test_load_reads_what_pulumi_stores() -> None:
    stored(
        context="123",
        registry="r",
        demo="true",
        builder="",
        models='{"churn": {"stable": 3}}',
        bucketSecretKey="s",
    )
    assert settings.load() == parse(
        {"context": "123", "registry": "r", "demo": True, "models": {"churn": {"stable": 3}}}
    )


def test_load_tells_a_user_without_a_traceback() -> None:
    stored(context="x", registry="r", modles="{}", demo="maybe")
    with pytest.raises(pulumi.RunError) as caught:
        settings.load()
    first, second = str(caught.value).splitlines()
    assert first == 'slipway:demo: "maybe" is not true or false'
    assert second.startswith("slipway:modles: is not a known key; did you mean models?")


def test_secrets_are_set_and_encrypted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulumi.Config, "require_secret", lambda _, key: f"secret {key}")
    stored(bucketAccessKey="plain", bucketSecretKey="hidden")
    assert settings.secret("bucketSecretKey") == "secret bucketSecretKey"
    with pytest.raises(pulumi.RunError) as caught:
        settings.secret("bucketAccessKey")
    remedy = "pulumi config set --secret slipway:bucketAccessKey <value>"
    assert (
        str(caught.value)
        == f"slipway:bucketAccessKey: stands in the clear in the stack file; encrypt it: {remedy}"
    )
    stored(bucketAccessKey="")
    with pytest.raises(pulumi.RunError) as caught:
        settings.secret("bucketAccessKey")
    assert str(caught.value) == f"slipway:bucketAccessKey: is not set; set it: {remedy}"


def test_a_copied_configuration_names_its_own_stack() -> None:
    """`{stack}` is the stack's name where a stack is named to the outside, and nowhere else."""
    raw = {
        "slipway:context": "c",
        "slipway:registry": "r",
        "slipway:gateway": {"url": "https://{stack}.example.com", "allow_from": ["10.0.0.0/8"]},
        "slipway:labels": {"slipway.dev/owner": "{stack}"},
        "slipway:alerts": {"runbooks": "https://example.com/{stack}"},
    }
    staging = of_stack(raw | {"slipway:alerts": {}}, "staging")
    assert staging.gateway.url == "https://staging.example.com"
    assert staging.labels == {"slipway.dev/owner": "staging"}
    assert staging.gateway.allow_from == ["10.0.0.0/8"]
    caches = {
        "slipway:images": {"grafana": "ecr.test/slipway-{stack}/hub/grafana/grafana:1"},
        "slipway:istio": {"hub": "ecr.test/slipway-{stack}/hub/istio"},
        "slipway:keda": {"operator": "ecr.test/slipway-{stack}/github/kedacore/keda:1"},
    }
    copied = of_stack(raw | {"slipway:alerts": {}} | caches, "staging")
    assert copied.images.grafana == "ecr.test/slipway-staging/hub/grafana/grafana:1"
    assert copied.istio.hub == "ecr.test/slipway-staging/hub/istio"
    assert copied.keda.operator == "ecr.test/slipway-staging/github/kedacore/keda:1"
    with pytest.raises(SettingsError, match="{stack}"):
        of_stack(raw, "staging")
