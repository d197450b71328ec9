"""What an instance has of the machine, and must leave as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local import instance
from tests.e2e import harness
from tests.e2e.harness import Done, Walk


@dataclass(frozen=True)
class Machine:
    """The parts of the machine that an instance must leave as they were."""

    firewall: list[str]
    links: set[str]


def machine() -> Machine:
    """The machine as it is now."""
    return Machine(harness.firewall(), {link.name for link in Path("/sys/class/net").iterdir()})


def down_leaves_nothing(walk: Walk, ports: Mapping[str, int], before: Machine) -> Done:
    """`down` of a running instance with these ports; everything that it brought is gone with it."""
    chosen = instance.load(walk.name)
    assert Path(f"/sys/class/net/{chosen.link}").exists()
    assert not any(harness.port_is_free(port) for port in ports.values())
    assert harness.cgroups(chosen.cgroup)
    pids = [pid for pid, words in harness.processes().items() if str(walk.state) in str(words)]
    assert len(pids) > 10
    namespaces = harness.namespaces(pids) - harness.namespaces([os.getpid()])
    assert len(namespaces) >= 2

    done = walk.local("down")
    assert done.lines(f"cluster {walk.name}:") == [f"cluster {walk.name}: removed"]

    left = {
        pid: words for pid, words in harness.processes().items() if f"{walk.home}/" in str(words)
    }
    assert not left
    assert not harness.namespaces(harness.process_ids()) & namespaces
    now = machine()
    assert not Path(f"/sys/class/net/{chosen.link}").exists()
    assert not {"cni0", "kube-bridge"} & (now.links - before.links)
    assert f"{walk.home}/" not in Path("/proc/self/mounts").read_text()
    assert now.firewall == before.firewall
    assert not harness.cgroups(chosen.cgroup)
    assert not walk.state.exists()
    for name, port in ports.items():
        assert harness.port_is_free(port), name
    return done
