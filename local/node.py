"""The node of one instance: its configuration files, and starting and ending it.

Everything runs in mount, process and network namespaces of the instance's own under one first
process, a supervisord that brings back whatever dies. Ending that process ends all of it at
once; only the cgroup directories are left to remove.

Two kinds of process live there: the cluster's, in the instance's network, which has no way out;
and buildkitd with the loopback proxy, in the host's network, because a build installs packages
and people reach the cluster through 127.0.0.1. buildkitd listens on a socket file only.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from local import toolkit
from local.console import UserError
from local.instance import PROJECT, Instance

# What a later start must find as it was: the API's data, volumes, images, build cache, Pulumi's
# state. The rest describes processes and mounts that no longer exist, and is made anew.
VOLATILE = ("containerd", "kubelet", "cni", "run", "logs")
MIN_FREE_GIB = 6


def start(instance: Instance) -> bool:
    """Start the instance; False if it was running already.

    Raises:
        UserError: not root, a port in use, too little disk, or another checkout's instance.
    """
    from local import node_files, pki  # beyond the standard library, which the rest makes do with

    if is_running(instance):
        return False
    check(instance)
    instance.state.mkdir(parents=True, exist_ok=True)
    instance.state.chmod(0o711)
    _remove_link(instance)
    remove_cgroups(instance)
    for name in VOLATILE:
        shutil.rmtree(instance.state / name, ignore_errors=True)
        (instance.state / name).mkdir()
    for name in ("etcd", "volumes", "registry", "buildkit", "pulumi", "docker/buildx/instances"):
        (instance.state / name).mkdir(parents=True, exist_ok=True)
    (instance.state / "project").write_text(str(PROJECT))
    (instance.state / "ports.json").write_text(json.dumps(instance.ports))
    pki.write_all(instance)
    node_files.write(instance)
    log = (instance.state / "logs/init.log").open("ab")
    # The process records itself and then becomes the first process: no kill in between can leave
    # one that nobody knows. An exec keeps both the id and the start time.
    record = 'echo "$$ $(cut -d" " -f22 /proc/$$/stat)" >"$0.new" && mv "$0.new" "$0" && exec "$@"'
    subprocess.Popen(
        ["/bin/sh", "-c", record, str(instance.state / "init.pid")]
        + ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private"]
        + ["--kill-child", "/bin/sh", str(instance.state / "init.sh")],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        cwd="/",
        env=_daemon_environment(),
    )
    log.close()
    deadline = time.monotonic() + 10
    while not is_running(instance) and time.monotonic() < deadline:
        time.sleep(0.02)
    return True


def stop(instance: Instance) -> bool:
    """End every process of the instance and with them its mounts and network; False if none ran."""
    pid = _init_pid(instance)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and alive(pid):
            # Only the process that started it can be its parent, and must reap it.
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            time.sleep(0.05)
        if alive(pid):
            raise UserError(f"cluster {instance.name}: process {pid} does not end; try again")
    (instance.state / "init.pid").unlink(missing_ok=True)
    _remove_link(instance)
    remove_cgroups(instance)
    return pid is not None


def is_running(instance: Instance) -> bool:
    """Whether the instance's first process lives."""
    return _init_pid(instance) is not None


def remove_cgroups(instance: Instance) -> None:
    """Remove the instance's cgroup directories in every hierarchy, deepest first.

    Raises:
        UserError: one is still in use after ten seconds.
    """
    deadline = time.monotonic() + 10
    while True:
        left = _remove_cgroups_once(instance)
        if not left:
            return
        if time.monotonic() > deadline:
            raise UserError(f"cgroup {left[0]}: still in use; run `make down` again")
        time.sleep(0.1)


def _remove_cgroups_once(instance: Instance) -> list[Path]:
    left = []
    for root in cgroup_roots():
        top = root / instance.cgroup
        if not top.exists():
            continue
        for directory in [Path(path) for path, _, _ in os.walk(top, topdown=False)]:
            try:
                directory.rmdir()
            except OSError:
                left.append(directory)
    return left


# ---------------------------------------------------------------------------------------------


def cgroup_roots() -> list[Path]:
    """The mount points of every cgroup hierarchy: one for v2, one a controller for v1."""
    roots = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, path, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            roots.append(Path(path))
    return roots


def check_owner(instance: Instance) -> None:
    """Refuse to touch the cluster of another checkout that still exists: its data is there.

    Raises:
        UserError: it is another's.
    """
    file = instance.state / "project"
    owner = file.read_text() if file.exists() else str(PROJECT)
    if owner != str(PROJECT) and Path(owner).exists():
        raise UserError(
            f"instance {instance.name}: belongs to the checkout {owner}; `make down` there, or "
            "give this checkout one of its own: SLIPWAY_INSTANCE=other"
        )


def check(instance: Instance) -> None:
    """Look for all that would stop a start, before anything is built or written.

    Raises:
        UserError: not root, a program missing, a port in use, too little disk, another's cluster.
    """
    check_owner(instance)
    if any(character.isspace() for character in str(instance.state)):
        raise UserError(
            f"SLIPWAY_STATE: {str(instance.state)!r} holds white space, which containerd's "
            "configuration does not take; choose another directory"
        )
    missing = [name for name in ("ip", "mount", "nsenter", "unshare") if not shutil.which(name)]
    if missing:
        raise UserError(
            f"{missing[0]}: not found on PATH; apt-get install iproute2 mount util-linux"
        )
    if os.geteuid() != 0:
        raise UserError(
            "make up: must run as root, because it makes network namespaces and mounts; "
            "or use a cluster that exists: make up CONTEXT=… REGISTRY=…"
        )
    for key, port in instance.ports.items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                raise UserError(
                    f"port 127.0.0.1:{port} ({key}): in use by another program; "
                    f"end that, or choose another: SLIPWAY_PORT_{key.upper()}=… make up"
                ) from None
    existing = instance.state if instance.state.exists() else instance.state.parent
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / 2**30
    if free < MIN_FREE_GIB:
        raise UserError(
            f"disk: {free:.1f} GiB free under {existing}, {MIN_FREE_GIB} GiB needed for the "
            "cluster; free some, or set SLIPWAY_STATE to a larger disk"
        )


def _start_time(pid: int) -> str:
    """The start time of a process in clock ticks since boot: with the id, it names one process."""
    stat = Path(f"/proc/{pid}/stat").read_text()
    return stat.rpartition(")")[2].split()[19]


def alive(pid: int) -> bool:
    """Whether a process runs: one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _init_pid(instance: Instance) -> int | None:
    try:
        pid, started = (instance.state / "init.pid").read_text().split()
        if _start_time(int(pid)) == started and alive(int(pid)):
            return int(pid)
    except (OSError, ValueError):
        pass
    return None


def _remove_link(instance: Instance) -> None:
    """Remove the link to the node: connections that were cut keep its other end for a minute."""
    if Path(f"/sys/class/net/{instance.link}").exists():
        toolkit.run(["ip", "link", "delete", instance.link])


def _daemon_environment() -> dict[str, str]:
    keep = ["SSL_CERT_FILE", "SSL_CERT_DIR", "LANG"]
    keep += ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"]
    env = {name: os.environ[name] for name in keep if name in os.environ}
    env["HOME"] = str(Path.home())
    env["PATH"] = (
        f"{toolkit.LINKS / 'bin'}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    )
    return env
