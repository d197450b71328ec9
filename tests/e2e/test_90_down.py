"""`down`: nothing is left running, mounted, linked or filtered."""

from __future__ import annotations

import os
from pathlib import Path

from local import instance
from tests.e2e import harness
from tests.e2e.conftest import Machine, machine
from tests.e2e.harness import PORTS, Walk


def test_down_leaves_nothing(walk: Walk, before: Machine) -> None:
    """Everything that the instance brought is gone with it."""
    chosen = instance.load(harness.NAME)
    assert Path(f"/sys/class/net/{chosen.link}").exists()
    assert not any(harness.port_is_free(port) for port in PORTS.values())
    assert harness.cgroups(chosen.cgroup)
    pids = [pid for pid, words in harness.processes().items() if str(walk.state) in str(words)]
    assert len(pids) > 10
    namespaces = harness.namespaces(pids) - harness.namespaces([os.getpid()])
    assert len(namespaces) >= 2

    done = walk.local("down")
    walk.note(f"down: {done.seconds:.1f} s")
    assert done.lines(f"cluster {harness.NAME}:") == [f"cluster {harness.NAME}: removed"]

    left = {
        pid: words for pid, words in harness.processes().items() if str(walk.home) in str(words)
    }
    assert not left
    assert not harness.namespaces(harness.process_ids()) & namespaces
    now = machine()
    assert not Path(f"/sys/class/net/{chosen.link}").exists()
    assert not {"cni0", "kube-bridge"} & (now.links - before.links)
    assert str(walk.home) not in Path("/proc/self/mounts").read_text()
    assert now.firewall == before.firewall
    assert not harness.cgroups(chosen.cgroup)
    assert not walk.state.exists()
    for name, port in PORTS.items():
        assert harness.port_is_free(port), name


def test_down_again_says_there_was_none(walk: Walk) -> None:
    """A second time is no error."""
    done = walk.local("down")
    assert done.lines(f"cluster {harness.NAME}:") == [f"cluster {harness.NAME}: there was none"]
