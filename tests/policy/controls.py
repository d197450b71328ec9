"""The controls of the project's stacks: what each rule watches over, and how each can be lost."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from engine.pods import makes_pods
from engine.resource import Resource
from tests.policy.stacks import REMOVED, Control

POD = ("spec", "template", "spec")
EVERY = (*POD, "containers", "*")
FIRST = (*POD, "initContainers", "*")
SPEC = ("spec",)


def kind(*kinds: str) -> Callable[[Resource], bool]:
    return lambda each: each.kubernetes(*kinds)


def component(name: str) -> Callable[[Resource], bool]:
    """A Deployment whose pods are that part of Slipway."""

    def there(resource: Resource) -> bool:
        labels = (resource.props.get("metadata") or {}).get("labels") or {}
        own = labels.get("app.kubernetes.io/component") == name
        return resource.kind == "Deployment" and own

    return there


server, activator, comparer = map(component, ("model-server", "activator", "shadow-comparer"))


def answers(resource: Resource) -> bool:
    """What must lose no request."""
    return server(resource) or activator(resource)


def passed(resource: Resource) -> bool:
    """What requests for models pass."""
    return answers(resource) or comparer(resource)


def guards(resource: Resource) -> bool:
    """The NetworkPolicy of what requests for models pass."""
    return resource.kind == "NetworkPolicy" and (
        re.search(r"-v\d+-policy$|-comparer-policy$|^activator-policy$", resource.name) is not None
    )


def awake(resource: Resource) -> bool:
    """The autoscaler of what never sleeps, by requests."""
    return resource.kind == "ScaledObject" and not resource.name.startswith("night-")


def called(kind_: str, name: str) -> Callable[[Resource], bool]:
    return lambda each: each.kind == kind_ and each.name == name


def without_token(resource: Resource) -> bool:
    return makes_pods(resource) and not resource.name.startswith(
        ("monitoring-deployment", "monitoring-state", "kube-state", "observability")
    )


def pinned(resource: Resource) -> bool:
    return makes_pods(resource) and "@sha256:" in str(resource.props)


def tagged(resource: Resource) -> bool:
    return makes_pods(resource) and "@sha256:" not in str(resource.props)


def both(*rest: str) -> list[tuple[Any, ...]]:
    return [(*EVERY, *rest), (*FIRST, *rest)]


def lost(
    rule: str, where: Callable[[Resource], bool], *path: str | int, to: Any = REMOVED
) -> Control:
    return Control(rule, where, path, to)


def in_containers(
    rule: str, *rest: str, to: Any = REMOVED, where: Any = makes_pods
) -> list[Control]:
    return [Control(rule, where, path, to) for path in both(*rest)]


def _image(change: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda old: change(old) if isinstance(old, str) else old


def _elsewhere(image: str) -> str:
    name = image.partition("/")[2].partition(":")[0].partition("@")[0]
    return f"registry.example.org/{name}@sha256:{'1' * 64}"


def _with(item: Any) -> Callable[[Any], Any]:
    return lambda old: [*(old if isinstance(old, list) else []), item]


CONTEXT = "securityContext"
CONTROLS: list[Control] = [
    *in_containers(
        "image-digest", "image", where=pinned, to=_image(lambda it: it.partition("@")[0] + ":1.0")
    ),
    *in_containers(
        "image-digest",
        "image",
        to=_image(lambda it: it.partition("@")[0].rpartition(":")[0] + ":latest"),
        where=tagged,
    ),
    *in_containers("image-registry", "image", to=_image(_elsewhere)),
    *[
        control
        for what in ("requests", "limits")
        for which in ("cpu", "memory")
        for control in in_containers("container-resources", "resources", what, which)
    ],
    *[
        lost("model-server-probes", passed, *EVERY, probe)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe")
    ],
    lost("graceful-shutdown", answers, *EVERY, "lifecycle", "preStop"),
    lost("graceful-shutdown", answers, *POD, "terminationGracePeriodSeconds"),
    lost("graceful-shutdown", server, *POD, "terminationGracePeriodSeconds", to=40),
    lost("graceful-shutdown", activator, *POD, "terminationGracePeriodSeconds", to=35),
    lost("graceful-shutdown", activator, *EVERY, "env", "name=REQUEST_SECONDS", "value", to="60"),
    lost("graceful-shutdown", answers, *EVERY, "lifecycle", "preStop", "sleep", "seconds", to=60),
    *in_containers("run-as-non-root", CONTEXT, "runAsNonRoot", to=False),
    lost("run-as-non-root", makes_pods, *POD, CONTEXT, "runAsUser", to=0),
    *in_containers("read-only-root-filesystem", CONTEXT, "readOnlyRootFilesystem"),
    *in_containers("read-only-root-filesystem", CONTEXT, "readOnlyRootFilesystem", to=False),
    *in_containers("privilege-escalation", CONTEXT, "allowPrivilegeEscalation"),
    *in_containers("privilege-escalation", CONTEXT, "allowPrivilegeEscalation", to=True),
    *in_containers("privileged-containers", CONTEXT, "privileged", to=True),
    *in_containers("privileged-containers", CONTEXT, "procMount", to="Unmasked"),
    *in_containers("capabilities", CONTEXT, "capabilities", "drop"),
    *in_containers("capabilities", CONTEXT, "capabilities", "drop", to=["NET_RAW"]),
    *in_containers("capabilities", CONTEXT, "capabilities", "add", to=["SYS_ADMIN"]),
    lost("seccomp-profile", makes_pods, *POD, CONTEXT, "seccompProfile"),
    lost("seccomp-profile", makes_pods, *POD, CONTEXT, "seccompProfile", "type", to="Unconfined"),
    *[
        lost("host-namespaces", makes_pods, *POD, f"host{name}", to=True)
        for name in ("Network", "PID", "IPC")
    ],
    lost("host-namespaces", makes_pods, *EVERY, "ports", 0, "hostPort", to=80),
    lost(
        "volume-types",
        makes_pods,
        *POD,
        "volumes",
        "*",
        to=lambda old: {"name": old["name"], "hostPath": {"path": "/"}},
    ),
    lost(
        "kernel-settings",
        makes_pods,
        *POD,
        CONTEXT,
        "sysctls",
        to=[{"name": "kernel.msgmax", "value": "1"}],
    ),
    lost("kernel-settings", makes_pods, *POD, CONTEXT, "seLinuxOptions", to={"user": "system_u"}),
    lost("service-account-token", without_token, *POD, "automountServiceAccountToken"),
    lost("service-account-token", without_token, *POD, "automountServiceAccountToken", to=True),
    *[
        lost("rbac-wildcards", kind("Role", "ClusterRole"), "rules", "*", field, to=["*"])
        for field in ("apiGroups", "resources", "verbs")
    ],
    lost(
        "rbac-wildcards",
        kind("RoleBinding", "ClusterRoleBinding"),
        "roleRef",
        "name",
        to="cluster-admin",
    ),
    lost(
        "pod-security-level",
        kind("Namespace"),
        "metadata",
        "labels",
        "pod-security.kubernetes.io/enforce",
    ),
    lost(
        "pod-security-level",
        kind("Namespace"),
        "metadata",
        "labels",
        "pod-security.kubernetes.io/enforce",
        to="baseline",
    ),
    *[
        lost(
            "default-deny-network-policy",
            lambda each: each.name.endswith("-default-deny"),
            *path,
            to=to,
        )
        for path, to in (
            ((), REMOVED),
            (("spec", "policyTypes"), ["Egress"]),
            (("spec", "podSelector"), {"matchLabels": {"app": "one"}}),
            (("metadata", "namespace"), "elsewhere"),
        )
    ],
    # That of `models` would let everybody in to the servers too, which another rule says as well.
    lost(
        "default-deny-network-policy",
        lambda each: re.search("(?<!models)-default-deny$", each.name) is not None,
        "spec",
        "ingress",
        to=[{}],
    ),
    lost(
        "load-balancers",
        called("Release", "mesh-istio-ingress"),
        "values",
        "service",
        "type",
        to="LoadBalancer",
    ),
    lost("load-balancers", kind("Service"), "spec", "externalIPs", to=["192.0.2.1"]),
    lost("public-tls", kind("Gateway"), "spec", "servers", 0, "tls"),
    lost("public-tls", kind("Gateway"), "spec", "servers", 0, "port", "protocol", to="HTTP"),
    lost(
        "public-tls",
        kind("Gateway"),
        "spec",
        "servers",
        to=_with({"port": {"number": 80, "protocol": "HTTP"}}),
    ),
    *in_containers(
        "plain-text-secrets", "env", to=_with({"name": "DB_PASSWORD", "value": "hunter2"})
    ),
    lost(
        "plain-text-secrets",
        kind("ConfigMap"),
        "data",
        "key.pem",
        to="-----BEGIN RSA PRIVATE KEY-----",
    ),
    lost("plain-text-secrets", kind("Release"), "values", "adminPassword", to="hunter2"),
    *[
        lost(
            "cost-labels",
            lambda each: makes_pods(each) or each.kind == "PersistentVolumeClaim",
            "metadata",
            "labels",
            label,
        )
        for label in ("slipway.dev/owner", "slipway.dev/cost-center")
    ],
    lost("replicas", kind("HorizontalPodAutoscaler"), "spec", "minReplicas", to=1),
    lost("replicas", kind("HorizontalPodAutoscaler"), "spec", "minReplicas"),
    lost("replicas", kind("HorizontalPodAutoscaler")),
    lost("replicas", awake, "spec", "minReplicaCount", to=1),
    # It would sleep, and is not listed.
    lost("replicas", awake, "spec", "minReplicaCount", to=0),
    lost("replicas", awake, "spec", "minReplicaCount"),
    lost("replicas", kind("ScaledObject")),
    lost("replicas", activator, "spec", "replicas", to=1),
    lost("replicas", activator, "spec", "replicas"),
    lost("pod-anti-affinity", answers, *POD, "affinity"),
    lost(
        "pod-anti-affinity",
        answers,
        *POD,
        "affinity",
        "podAntiAffinity",
        "*",
        0,
        "podAffinityTerm",
        "topologyKey",
        to="example.org/rack",
    ),
    lost(
        "pod-anti-affinity",
        answers,
        *POD,
        "affinity",
        "podAntiAffinity",
        "*",
        0,
        "podAffinityTerm",
        "labelSelector",
        "matchLabels",
        "app.kubernetes.io/name",
        to="other",
    ),
    lost("disruption-budget", kind("PodDisruptionBudget")),
    lost("disruption-budget", kind("PodDisruptionBudget"), "spec", "maxUnavailable", to=0),
    lost(
        "disruption-budget",
        kind("PodDisruptionBudget"),
        "spec",
        "selector",
        "matchLabels",
        "app.kubernetes.io/name",
        to="other",
    ),
    lost("disruption-budget", kind("PodDisruptionBudget"), "metadata", "namespace", to="elsewhere"),
    lost(
        "disruption-budget",
        kind("PodDisruptionBudget"),
        "spec",
        to=lambda old: {"minAvailable": 2, "selector": old["selector"]},
    ),
    lost(
        "disruption-budget",
        kind("PodDisruptionBudget"),
        "spec",
        to=lambda old: {"minAvailable": "100%", "selector": old["selector"]},
    ),
    lost(
        "route-weights",
        kind("VirtualService"),
        "spec",
        "http",
        "*",
        "route",
        0,
        "weight",
        to=lambda old: old - 1 if isinstance(old, int) else 99,
    ),
    lost("route-weights", kind("VirtualService"), "spec", "http", "*", "route", 1, "weight"),
    lost(
        "route-weights", kind("VirtualService"), "spec", "http", "*", "route", 1, "weight", to=10.5
    ),
    lost(
        "canary-weight",
        kind("VirtualService"),
        "spec",
        "http",
        "name=by-weight",
        "route",
        to=lambda old: [old[0] | {"weight": 40}, old[1] | {"weight": 60}],
    ),
    *[
        lost(
            "model-server-egress",
            guards,
            *path,
            to=to,
        )
        for path, to in (
            ((), REMOVED),
            (("spec", "policyTypes"), ["Ingress"]),
            (("spec", "egress"), [{}]),
        )
    ],
    *[
        lost("model-server-ingress", guards, "spec", "ingress", *path, to=to)
        for path, to in (
            ((), [{}]),
            (("*", "from"), REMOVED),
            (("*", "from"), []),
            (("*", "from", 0), {"namespaceSelector": {}}),
            (("*", "from", 0), {"ipBlock": {"cidr": "0.0.0.0/0"}}),
        )
    ],
    *in_containers(
        "model-pickle", "env", to=_with({"name": "ALLOW_PICKLE", "value": "true"}), where=server
    ),
    lost("model-pickle", server, *FIRST, "command", to=_with("--allow-pickle")),
    lost("model-reference", server, *EVERY, "env", "name=MODEL_VERSION", "value", to="champion"),
    lost("model-reference", server, *FIRST, "command", 6, to="latest"),
    lost(
        "model-reference",
        server,
        *EVERY,
        "env",
        to=_with({"name": "MODEL_URI", "value": "models:/churn@champion"}),
    ),
]

# Of a canary alone, so that it is no longer stable but for its model.
CANARY: list[Control] = [
    lost("canary-image", server, *EVERY, "image", to=_image(lambda it: it[:-1] + "1")),
    lost("canary-image", server, *FIRST, "image", to=_image(lambda it: it[:-1] + "1")),
    *in_containers(
        "canary-model-only", "env", to=_with({"name": "EXTRA", "value": "1"}), where=server
    ),
    *in_containers("canary-model-only", "resources", "requests", "cpu", to="300m", where=server),
    lost("canary-model-only", server, *EVERY, "env", "name=DRAIN_SECONDS", "value", to="4"),
    lost("canary-model-only", server, *EVERY, "command", to=_with("--quick")),
    lost("canary-model-only", server, *POD, "nodeSelector", to={"fast": "yes"}),
    lost("canary-model-only", server, *POD, "terminationGracePeriodSeconds", to=60),
    lost("canary-model-only", server, *EVERY, "readinessProbe", "httpGet", "path", to="/ping"),
]
