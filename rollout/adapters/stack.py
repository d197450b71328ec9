"""The stack: its configuration file, its updates and outputs, through Pulumi's Automation API.

It finds Pulumi, the backend, the passphrase and the cluster where the user's own `pulumi` finds
them, in the environment. The user's selected stack stays selected.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

import known_errors
from rollout.adapters import configuration
from rollout.adapters.configuration import ConfigurationError, Roles
from rollout.adapters.diagnostics import Kind, failure

if TYPE_CHECKING:
    from local.stack import Target
    from rollout.adapters.automation import Automation

UPDATE_SECONDS: Final = 900.0
LOCK_SECONDS: Final = 300.0
_LOCK_PAUSE: Final = 2.0

Log = Callable[[str], None]


class StackError(Exception):
    """There is no stack to work with here; the message is one line with the remedy."""


class UpdateError(Exception):
    """An update failed; the message is one line.

    Attributes:
        kind: `locked`, another update was under way and did not end in time; `unreachable`, the
            cluster or the backend does not answer, and another attempt is worthwhile; `failed`,
            the program or a resource did.
    """

    def __init__(self, message: str, kind: Kind) -> None:
        super().__init__(message)
        self.kind = kind


class Stack:
    """One stack of a project.

    Args:
        directory: the project's, with its Pulumi.yaml.
        name: the stack's; None is the selected one.
        update_seconds: what an update may take before it is interrupted.
        lock_seconds: how long another's update is waited for.
    """

    def __init__(
        self,
        directory: Path,
        name: str | None = None,
        *,
        update_seconds: float = UPDATE_SECONDS,
        lock_seconds: float = LOCK_SECONDS,
    ) -> None:
        self._directory, self._given = directory.resolve(), name
        self._update_seconds, self._lock_seconds = update_seconds, lock_seconds
        self._seen: bytes | None = None

    def _mend(self) -> Target:
        """Make readable what an update that was killed left; the stack as `local` knows it."""
        from local import stack as local

        target = local.Target(self.name.split("/")[-1], dict(os.environ), directory=self._directory)
        local.mend(target)
        return target

    @cached_property
    def name(self) -> str:
        """Its name. Raises StackError if none was given and none is selected."""
        return self._given or self.current()

    def current(self) -> str:
        """The name of the stack that is selected. Raises StackError, UpdateError."""
        with self._told():
            return self._pulumi.run("stack", "--show-name").strip()

    # The configuration

    @property
    def file(self) -> Path:
        """The stack's configuration file."""
        project = self._directory / "Pulumi.yaml"
        try:
            settings = yaml.safe_load(project.read_text())
        except (OSError, ValueError, yaml.YAMLError) as error:
            brief = " ".join(str(error).split())[:200]
            raise StackError(f"{project}: cannot be read ({brief})") from None
        folder = settings.get("stackConfigDir") or "." if isinstance(settings, dict) else "."
        return self._directory / folder / f"Pulumi.{self.name.split('/')[-1]}.yaml"

    def read_roles(self, model: str) -> Roles:
        """The roles of `model` in the configuration. Raises ConfigurationError."""
        self._seen = self._content()
        return configuration.roles(_text(self._seen, self.file), model)

    def write_roles(self, model: str, roles: Roles) -> None:
        """Have the configuration say `roles`; the file is the old or the new one, never half.

        Raises:
            ConfigurationError: as `configuration.with_roles`, or the file has changed since it
                was last read, or it cannot be written.
        """
        with _one_writer(self.file):
            found = self._content()
            if self._seen is not None and found != self._seen:
                raise ConfigurationError(
                    f"{self.file}: has changed since it was read; nothing was written"
                )
            edited = configuration.with_roles(_text(found, self.file), model, roles).encode()
            if edited != found:
                _replace(self.file, edited)
            self._seen = edited

    def text(self) -> str:
        """The configuration file. Raises ConfigurationError."""
        return _text(self._content(), self.file)

    def check_roles(self, model: str, roles: Roles) -> None:
        """Raise ConfigurationError if the configuration could not be made to say `roles`."""
        configuration.with_roles(self.text(), model, roles)

    def _content(self) -> bytes:
        try:
            return self.file.read_bytes()
        except OSError as error:
            raise ConfigurationError(
                f"{error.filename}: cannot be read ({error.strerror}); is this the stack's project?"
            ) from None

    # The cluster

    def update(self, log: Log) -> None:
        """Bring the cluster to the configuration: `pulumi up`, each line of it told to `log`.

        Another update is waited for; what a killed one had begun is taken up. Interrupted
        (KeyboardInterrupt), it ends in good order. Of a process that is killed it is finished.

        Raises:
            UpdateError: it failed.
            StackError: there is no pulumi, no such stack or no passphrase.
        """
        until = time.monotonic() + self._lock_seconds
        while True:
            self._unlock(log, until)
            try:
                with self._told():
                    return self._pulumi.up(self.name, self._update_seconds, log)
            except UpdateError as error:
                if error.kind != "locked" or time.monotonic() > until:
                    raise
                log(f"waiting for another update: {error}")
                time.sleep(_LOCK_PAUSE)

    def preview(self) -> list[tuple[str, str, str]]:
        """What an update would change: (op, type, name) of each resource that would not stay.

        Raises UpdateError, StackError.
        """
        with self._told():
            printed = self._pulumi.run(
                "preview", "--json", "--stack", self.name, seconds=self._update_seconds
            )
        steps = json.loads(printed).get("steps") or []
        return [
            (step["op"], step["urn"].split("::")[2].split("$")[-1], step["urn"].split("::", 3)[3])
            for step in steps
            if step["op"] not in ("same", "read", "refresh")
        ]

    def outputs(self) -> dict[str, Any]:
        """The stack's outputs; secret ones are masked. Raises UpdateError, StackError."""
        self._mend()
        with self._told():
            printed = self._pulumi.run("stack", "output", "--json", "--stack", self.name)
        try:
            found: dict[str, Any] = json.loads(printed)
        except ValueError:
            raise StackError(
                f"stack {self.name}: pulumi printed no outputs: {printed[:200]}"
            ) from None
        return found

    def deployed(self, model: str) -> Roles | None:
        """The roles of `model` as of the last update; None if it was not deployed.

        A shadow that is put out without its percentage has the configuration's.

        Raises UpdateError, StackError, ConfigurationError.
        """
        found = (self.outputs().get("models") or {}).get(model)
        if not found or found.get("stable") is None:
            return None
        shadow = found.get("shadow")
        if shadow is not None and not isinstance(shadow, dict):
            configured = configuration.roles(self.text(), model).shadow
            same = configured is not None and configured[0] == int(shadow)
            shadow = {"version": shadow, "percent": configured[1] if configured and same else 100}
        canary, previous = found.get("canary"), found.get("previous")
        return Roles(
            int(found["stable"]),
            None if canary is None else int(canary),
            0 if canary is None else int(found.get("weight") or 0),
            None if previous is None else int(previous),
            (int(shadow["version"]), int(shadow.get("percent", 100))) if shadow else None,
            tuple(sorted((int(key), int(n)) for key, n in (found.get("floors") or {}).items())),
        )

    def _unlock(self, log: Log, until: float) -> None:
        """Wait while another process on this machine updates the stack, and take up what a killed
        one had begun; only where the state is in a directory can it be told which it is.
        """
        from local import stack as local
        from local.console import UserError

        target = self._mend()
        told = False
        while local.locks(target):
            try:
                local.recover(target, log)
                return
            except local.StackLockedError as error:
                if time.monotonic() > until:
                    waited = f"waited {self._lock_seconds:g} s"
                    raise UpdateError(f"{error} ({waited})", "locked") from None
                if not told:
                    log(f"waiting: {error}")
                told = True
                time.sleep(_LOCK_PAUSE)
            except UserError as error:
                line, kind = failure("", f"error: {error}")
                raise UpdateError(line, kind) from None

    @cached_property
    def _pulumi(self) -> Automation:
        # Importing the Automation API takes a third of a second, and not every command needs it.
        from rollout.adapters.automation import Automation

        return Automation(self._directory)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Turns what the Automation API raises into one line."""
        try:
            yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) and error.filename == "pulumi":
                raise StackError(f"pulumi: is not on PATH; {known_errors.REMEDY}") from None
            raise StackError(f"{error.filename or 'pulumi'}: {error.strerror}") from None
        except Exception as error:
            raise _known(error, self._given or "the selected one") from None


def _known(error: Exception, name: str) -> Exception:
    """The StackError or UpdateError for what the Automation API raised; itself if unknown."""
    from rollout.adapters.automation import CommandError, HungError, InvalidVersionError

    if isinstance(error, HungError):
        return UpdateError(f"{error}; it was interrupted", "unreachable")
    if isinstance(error, InvalidVersionError):
        return StackError(
            f"pulumi: is of another version than its SDK ({error}); {known_errors.REMEDY}"
        )
    if not isinstance(error, CommandError):
        return error
    line, kind = failure(error.result.stdout, error.result.stderr)
    if mistake := known_errors.mistake(line, name):
        return StackError(mistake)
    # A lock is waited for.
    told = [] if kind == "locked" else known_errors.hints(line)
    return UpdateError(f"{line} ({'; '.join(told)})" if told else line, kind)


def _text(content: bytes, file: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{file}: is not UTF-8, at byte {error.start}") from None


@contextmanager
def _one_writer(file: Path) -> Iterator[None]:
    """Of the rollouts of a stack's models one at a time writes its file."""
    try:
        folder = os.open(file.resolve().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigurationError(f"{error.filename}: {error.strerror}") from None
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
        os.fsync(folder)
    finally:
        os.close(folder)


def _replace(file: Path, content: bytes) -> None:
    """Put `content` in a file's place at once, with the old one's mode and owner."""
    place = file.resolve()
    partial = place.with_name(f".{place.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        old = place.stat()
        with partial.open("xb") as stream:
            os.fchmod(stream.fileno(), old.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.fchown(stream.fileno(), old.st_uid, old.st_gid)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(place)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigurationError(f"{file}: cannot be written ({error.strerror})") from None
