"""One instance of the one-machine cluster: its name, directories, addresses and ports.

Instances live side by side: each has its own network, mounts and state, and shares only the
read-only tools. `dev` is what `make up` starts; the tests start one called `test`.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from local.console import UserError

PROJECT = Path(__file__).resolve().parent.parent

# The loopback port of each entrance, and the port on the node that it leads to. The registry and
# the API server have the same port on both sides, so that one name is right everywhere.
DEFAULT_PORTS = {
    "gateway": 8080,
    "mlflow": 5001,
    "prometheus": 9090,
    "registry": 5000,
    "api": 6443,
}
NODE_PORTS = {"gateway": 30080, "mlflow": 30051, "prometheus": 30090}


def cache_dir() -> Path:
    """Tools and package caches: safe to delete, made again by the next `make up`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SLIPWAY_CACHE") or Path(base) / "slipway")


def state_root() -> Path:
    """The directory that holds one directory of state for each instance."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(os.environ.get("SLIPWAY_STATE") or Path(base) / "slipway")


@dataclass(frozen=True)
class Instance:
    """Names and addresses of one instance.

    `subnet` is the third byte of the link between host and node, 10.213.<subnet>.0/30;
    `ports` maps an entrance to its port on 127.0.0.1.
    """

    name: str
    subnet: int
    ports: dict[str, int]

    @property
    def state(self) -> Path:
        """Everything the instance writes; removed by `make down`."""
        return state_root() / self.name

    @property
    def host_ip(self) -> str:
        """The host's end of the link to the node."""
        return f"10.213.{self.subnet}.1"

    @property
    def node_ip(self) -> str:
        """The node's address, reachable from this host and from the pods."""
        return f"10.213.{self.subnet}.2"

    @property
    def link(self) -> str:
        """The host's network interface (the kernel allows 15 characters)."""
        return f"slipway-{self.name}"[:15]

    @property
    def cgroup(self) -> str:
        """The parent of every cgroup the instance makes, relative to each controller's root."""
        return f"slipway-{self.name}"

    @property
    def registry(self) -> str:
        """The registry's address, the same for builds and for the node."""
        return f"127.0.0.1:{self.ports['registry']}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, with one context, `slipway`."""
        return self.state / "kubeconfig"


def load(name: str | None = None) -> Instance:
    """The instance `name`, else SLIPWAY_INSTANCE, else `dev`.

    SLIPWAY_PORT_GATEWAY and its like move one port. Every instance but `dev` takes ports
    10000 higher, so that it never meets a running `dev`.

    Raises:
        UserError: the name or a port is not usable.
    """
    name = name or os.environ.get("SLIPWAY_INSTANCE") or "dev"
    if not re.fullmatch(r"[a-z][a-z0-9]{0,6}", name):
        raise UserError(f"SLIPWAY_INSTANCE: {name!r} is not a lower-case word of 1 to 7 letters")
    # A stable number for a name, so that two instances rarely share a subnet; dev is 0.
    subnet = 0 if name == "dev" else 1 + sum(map(ord, name)) % 250
    shift = 0 if name == "dev" else 10000
    defaults = {key: port + shift for key, port in DEFAULT_PORTS.items()}
    # A cluster keeps the ports it was started with, whatever shell asks for it later.
    remembered = state_root() / name / "ports.json"
    if remembered.exists():
        defaults |= json.loads(remembered.read_text())
    ports = {key: _port(key, port) for key, port in defaults.items()}
    twice = {port for port in ports.values() if list(ports.values()).count(port) > 1}
    if twice:
        raise UserError(f"SLIPWAY_PORT_*: port {min(twice)} is given to two entrances")
    return Instance(name, subnet, ports)


def _port(key: str, default: int) -> int:
    variable = f"SLIPWAY_PORT_{key.upper()}"
    text = os.environ.get(variable, str(default))
    if not text.isdigit() or not 1024 <= int(text) <= 65535:
        raise UserError(f"{variable}: {text!r} is not a port from 1024 to 65535")
    return int(text)
