"""The command line's ground: which project and stack, their settings, and the adapters to them."""

from __future__ import annotations

import getpass
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import settings
from rollout import journal
from rollout.adapters import checks, configuration
from rollout.adapters.prometheus import Prometheus, PrometheusError
from rollout.adapters.registry import Registry
from rollout.adapters.stack import Stack
from rollout.adapters.store import Lease, LeaseHeldError, Store
from rollout.driver import Driver
from rollout.interfaces import Opinion, World
from rollout.journal import Rollout
from rollout.judge.floor import Size
from rollout.release import RefusedError

PROJECT_FILE = "Pulumi.yaml"


def owner() -> str:
    """Who this is, as the journal and the lease name it: `ada@host pid 4711`."""
    return f"{getpass.getuser()}@{socket.gethostname()} pid {os.getpid()}"


def project(start: Path) -> Path:
    """The directory of the Pulumi project that `start` lies in. Raises RefusedError."""
    for place in (start, *start.parents):
        if (place / PROJECT_FILE).is_file():
            return place
    raise RefusedError(f"{start}: no {PROJECT_FILE} here or above; go to the project, or --cwd it")


class WallClock:
    """The machine's own."""

    def now(self) -> float:
        return time.time()

    def wait(self, seconds: float) -> None:
        time.sleep(max(0.0, seconds))


@dataclass
class Session:
    """One command on one stack.

    Raises, from its properties, what the adapters raise; each error's text is one line for people.
    """

    directory: Path
    stack_name: str | None
    log: Callable[[str], None]

    @cached_property
    def stack(self) -> Stack:
        return Stack(self.directory, self.stack_name)

    @cached_property
    def settings(self) -> settings.Settings:
        """The stack's settings, as the program would read them."""
        return settings.of_stack(configuration.whole(self.stack.text()), self.stack.name)

    @cached_property
    def prometheus(self) -> Prometheus:
        """Raises RefusedError where no Prometheus can be reached from here."""
        url = self.settings.prometheus.url
        if not url:
            raise RefusedError(
                "slipway:prometheus.url: is not set, and a rollout decides on what Prometheus "
                "counts; set it to where this machine reaches Prometheus, such as "
                "http://127.0.0.1:9090 (kubectl --namespace monitoring port-forward "
                "service/prometheus 9090)"
            )
        return Prometheus(url)

    @cached_property
    def registry(self) -> Registry:
        """Raises RefusedError where no MLflow can be reached from here."""
        url = self.settings.mlflow.url or os.environ.get("MLFLOW_TRACKING_URI")
        if not url:
            raise RefusedError(
                "slipway:mlflow.url: is not set; set it, or MLFLOW_TRACKING_URI, to where this "
                "machine reaches MLflow"
            )
        return Registry(url)

    def store(self, model: str) -> Store:
        """The journal and lease of a model."""
        home = os.environ.get("SLIPWAY_JOURNAL") or self.directory / ".slipway/rollouts"
        return Store(Path(home) / self.stack.name / model)

    def journal(self, model: str) -> list[Rollout]:
        """The model's rollouts, oldest first. Raises JournalError, naming the file."""
        store = self.store(model)
        try:
            return journal.rollouts(store.entries())
        except journal.JournalError as error:
            raise journal.JournalError(
                f"{store.directory}: {error}; move that directory away to begin with an empty one"
            ) from None

    def last(self, model: str) -> Rollout | None:
        """The model's last rollout."""
        found = self.journal(model)
        return found[-1] if found else None

    @contextmanager
    def driver(
        self, model: str, watch: Callable[[Rollout], None] = lambda rollout: None
    ) -> Iterator[Callable[[], Driver]]:
        """The lease of a model, and what makes a driver for the last rollout in its journal.

        Raises LeaseHeldError, naming the holder.
        """
        store = self.store(model)
        lease = store.lease(owner())
        with held(lease):
            store.fence = lease

            def make() -> Driver:
                world = World(
                    self.stack,
                    _Lazily(lambda: self.registry),
                    _Lazily(lambda: self.prometheus),
                    store,
                    WallClock(),
                    self._opinions,
                    self._ready,
                    self._size,
                    self.log,
                    watch,
                )
                return Driver(world, self.journal(model), owner(), lease.mine)

            yield make

    def _opinions(self, rollout: Rollout, advancing: bool) -> Sequence[Opinion]:
        return checks.opinions(rollout, self.prometheus, advancing)

    def _ready(self, rollout: Rollout, version: int) -> int | str | None:
        try:
            return self.prometheus.replicas(rollout.model, version)
        except (PrometheusError, RefusedError) as error:
            return str(error)

    def _size(self, rollout: Rollout) -> Size | str:
        scaling = self.settings.models[rollout.model].scaling
        versions = [rollout.stable]
        if rollout.roles.canary == rollout.canary:
            versions.append(rollout.canary)
        ready = [0, 0]
        for place, version in enumerate(versions):
            found = self._ready(rollout, version)
            if found is None:
                return f"nobody counts those of version {version} (kube-state-metrics does)"
            if isinstance(found, str):
                return found
            ready[place] = found
        return Size(ready[0], ready[1], scaling.min, scaling.max)


class _Lazily:
    """What is made when it is first asked for something, so that a rollback needs no Prometheus."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __getattr__(self, name: str) -> Any:
        return getattr(self._make(), name)


@contextmanager
def held(lease: Lease) -> Iterator[None]:
    """Hold a lease, renewed by a thread for as long as it is this owner's."""
    lease.acquire()
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(lease.seconds / 3):
            try:
                lease.renew()
            except LeaseHeldError:
                return
            except OSError:
                continue  # a full disk may pass before the lease does

    thread = threading.Thread(target=renew, daemon=True, name="lease")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        lease.release()


def plain_error(error: BaseException) -> str:
    """An error as people read it: its own text, `slipway: ` before each line."""
    text = str(error) or type(error).__name__
    return "\n".join(f"slipway: {line}" for line in text.splitlines())
