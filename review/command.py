"""Runs `pulumi preview`, and tells how far it is."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import known_errors
from review.preview import Preview, PreviewError, parse, read_events

_LOOK_SECONDS: Final = 0.5
# Pulumi's exit status where changes were not expected and there are some.
_DRIFTED: Final = 7

Tell = Callable[[str], None]


class CommandError(Exception):
    """There is nothing to preview; the message is one line with the remedy."""


@dataclass(frozen=True)
class Wanted:
    """A preview to run.

    stack: empty for the one that is selected. packs: directories of policy packs. configs: a file
    of configuration for each; where none is given, the `<stack>.json` in each, if all have one.
    plan: where to save the plan that an update can be held to. file: a configuration to take
    instead of the stack's. drift: not what an update would change, but what somebody else has.
    """

    stack: str = ""
    packs: Sequence[Path] = ()
    configs: Sequence[Path] = ()
    plan: Path | None = None
    file: Path | None = None
    drift: bool = False


def run(wanted: Wanted, tell: Tell, directory: Path = Path()) -> tuple[str, Preview]:
    """The stack's name and its preview; how far it is goes to `tell`, a line at a time.

    Raises:
        CommandError: there is no pulumi, no such stack, no passphrase, no such policy pack, or a
            pack's configuration names what the pack does not have.
        PreviewError: Pulumi printed something else than a preview.
    """
    for pack in wanted.packs:
        if not (directory / pack / "PulumiPolicy.yaml").is_file():
            raise CommandError(f"{pack}: is no policy pack (it has no PulumiPolicy.yaml)")
    name = wanted.stack or _selected(directory)
    own = f"Pulumi.{name.rpartition('/')[2]}.yaml"
    if wanted.stack and not wanted.file and not (directory / own).is_file():
        raise CommandError(f"{name}: there is no {own}")
    configs = wanted.configs or _standing(wanted.packs, name, directory)
    for pack, config in zip(wanted.packs, configs, strict=False):
        _check(directory / pack, directory / config)
    with tempfile.TemporaryDirectory(prefix="slipway-preview-") as folder:
        printed, said, log = (Path(folder) / part for part in ("printed", "said", "events"))
        command = ["pulumi", "preview", "--non-interactive", "--json", "--show-sames"]
        if wanted.drift:
            command[1:2] = ["refresh", "--preview-only", "--expect-no-changes"]
        command += ["--stack", name, "--event-log", str(log)]
        for pack in wanted.packs:
            command += ["--policy-pack", str(pack)]
        for config in configs:
            command += ["--policy-pack-config", str(config)]
        if wanted.file:
            command += ["--config-file", str(wanted.file.resolve())]
        if wanted.plan:
            command += ["--save-plan", str(wanted.plan.resolve())]
        watch = _Watch(log)
        status = _run(command, directory, printed, said, lambda: tell(watch.look() or "starting"))
        complaint = said.read_text(errors="replace").strip()
        text = printed.read_text(errors="replace")
        if status and not text.strip():
            _known(complaint, name)
        events = read_events(log.read_text(errors="replace").splitlines()) if log.exists() else []
        failed = status not in (0, _DRIFTED if wanted.drift else 0)
        found = parse(text, events, failed=failed, said=complaint)
        if wanted.drift and found.complete and not found.steps:
            raise CommandError(f"{name}: nothing is deployed in this stack yet; `pulumi up` first")
        return name, found


def _standing(packs: Sequence[Path], stack: str, directory: Path) -> list[Path]:
    found = [pack / f"{stack.rpartition('/')[2]}.json" for pack in packs]
    # Pulumi takes one for each pack or none at all.
    return found if all((directory / one).is_file() for one in found) else []


def _check(pack: Path, config: Path) -> None:
    """Raise CommandError if the pack has a program `check.py` and that finds a fault in `config`.

    Pulumi finds it too, but may leave out its name.
    """
    if not (program := pack / "check.py").is_file():
        return
    done = subprocess.run(
        [sys.executable, str(program), str(config)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise CommandError("; ".join(done.stderr.splitlines()) or f"{config}: was not accepted")


def _selected(directory: Path) -> str:
    done = _start(
        ["pulumi", "stack", "--show-name", "--non-interactive"],
        directory,
        subprocess.PIPE,
        subprocess.PIPE,
    )
    out, err = done.communicate()
    if done.returncode:
        complaint = err.decode(errors="replace").strip()
        _known(complaint, "the selected one")
        raise CommandError(_last(complaint))
    return out.decode().strip()


def _run(
    command: list[str], directory: Path, printed: Path, said: Path, look: Callable[[], None]
) -> int:
    with printed.open("wb") as out, said.open("wb") as err:
        process = _start(command, directory, out, err)
        try:
            while True:
                try:
                    return process.wait(_LOOK_SECONDS)
                except subprocess.TimeoutExpired:
                    look()
        except KeyboardInterrupt:
            # Pulumi got it too, and gives the stack's lock back.
            process.wait(60)
            raise


def _start(
    command: list[str], directory: Path, out: IO[bytes] | int, err: IO[bytes] | int
) -> subprocess.Popen[bytes]:
    # The log of events is for those who build on Pulumi, as its Automation API does.
    environment = {**os.environ, "PULUMI_DEBUG_COMMANDS": "true"}
    try:
        return subprocess.Popen(
            command,
            cwd=directory,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
        )
    except FileNotFoundError:
        raise CommandError(f"pulumi: is not on PATH; {known_errors.REMEDY}") from None


def _known(complaint: str, stack: str) -> None:
    """Raise CommandError if it is a mistake that its maker can mend."""
    if mistake := known_errors.mistake(complaint, stack):
        raise CommandError(mistake)
    if told := known_errors.hints(complaint):
        raise CommandError(f"{_last(complaint)} ({'; '.join(told)})")


def _last(complaint: str) -> str:
    lines = [line for line in complaint.splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "pulumi failed and did not say why"


class _Watch:
    """Counts what a log of events says, reading each line of it once."""

    def __init__(self, log: Path) -> None:
        self._log, self._read = log, 0
        self._seen = self._changing = 0

    def look(self) -> str:
        """How far the preview is; empty before it has begun."""
        try:
            with self._log.open("rb") as stream:
                stream.seek(self._read)
                # The last line may not be whole yet.
                whole = stream.read().rpartition(b"\n")[0]
        except OSError:
            return ""
        self._read += len(whole) + bool(whole)
        for event in read_events(whole.decode(errors="replace").split("\n")):
            if found := event.get("resourcePreEvent"):
                self._seen += 1
                op = (found.get("metadata") or {}).get("op")
                self._changing += op not in ("same", "read", "refresh")
        if not self._seen:
            return ""
        return f"{self._seen} resources looked at, {self._changing} to change"


class Progress:
    """Says how far a preview is: on one line of a terminal, elsewhere a line every so often."""

    def __init__(self, seconds: float = 15.0) -> None:
        self._seconds, self._start = seconds, time.monotonic()
        self._said, self._live = self._start, sys.stderr.isatty()

    def __call__(self, line: str) -> None:
        now = time.monotonic()
        if self._live:
            print(
                f"\r\x1b[K  {now - self._start:.0f} s: {line}", end="", file=sys.stderr, flush=True
            )
        elif now - self._said >= self._seconds:
            self._said = now
            print(f"  {now - self._start:.0f} s: {line}", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the terminal's line as it was."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


__all__ = ["CommandError", "PreviewError", "Progress", "Wanted", "run"]
