"""Every tool of the project: its version, where it comes from, and the programs it has.

Standard library alone, here and in what this imports: it runs before the environment exists.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path

from local import debian, recipes
from local.go import TOOLCHAIN, go_tool
from local.optional import KEDA, POSTGRESQL, SIDECARS, SIGN_IN
from local.toolkit import Tool

KUBERNETES_VERSION = "1.34.4"
PULUMI_VERSION = "3.259.0"
ISTIO_VERSION = "1.31.1"
ACTIONLINT_VERSION = "1.7.12"
ALERTMANAGER_VERSION = "0.33.0"
KUBE_SCORE_VERSION = "1.20.0"
KUBE_STATE_METRICS_VERSION = "2.18.0"
KEDA_VERSION = "2.21.0"
OAUTH2_PROXY_VERSION = "7.15.2"
POSTGRESQL_VERSION = "15"
PROMETHEUS_VERSION = "3.13.0"
# Where Prometheus and its kin keep their version.
VERSION_FLAG = "-X github.com/prometheus/common/version.Version="


def all_tools(*, cluster: bool, optional: Collection[str] = ()) -> list[Tool]:
    """Every tool, the slowest builds first. `cluster=False` leaves out the one-machine ones;
    `optional`: those that are there only where a stack asks for them (see local/optional.py).
    """
    k8s = KUBERNETES_VERSION
    tools = _shared_tools()
    if KEDA in optional:
        tools.append(_keda_chart())
    if not cluster:
        return [
            *tools,
            go_tool(
                "kubectl",
                k8s,
                ("kubectl",),
                source="kubernetes",
                packages=("k8s.io/kubernetes/cmd/kubectl",),
                probe=("kubectl", "version", "--client"),
                expect=r"Client Version: v1\.3[2-9]\.",
            ),
        ]
    kubernetes = (
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "kube-scheduler",
        "kubectl",
        "kubelet",
    )
    return [
        go_tool(
            "kubernetes",
            k8s,
            kubernetes,
            ldflags=f"-X k8s.io/component-base/version.gitVersion=v{k8s}",
            probe=("kubelet", "--version"),
            expect=rf"^Kubernetes v{re.escape(k8s)}$",
        ),
        *([_keda()] if KEDA in optional else []),
        *([_oauth2_proxy()] if SIGN_IN in optional else []),
        *([_postgresql()] if POSTGRESQL in optional else []),
        *([_istio_cni()] if SIDECARS in optional else []),
        *tools,
        go_tool(
            "local-path-provisioner",
            "0.0.30",
            ("local-path-provisioner",),
            # From Kubernetes' own pins, so that it shares what that compiles.
            source="kubernetes",
            packages=("github.com/rancher/local-path-provisioner",),
        ),
        go_tool(
            # One module for all that talks to the API server, so that its client is compiled once.
            # Prometheus is not Debian's, whose build cannot find Kubernetes pods.
            "addons",
            f"istio {ISTIO_VERSION}, prometheus {PROMETHEUS_VERSION}",
            (
                "coredns",
                "kube-router",
                "metrics-server",
                "pilot-agent",
                "pilot-discovery",
                "prometheus",
                "promtool",
            ),
            packages=("tool", "./coredns"),
            tags="remove_all_sd,enable_kubernetes_sd",
            ldflags=f"{VERSION_FLAG}{PROMETHEUS_VERSION}",
        ),
        go_tool(
            "alertmanager",
            ALERTMANAGER_VERSION,
            ("alertmanager", "amtool"),
            ldflags=f"{VERSION_FLAG}{ALERTMANAGER_VERSION}",
            prepare=recipes.add_alertmanager_page,
        ),
        go_tool(
            # Not with the addons: it takes no newer client than Kubernetes 1.34's.
            "kube-state-metrics",
            KUBE_STATE_METRICS_VERSION,
            ("kube-state-metrics",),
            ldflags=f"{VERSION_FLAG}{KUBE_STATE_METRICS_VERSION}",
        ),
        go_tool(
            "buildkit",
            "0.31.1",
            ("buildctl", "buildkitd"),
            probe=("buildkitd", "--version"),
            expect=r"v0\.31\.1\b",
        ),
        go_tool("versitygw", "1.8.0", ("versitygw",)),
        debian.binaries(
            "etcd",
            "3.4",
            ["etcd-server"],
            ["usr/bin/etcd"],
            probe=("etcd", "--version"),
            expect=r"etcd Version: 3\.[4-6]\.",
        ),
        debian.binaries(
            "containerd",
            "1.6",
            ["containerd"],
            ["usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr"],
            probe=("containerd", "--version"),
            expect=r"\b1\.[67]\.",
        ),
        debian.wrapped(
            "runc",
            "1.1",
            ["runc", "libseccomp2"],
            {"runc": "usr/sbin/runc"},
            probe=("runc", "--version"),
            expect=r"runc version 1\.[1-9]",
        ),
        debian.binaries(
            "cni",
            "1.1",
            ["containernetworking-plugins"],
            [f"usr/lib/cni/{name}" for name in ("bridge", "host-local", "loopback", "portmap")],
        ),
        debian.binaries("registry", "2.8", ["docker-registry"], ["usr/bin/docker-registry"]),
        debian.wrapped(
            "iptables",
            "1.8",
            debian.IPTABLES,
            # One program that is told which of its names it goes by.
            {
                f"{family}tables{action}": f"usr/sbin/xtables-nft-multi {family}tables{action}"
                for family in ("ip", "ip6")
                for action in ("", "-save", "-restore")
            },
        ),
        debian.wrapped(
            "conntrack",
            "1.4",
            ["conntrack", "libnetfilter-conntrack3", "libnfnetlink0", "libmnl0"],
            {"conntrack": "usr/sbin/conntrack"},
        ),
        debian.wrapped(
            "ipset", "7.17", ["ipset", "libipset13", "libmnl0"], {"ipset": "usr/sbin/ipset"}
        ),
        debian.wrapped(
            "wrk",
            "4.1.0",
            ["wrk", "libluajit-5.1-2", "libluajit-5.1-common"],
            {"wrk": "usr/bin/wrk"},
            probe=("wrk", "-v"),
            expect=r"4\.1\.0",
        ),
        debian.binaries("busybox", "1.35", ["busybox-static"], ["bin/busybox"]),
        Tool(
            "envoy",
            recipes.ENVOY_VERSION,
            recipes.ENVOY_VERSION + recipes.ENVOY_SHA256,
            recipes.install_envoy,
            ("envoy",),
        ),
        Tool("base", "bookworm", "bookworm1" + ",".join(debian.BASE_PACKAGES), debian.install_base),
    ]


def _shared_tools() -> list[Tool]:
    """What every cluster needs, and `make check`."""
    return [
        go_tool("actionlint", ACTIONLINT_VERSION, ("actionlint",)),
        go_tool("kube-score", KUBE_SCORE_VERSION, ("kube-score",)),
        go_tool(
            "pulumi-resource-kubernetes",
            "4.25.0",
            ("pulumi-resource-kubernetes",),
            packages=(".",),
            ldflags="-X github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=4.25.0",
            prepare=recipes.add_kubernetes_schema,
        ),
        go_tool(
            # One module for both: what they share is compiled once.
            "pulumi",
            PULUMI_VERSION,
            ("pulumi", "pulumi-resource-docker-build"),
            ldflags="-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version="
            f"v{PULUMI_VERSION} -X github.com/pulumi/pulumi-docker-build/provider.Version=0.0.22",
        ),
        Tool(
            "istio-charts",
            ISTIO_VERSION,
            _chart_key(ISTIO_VERSION, "addons", recipes.install_istio_charts),
            recipes.install_istio_charts,
        ),
        go_tool(
            "pulumi-language-python",
            "3.192.0",
            ("pulumi-language-python",),
            collect=recipes.collect_python_exec,
        ),
    ]


def _keda_chart() -> Tool:
    program = Path(__file__).with_name("keda_chart.py").read_text()
    return Tool(
        "keda-chart",
        KEDA_VERSION,
        "\0".join([_chart_key(KEDA_VERSION, "keda", recipes.install_keda_chart), program]),
        recipes.install_keda_chart,
    )


def _chart_key(version: str, module: str, recipe: Callable[[Path], None]) -> str:
    pins = [(TOOLCHAIN / module / name).read_text() for name in ("go.mod", "go.sum")]
    return "\0".join([version, *pins, recipes.source(recipe)])


def _istio_cni() -> Tool:
    return go_tool(
        "istio-cni",
        ISTIO_VERSION,
        ("install-cni", "istio-cni"),
        collect=recipes.add_iptables,
    )


def _keda() -> Tool:
    return go_tool(
        "keda",
        KEDA_VERSION,
        ("keda", "keda-adapter"),
        ldflags=f"-X github.com/kedacore/keda/v2/version.Version={KEDA_VERSION}",
        collect=recipes.name_keda,
    )


def _oauth2_proxy() -> Tool:
    module = "github.com/oauth2-proxy/oauth2-proxy/v7"
    return go_tool(
        "oauth2-proxy",
        OAUTH2_PROXY_VERSION,
        ("oauth2-proxy",),
        packages=(module,),
        ldflags=f"-X {module}/pkg/version.VERSION=v{OAUTH2_PROXY_VERSION}",
    )


def _postgresql() -> Tool:
    packages = debian.postgresql_packages(POSTGRESQL_VERSION)
    return Tool(
        "postgresql",
        POSTGRESQL_VERSION,
        "bookworm1" + ",".join(packages),
        lambda target: debian.install_base(target, packages, [debian.NO_CLUSTER]),
    )
