"""Cases of the rules that the project's own resources do not bring."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import journal
from engine.resource import Resource
from engine.rule import Undecided, Violation
from engine.values import Unknown
from rollout import journal as writer
from rollout.adapters.configuration import Roles
from settings.rollout import Rollout
from tests.policy.stacks import RULES

DIGEST = "@sha256:" + "a" * 64


def obj(api: str, kind: str, name: str = "one", namespace: str = "shop", **props: Any) -> Resource:
    type_ = f"kubernetes:{api}:{kind}"
    labels = props.pop("labels", {})
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return Resource(
        f"urn:pulumi:prod::shop::{type_}::{name}", type_, name, {"metadata": metadata} | props
    )


def pod(*containers: dict[str, Any], **spec: Any) -> Resource:
    return obj(
        "core/v1",
        "Pod",
        spec={"containers": [{"name": "main", **each} for each in containers], **spec},
    )


def cron(container: dict[str, Any]) -> Resource:
    template = {"spec": {"containers": [{"name": "main", **container}]}}
    return obj("batch/v1", "CronJob", spec={"jobTemplate": {"spec": {"template": template}}})


def deployment(name: str = "one", replicas: int = 3, **template: Any) -> Resource:
    labels = {"app": name}
    return obj(
        "apps/v1",
        "Deployment",
        name,
        spec={"replicas": replicas, "template": {"metadata": {"labels": labels}, "spec": template}},
    )


def budget(**spec: Any) -> Resource:
    return obj(
        "policy/v1",
        "PodDisruptionBudget",
        spec={"selector": {"matchLabels": {"app": "one"}}} | spec,
    )


def keda(least: int | None, **more: Any) -> Resource:
    spec = {"scaleTargetRef": {"name": "one"}} | more
    spec |= {} if least is None else {"minReplicaCount": least}
    return obj("keda.sh/v1alpha1", "ScaledObject", spec=spec)


def network(*egress: dict[str, Any], ingress: list[dict[str, Any]] | None = None) -> Resource:
    spec: dict[str, Any] = {"podSelector": {}, "policyTypes": ["Egress"], "egress": list(egress)}
    if ingress is not None:
        spec = {"podSelector": {}, "ingress": ingress}
    return obj("networking.k8s.io/v1", "NetworkPolicy", spec=spec)


def server(**container: Any) -> Resource:
    labels = {"app.kubernetes.io/component": "model-server"}
    spec = {"containers": [{"name": "main", **container}]}
    return obj(
        "apps/v1", "Deployment", spec={"template": {"metadata": {"labels": labels}, "spec": spec}}
    )


def env(name: str, value: object) -> dict[str, Any]:
    return {"env": [{"name": name, "value": value}]}


def context(**fields: Any) -> dict[str, Any]:
    return {"securityContext": fields}


def route(*weights: object, host: str = "churn-v{}") -> Resource:
    shares = [
        {"destination": {"host": host.format(at)}} | ({} if weight is None else {"weight": weight})
        for at, weight in enumerate(weights, 1)
    ]
    return obj("networking.istio.io/v1", "VirtualService", spec={"http": [{"route": shares}]})


def release(**values: Any) -> Resource:
    type_ = "kubernetes:helm.sh/v3:Release"
    props = {"namespace": "edge", "name": "gate", "values": values}
    return Resource(f"urn:pulumi:prod::shop::{type_}::gate", type_, "gate", props)


GATES = {"namespaceSelector": {"matchLabels": {"name": "gates"}}}
APART = {
    "podAntiAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": [
            {
                "topologyKey": "kubernetes.io/hostname",
                "labelSelector": {
                    "matchExpressions": [{"key": "app", "operator": "In", "values": ["one"]}]
                },
            }
        ]
    }
}
ROLE = obj(
    "rbac.authorization.k8s.io/v1",
    "Role",
    rules=[{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
)
PAUSE = "registry.k8s.io/pause"
# Rule, what it sees, knobs, and how many violations it finds.
CASES: list[tuple[str, list[Resource], dict[str, Any], int]] = [
    ("image-digest", [pod({"image": PAUSE + DIGEST})], {}, 0),
    ("image-digest", [pod({"image": f"{PAUSE}:3.10{DIGEST}"})], {}, 0),
    ("image-digest", [pod({"image": PAUSE}, {"image": f"{PAUSE}:3.10"})], {}, 2),
    ("image-digest", [pod({"image": "localhost:5000/pause"})], {"by_tag": ["localhost:5000/*"]}, 1),
    (
        "image-digest",
        [pod({"image": "localhost:5000/pause:1"})],
        {"by_tag": ["localhost:5000/*"]},
        0,
    ),
    ("image-digest", [pod({"image": f"{PAUSE}:latest"})], {"by_tag": ["*"]}, 1),
    ("image-digest", [pod({"image": PAUSE + "@sha256:abc"})], {}, 1),
    ("image-digest", [pod({})], {}, 1),
    ("image-digest", [cron({"image": "nginx"})], {}, 1),
    ("image-digest", [pod(initContainers=[{"name": "first", "image": "nginx"}])], {}, 1),
    ("image-digest", [pod(ephemeralContainers=[{"name": "look", "image": "nginx"}])], {}, 1),
    (
        "image-registry",
        [pod({"image": "nginx"}, {"image": "library/nginx"})],
        {"allowed": ["docker.io"]},
        0,
    ),
    ("image-registry", [pod({"image": "ghcr.io/a/b"})], {"allowed": ["docker.io"]}, 1),
    ("image-registry", [pod({"image": "docker.io.evil.example/a"})], {"allowed": ["docker.io"]}, 1),
    ("image-registry", [pod({"image": "1.dkr.ecr.eu-west-1.amazonaws.com/a"})], {}, 0),
    (
        "container-resources",
        [pod({"resources": {"requests": {"cpu": "1", "memory": "1Gi"}}})],
        {},
        2,
    ),
    ("container-resources", [pod({"resources": {}})], {"requests": ["cpu"], "limits": []}, 1),
    ("container-resources", [pod(ephemeralContainers=[{"name": "look"}])], {}, 0),
    ("run-as-non-root", [pod({}, **context(runAsNonRoot=True))], {}, 0),
    ("run-as-non-root", [pod(context(runAsNonRoot=False), **context(runAsNonRoot=True))], {}, 1),
    ("run-as-non-root", [pod(context(runAsUser=0), **context(runAsNonRoot=True))], {}, 1),
    (
        "run-as-non-root",
        [pod(context(runAsUser=5), **context(runAsNonRoot=True, runAsUser=0))],
        {},
        0,
    ),
    ("run-as-non-root", [pod(context(runAsNonRoot="true"))], {}, 1),
    ("read-only-root-filesystem", [pod(context(readOnlyRootFilesystem=True))], {}, 0),
    ("read-only-root-filesystem", [pod({}), cron({})], {}, 2),
    ("privilege-escalation", [pod(context(allowPrivilegeEscalation=False))], {}, 0),
    ("privilege-escalation", [pod({}, context(allowPrivilegeEscalation=True))], {}, 2),
    ("privileged-containers", [pod(context(privileged=False, procMount="Default"))], {}, 0),
    ("privileged-containers", [pod(context(privileged=True))], {}, 1),
    ("privileged-containers", [pod(context(windowsOptions={"hostProcess": True}))], {}, 1),
    ("privileged-containers", [pod({}, **context(windowsOptions={"hostProcess": True}))], {}, 1),
    (
        "capabilities",
        [pod(context(capabilities={"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}))],
        {},
        0,
    ),
    ("capabilities", [pod(context(capabilities={"drop": ["all"]}))], {}, 1),
    ("capabilities", [pod(context(capabilities={"drop": ["ALL"], "add": ["SYS_TIME"]}))], {}, 1),
    ("seccomp-profile", [pod(context(seccompProfile={"type": "Localhost"}))], {}, 0),
    ("seccomp-profile", [pod({}, **context(seccompProfile={"type": "RuntimeDefault"}))], {}, 0),
    ("seccomp-profile", [pod(context(seccompProfile={"type": "Unconfined"}))], {}, 1),
    ("host-namespaces", [pod({"ports": [{"containerPort": 80, "hostPort": 0}]})], {}, 0),
    ("host-namespaces", [pod({}, hostIPC=True, hostPID=True)], {}, 2),
    ("host-namespaces", [pod({"ports": [{"containerPort": 80, "hostPort": 80}]})], {}, 1),
    (
        "volume-types",
        [pod({}, volumes=[{"name": "a", "emptyDir": {}}, {"name": "b", "csi": {}}])],
        {},
        0,
    ),
    (
        "volume-types",
        [pod({}, volumes=[{"name": "a", "hostPath": {}}, {"name": "b", "nfs": {}}])],
        {},
        2,
    ),
    ("kernel-settings", [pod({}, **context(sysctls=[{"name": "net.ipv4.tcp_syncookies"}]))], {}, 0),
    ("kernel-settings", [pod({}, **context(sysctls=[{"name": "kernel.sem"}]))], {}, 1),
    ("kernel-settings", [pod(context(seLinuxOptions={"type": "container_t"}))], {}, 0),
    ("kernel-settings", [pod(context(seLinuxOptions={"type": "spc_t", "role": "x"}))], {}, 2),
    ("kernel-settings", [pod(context(appArmorProfile={"type": "Unconfined"}))], {}, 1),
    ("service-account-token", [pod({}, automountServiceAccountToken=False)], {}, 0),
    ("service-account-token", [pod({}, serviceAccountName="asks")], {"allowed": ["shop/asks"]}, 0),
    ("service-account-token", [pod({}, serviceAccountName="asks")], {"allowed": ["shop/other"]}, 1),
    (
        "service-account-token",
        [
            pod(
                automountServiceAccountToken=False,
                volumes=[
                    {
                        "name": "t",
                        "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]},
                    }
                ],
            )
        ],
        {},
        1,
    ),
    ("rbac-wildcards", [ROLE], {}, 0),
    (
        "rbac-wildcards",
        [
            obj(
                "rbac.authorization.k8s.io/v1",
                "ClusterRole",
                rules=[{"nonResourceURLs": ["/*"], "verbs": ["get"]}],
            )
        ],
        {},
        1,
    ),
    (
        "rbac-wildcards",
        [
            obj(
                "rbac.authorization.k8s.io/v1",
                "ClusterRole",
                rules=[{"verbs": ["*"], "resources": ["*"]}],
            )
        ],
        {},
        2,
    ),
    (
        "rbac-wildcards",
        [
            obj(
                "rbac.authorization.k8s.io/v1",
                "ClusterRoleBinding",
                roleRef={"name": "cluster-admin"},
            )
        ],
        {},
        1,
    ),
    (
        "pod-security-level",
        [obj("core/v1", "Namespace", labels={"pod-security.kubernetes.io/enforce": "restricted"})],
        {},
        0,
    ),
    ("pod-security-level", [obj("core/v1", "Namespace", "kube-system")], {"exempt": ["kube-*"]}, 0),
    ("pod-security-level", [obj("core/v1", "Namespace")], {}, 1),
    (
        "default-deny-network-policy",
        [
            pod({}),
            obj(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                spec={"podSelector": {}, "policyTypes": ["Ingress"]},
            ),
        ],
        {},
        0,
    ),
    (
        "default-deny-network-policy",
        [
            pod({}),
            obj(
                "networking.k8s.io/v1",
                "NetworkPolicy",
                spec={"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress"]},
            ),
        ],
        {},
        1,
    ),
    ("default-deny-network-policy", [pod({}), network(ingress=[])], {}, 0),
    ("default-deny-network-policy", [pod({}), network()], {}, 1),
    ("default-deny-network-policy", [pod({}), pod({}), release()], {}, 2),
    ("default-deny-network-policy", [release()], {"exempt": ["edge"]}, 0),
    ("load-balancers", [obj("core/v1", "Service", spec={"type": "ClusterIP"})], {}, 0),
    ("load-balancers", [obj("core/v1", "Service", spec={"type": "LoadBalancer"})], {}, 1),
    (
        "load-balancers",
        [obj("core/v1", "Service", spec={"type": "LoadBalancer"})],
        {"allowed": ["shop/*"]},
        0,
    ),
    (
        "load-balancers",
        [
            release(service={"type": "LoadBalancer"}),
            release(a={"b": [{"serviceType": "LoadBalancer"}]}),
        ],
        {},
        2,
    ),
    ("load-balancers", [release(strategy={"type": "LoadBalancer"})], {}, 0),
    (
        "public-tls",
        [obj("networking.k8s.io/v1", "Ingress", spec={"tls": [{"hosts": ["a"]}]})],
        {},
        0,
    ),
    ("public-tls", [obj("networking.k8s.io/v1", "Ingress", spec={"rules": []})], {}, 1),
    (
        "public-tls",
        [
            obj(
                "gateway.networking.k8s.io/v1",
                "Gateway",
                spec={"listeners": [{"protocol": "HTTPS"}, {"protocol": "HTTP"}]},
            )
        ],
        {},
        1,
    ),
    (
        "public-tls",
        [
            obj(
                "networking.istio.io/v1",
                "Gateway",
                spec={"servers": [{"port": {"protocol": "HTTP"}, "tls": {"httpsRedirect": True}}]},
            )
        ],
        {},
        0,
    ),
    (
        "public-tls",
        [
            obj(
                "networking.istio.io/v1",
                "Gateway",
                spec={"servers": [{"port": {"protocol": "HTTP"}}]},
            )
        ],
        {"plain": ["shop/one"]},
        0,
    ),
    (
        "public-tls",
        [
            obj(
                "core/v1",
                "Service",
                spec={"type": "LoadBalancer", "ports": [{"port": 443}, {"port": 80}]},
            )
        ],
        {},
        1,
    ),
    (
        "plain-text-secrets",
        [pod(env("DB_PASSWORD", "hunter2")), pod(env("GITHUB_TOKEN", "x"))],
        {},
        2,
    ),
    (
        "plain-text-secrets",
        [
            pod(env("DB_PASSWORD", "")),
            pod(env("PASSWORD_FILE", "/run/x")),
            pod(env("TOKENIZER", "x")),
        ],
        {},
        0,
    ),
    (
        "plain-text-secrets",
        [pod({"env": [{"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {}}}]})],
        {},
        0,
    ),
    ("plain-text-secrets", [pod(env("DB_PASSWORD", "[secret]"))], {}, 0),
    ("plain-text-secrets", [pod(env("TOKEN", "none"))], {"harmless": ["TOKEN"]}, 0),
    (
        "plain-text-secrets",
        [pod(env("URL", "postgres://me:pw@db/x")), pod(env("URL", "http://db:5432/x"))],
        {},
        1,
    ),
    ("plain-text-secrets", [pod({"args": ["--db-password=x", "--password-file=/x"]})], {}, 1),
    ("plain-text-secrets", [pod({"args": ["--db-password", "x", "--token", "--secret=y"]})], {}, 2),
    (
        "plain-text-secrets",
        [pod({"args": ["--name", "token", "--password", "$(PASSWORD)"]})],
        {},
        0,
    ),
    ("plain-text-secrets", [pod({"args": ["--env", "TOKEN=x", "--token", "a=b"]})], {}, 2),
    ("plain-text-secrets", [pod({"args": ["serve", "postgres://me:pw@db/x?ssl=on"]})], {}, 1),
    ("plain-text-secrets", [pod(env("URL", "redis://:pw@redis:6379"))], {}, 1),
    (
        "plain-text-secrets",
        [
            obj("core/v1", "ConfigMap", data={"a": "AKIA" + "A" * 16}),
            obj("core/v1", "Secret", data={"password": "x"}),
        ],
        {},
        1,
    ),
    ("plain-text-secrets", [release(auth={"password": "x", "existingSecret": "y"})], {}, 1),
    ("cost-labels", [pod({})], {}, 2),
    ("cost-labels", [pod({}), obj("core/v1", "ConfigMap")], {"labels": []}, 0),
    ("replicas", [deployment(replicas=2)], {}, 0),
    ("replicas", [deployment(replicas=1)], {}, 1),
    ("replicas", [deployment(replicas=1)], {"single": ["shop/on*"]}, 0),
    ("replicas", [deployment(replicas=2)], {"minimum": 3}, 1),
    ("replicas", [deployment(), keda(2)], {}, 0),
    ("replicas", [deployment(), keda(0)], {}, 1),
    ("replicas", [deployment(), keda(None)], {}, 1),
    ("replicas", [deployment(), keda(2, idleReplicaCount=0)], {}, 1),
    ("replicas", [deployment(), keda(2, idleReplicaCount=0)], {"may_sleep": ["shop/one"]}, 0),
    ("replicas", [deployment(), keda(0)], {"may_sleep": ["shop/one"]}, 0),
    ("replicas", [deployment(), keda(1)], {"may_sleep": ["shop/one"]}, 0),
    ("replicas", [deployment(replicas=0)], {"may_sleep": ["shop/one"]}, 1),
    ("pod-anti-affinity", [deployment(affinity=APART)], {}, 0),
    ("pod-anti-affinity", [deployment("two", affinity=APART)], {}, 1),
    ("disruption-budget", [deployment(), budget(minAvailable=2)], {}, 0),
    ("disruption-budget", [deployment(), budget(minAvailable=3)], {}, 1),
    ("disruption-budget", [deployment(), budget(minAvailable="70%")], {}, 1),
    ("disruption-budget", [deployment(), budget(minAvailable="50%")], {}, 0),
    ("disruption-budget", [deployment(), budget(maxUnavailable="10%")], {}, 0),
    (
        "disruption-budget",
        [deployment(replicas=1), budget(minAvailable=1)],
        {"single": ["shop/one"]},
        1,
    ),
    ("disruption-budget", [deployment(replicas=1)], {"single": ["shop/one"]}, 0),
    ("disruption-budget", [deployment(), keda(0), budget(maxUnavailable=1)], {}, 0),
    ("disruption-budget", [deployment(), keda(0), budget(minAvailable=1)], {}, 1),
    ("disruption-budget", [deployment(replicas=0), budget(minAvailable=1)], {}, 0),
    # Without a selector it is of no pod, with an empty one of all; of two none may be evicted.
    ("disruption-budget", [deployment(), budget(selector=None, maxUnavailable=1)], {}, 1),
    ("disruption-budget", [deployment(), budget(selector={}, maxUnavailable=1)], {}, 0),
    ("disruption-budget", [deployment(), *[budget(maxUnavailable=1)] * 2], {}, 1),
    ("disruption-budget", [deployment(), *[budget(minAvailable=3)] * 2], {}, 3),
    ("model-server-probes", [deployment(containers=[{"name": "main"}])], {}, 0),
    ("model-server-probes", [server()], {}, 3),
    ("model-server-probes", [server(startupProbe={"periodSeconds": 1})], {}, 3),
    ("graceful-shutdown", [server(lifecycle={"preStop": {"sleep": {"seconds": 5}}})], {}, 0),
    ("graceful-shutdown", [server(lifecycle={"preStop": {"sleep": {"seconds": 31}}})], {}, 1),
    ("graceful-shutdown", [server(**env("DRAIN", "60"))], {"drain": ["DRAIN"]}, 2),
    ("graceful-shutdown", [server(**env("REQUEST_SECONDS", "30"))], {"request": "NONE"}, 1),
    ("graceful-shutdown", [server(**env("REQUEST_SECONDS", "30"))], {}, 2),
    ("model-server-egress", [server()], {}, 1),
    ("model-server-egress", [server(), network({}, {"ports": [{"port": 53}]})], {}, 1),
    ("model-server-egress", [server(), network({"ports": [{"port": 53}]})], {}, 0),
    ("model-server-egress", [server(), network({"ports": [{"port": 53}]}), network({})], {}, 1),
    ("model-server-egress", [server(), network({"to": [{"ipBlock": {"cidr": "::/0"}}]})], {}, 1),
    (
        "model-server-egress",
        [server(), network({"to": [{"ipBlock": {"cidr": "::/0"}}], "ports": [{"port": 443}]})],
        {},
        0,
    ),
    ("model-server-egress", [deployment("one")], {"beside": ["app=one"]}, 1),
    ("model-server-ingress", [server()], {}, 0),
    ("model-server-ingress", [server(), network(ingress=[{"from": [GATES]}])], {}, 0),
    (
        "model-server-ingress",
        [server(), network(ingress=[{"from": [GATES | {"podSelector": {}}]}])],
        {},
        0,
    ),
    ("model-server-ingress", [server(), network(ingress=[{"ports": [{"port": 80}]}])], {}, 1),
    (
        "model-server-ingress",
        [
            server(),
            network(
                ingress=[
                    {"from": []},
                    {"from": [GATES, {"ipBlock": {"cidr": "::/0"}}]},
                    {"from": [{"namespaceSelector": {}, "podSelector": {}}]},
                ]
            ),
        ],
        {},
        3,
    ),
    ("model-server-ingress", [deployment(), network(ingress=[{}])], {}, 0),
    ("model-pickle", [server(**env("ALLOW_PICKLE", "false"))], {}, 0),
    (
        "model-pickle",
        [server(**env("ALLOW_PICKLE", "True")), server(args=["--allow-pickle=true"])],
        {},
        2,
    ),
    ("model-reference", [server(**env("MODEL_URI", "models:/churn/3"))], {}, 0),
    ("model-reference", [server(**env("MODEL_URI", "models:/m-0123"))], {}, 0),
    (
        "model-reference",
        [
            server(**env("MODEL_URI", f"models:/churn{end}"))
            for end in ("@prod", "/latest", "/Production", "")
        ],
        {},
        4,
    ),
    (
        "model-reference",
        [server(**env("MODEL_VERSION", "latest")), server(args=["--version=newest"])],
        {},
        2,
    ),
    ("route-weights", [route(None), route(100), route(90, 10)], {}, 0),
    ("route-weights", [route(90, 11), route(90, None), route(-1, 101), route(99.5, 0.5)], {}, 4),
    ("canary-weight", [route(75, 25)], {}, 0),
    ("canary-weight", [route(74, 26)], {}, 1),
    ("canary-weight", [route(40, 60)], {"overrides": {"churn": 60}}, 0),
    ("canary-weight", [route(40, 60)], {"overrides": {"iris": 60}}, 1),
    ("canary-weight", [route(40, 60, host="someone-else-{}")], {}, 0),
]


@pytest.mark.parametrize(
    ("rule", "stack", "knobs", "count"), CASES, ids=lambda it: it if isinstance(it, str) else ""
)
def test_a_case(rule: str, stack: list[Resource], knobs: dict[str, Any], count: int) -> None:
    found = RULES[rule].judge(stack, knobs)
    assert all(isinstance(each, Violation) for each in found)
    assert len(found) == count, [each.message for each in found]


def test_each_rule_about_kubernetes_has_a_good_case_and_a_bad_one() -> None:
    good = {rule for rule, _, _, count in CASES if not count}
    bad = {rule for rule, _, _, count in CASES if count}
    mine = {
        name
        for name in RULES
        if name.split("-")[0] not in ("s3", "iam", "ec2", "eks", "rds", "data")
    }
    # What compares a canary with stable needs a whole stack: test_mutants has it.
    assert mine - good == {"canary-model-only", "canary-image"}
    assert mine - bad == {"canary-model-only", "canary-image"}


def test_an_unknown_container_hides_no_other() -> None:
    stack = [pod({"image": Unknown("spec.containers[0].image")}, {"image": "nginx"})]
    found = RULES["image-digest"].judge(stack)
    assert [type(each) for each in found] == [Undecided, Violation]
    assert found[0].message == "spec.containers[0].image is known only after the update"


@pytest.mark.parametrize("rule", ["model-server-egress", "model-server-ingress"])
def test_an_unknown_network_policy_hides_no_other(rule: str) -> None:
    spec = {"podSelector": Unknown("spec.podSelector"), "policyTypes": ["Ingress", "Egress"]}
    unknown = obj("networking.k8s.io/v1", "NetworkPolicy", spec=spec)
    wide = network({}) if rule == "model-server-egress" else network(ingress=[{}])
    found = RULES[rule].judge([server(), unknown, wide])
    assert [type(each) for each in found] == [Violation, Undecided]


@pytest.mark.parametrize("word", ["postgres://me:pw@db/x", "postgres://me:pw@db/x?ssl=on"])
def test_what_is_found_in_a_command_is_not_repeated(word: str) -> None:
    found = RULES["plain-text-secrets"].judge([pod({"command": [word]})])
    said = "container main: argument of its command: holds a URL with a password in plain text"
    assert [each.message for each in found] == [said]


def test_an_unknown_value_of_a_chart_hides_no_balancer() -> None:
    found = RULES["load-balancers"].judge(
        [release(a=Unknown("values.a"), service={"type": "LoadBalancer"})]
    )
    assert sorted(type(each).__name__ for each in found) == ["Undecided", "Violation"]


def test_an_unknown_list_of_containers_hides_no_other() -> None:
    stack = [pod({"image": "nginx"}, initContainers=Unknown("spec.initContainers"))]
    found = RULES["image-digest"].judge(stack)
    assert sorted(type(each).__name__ for each in found) == ["Undecided", "Violation"]


def test_a_value_of_another_kind_is_a_violation() -> None:
    found = RULES["image-digest"].judge([obj("core/v1", "Pod", spec={"containers": "nginx"})])
    assert [each.message for each in found] == ["containers is no list"]


def test_what_is_behind_another_stacks_host_is_not_decidable() -> None:
    found = RULES["canary-model-only"].judge([route(90, 10)])
    assert [type(each) for each in found] == [Undecided]


def served(version: int, *words: str, **more: Any) -> list[Resource]:
    name, labels = f"churn-v{version}", {"app": f"churn-v{version}"} | more
    container = {"name": "main", "command": ["serve", "--version", str(version), *words]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return [
        obj("apps/v1", "Deployment", name, spec={"template": template}),
        obj("core/v1", "Service", name, spec={"selector": {"app": name}}),
    ]


def test_a_number_that_looks_like_the_version_is_a_difference_all_the_same() -> None:
    rule = RULES["canary-model-only"]
    assert rule.judge([route(90, 10), *served(1, "--tidy"), *served(2, "--tidy")]) == []
    found = rule.judge([route(90, 10), *served(1, "--workers", "1"), *served(2, "--workers", "2")])
    assert [each.message.rpartition(": ")[2] for each in found] == ["1, 2"]
    found = rule.judge([route(90, 10), *served(1, tier="1"), *served(2, tier="2")])
    assert "metadata.labels.tier" in found[0].message


def entries(*weights: int, ended: bool = False, canary: int = 2) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = [{"kind": "begin", "canary": canary, "before": {"weight": 90}}]
    for weight in weights:
        acts = [{"replicas": 2, "version": canary}, {"roles": {"canary": canary, "weight": weight}}]
        told.append({"kind": "decide", "acts": acts})
    return told + ([{"kind": "end", "outcome": "rolled back"}] if ended else [])


def test_the_weight_that_a_rollout_has_decided_on() -> None:
    assert journal.weight([], 2) is None
    assert journal.weight(entries(), 2) is None
    assert journal.weight(entries(5, 50), 2) == 50
    assert journal.weight(entries(5, 50), 3) is None
    assert journal.weight(entries(5, 50, ended=True), 2) is None
    assert journal.weight(entries(50, ended=True) + entries(5), 2) == 5


def test_a_rollout_in_the_journal_lifts_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLIPWAY_JOURNAL", str(tmp_path))
    rule, there = RULES["canary-weight"], tmp_path / "prod/churn/journal.jsonl"
    # Pulumi gives numbers as floats.
    found = rule.judge([route(50, 50)], {"limit": 25.0}, journal.decided)
    assert "(limit: 25 %)" in found[0].message
    assert f"no rollout of it is open in {there.parent}" in found[0].message
    there.parent.mkdir(parents=True)
    there.write_text("".join(json.dumps(each) + "\n" for each in entries(5, 50)))
    assert rule.judge([route(50, 50)], {}, journal.decided) == []
    found = rule.judge([route(25, 75)], {}, journal.decided)
    assert "its rollout has decided on 50 % so far" in found[0].message


def test_it_reads_what_rollouts_write() -> None:
    before = Roles(stable=1, canary=None, weight=0, previous=None, shadow=None)
    began = writer.begin(
        id="a", model="churn", canary=2, rules=Rollout(), before=before, champion=None, by="me"
    )
    acts = [writer.SetRoles(Roles(stable=1, canary=2, weight=25, previous=None, shadow=None))]
    told = [began, writer.decide("step", "evidence", "slipway", acts, step=1)]
    assert journal.weight([json.loads(json.dumps(each)) for each in told], 2) == 25


def test_a_broken_journal_fails_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIPWAY_JOURNAL", str(tmp_path))
    there = tmp_path / "prod/churn/journal.jsonl"
    there.parent.mkdir(parents=True)
    there.write_text("nonsense\n")
    with pytest.raises(journal.JournalError, match=str(there)):
        RULES["canary-weight"].judge([route(50, 50)], {}, journal.decided)
