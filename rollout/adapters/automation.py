"""Pulumi's Automation API, with commands that are bounded in time and outlive this process.

What it prints goes to files and not to pipes. Were this process killed, a pipe would break, and the
next line printed would kill an update half done; so it is finished, and its lock tells of it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Final

from pulumi import automation
from pulumi.automation import CommandResult, InvalidVersionError, PulumiCommand

__all__ = ["Automation", "CommandError", "HungError", "InvalidVersionError"]

SHORT_SECONDS: Final = 60.0
GRACE_SECONDS: Final = 60.0
_LOOK_SECONDS: Final = 0.1


class CommandError(automation.CommandError):
    """A command failed; `result` holds what it printed."""

    def __init__(self, result: CommandResult) -> None:
        super().__init__(result)
        self.result = result


class HungError(Exception):
    """A command took longer than it may, and was interrupted."""


class Automation:
    """The Automation API for the project in `directory`, in the ambient environment.

    Its methods raise `CommandError` and `HungError`.

    Raises:
        FileNotFoundError: there is no pulumi on PATH.
        InvalidVersionError: it is too old for the Automation API.
    """

    def __init__(self, directory: Path) -> None:
        self._process = PulumiProcess(SHORT_SECONDS)
        self._workspace = _Workspace(str(directory), pulumi_command=self._process)

    def run(self, *args: str, seconds: float = SHORT_SECONDS) -> str:
        """What a command prints to its standard output."""
        self._process.seconds = seconds
        return self._process.run(list(args), self._workspace.work_dir, {}).stdout

    def up(self, stack: str, seconds: float, log: Callable[[str], None]) -> None:
        """Update the stack without a preview, each line that is printed told to `log`."""
        self._process.seconds = seconds
        automation.Stack.select(stack, self._workspace).up(
            color="never",
            suppress_progress=True,
            suppress_outputs=True,
            show_secrets=False,
            on_output=log,
            on_error=log,
        )


class _Workspace(automation.LocalWorkspace):
    def select_stack(self, stack_name: str) -> None:
        # The user's own selection is none of ours: that there is such a stack will do.
        self.pulumi_command.run(
            ["stack", "--show-name", "--stack", stack_name], self.work_dir, self.env_vars
        )


class PulumiProcess(PulumiCommand):
    """Runs pulumi in a session of its own: a signal meant for this process is not pulumi's too.

    Args:
        seconds: what a command may take; may be set anew.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds

    def run(
        self,
        args: list[str],
        cwd: str,
        additional_env: Mapping[str, str],
        on_output: Callable[[str], object] | None = None,
        on_error: Callable[[str], object] | None = None,
    ) -> CommandResult:
        """As its parent's, with the limit of time.

        Raises:
            HungError: the time was over. It was interrupted, which has it end what it does and
                free its lock, and killed where that did not help in GRACE_SECONDS.
            CommandError: it failed.
        """
        environment = {**os.environ, **additional_env, "PULUMI_AUTOMATION_API": "true"}
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = subprocess.Popen(
                [self.command, "--non-interactive", *args],
                cwd=cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
            tails = (_Tail(out, on_output), _Tail(err, on_error))
            try:
                self._watch(process, args, tails)
            finally:
                for tail in tails:
                    tail.look(last=True)
            result = CommandResult(tails[0].text(), tails[1].text(), process.returncode)
        if process.returncode:
            raise CommandError(result)
        return result

    def _watch(
        self, process: subprocess.Popen[bytes], args: list[str], tails: tuple[_Tail, ...]
    ) -> None:
        deadline = time.monotonic() + self.seconds
        try:
            while not _ended(process, _LOOK_SECONDS):
                for tail in tails:
                    tail.look()
                if time.monotonic() > deadline:
                    raise HungError(f"pulumi {args[0]}: was not done in {self.seconds:g} s")
        except BaseException:
            # Interrupted, here or by us: so is the update, in good order.
            _stop(process, tails)
            raise


class _Tail:
    """What is written to a file, handed on line by line as it comes."""

    def __init__(self, file: IO[bytes], tell: Callable[[str], object] | None) -> None:
        self._file, self._tell = file.fileno(), tell
        self._at = 0

    def look(self, last: bool = False) -> None:
        """Hand on the lines that are whole; all of them at the last."""
        if self._tell is None:
            return
        fresh = os.pread(self._file, os.fstat(self._file).st_size - self._at, self._at)
        whole = fresh if last else fresh[: fresh.rfind(b"\n") + 1]
        self._at += len(whole)
        for line in whole.decode(errors="replace").splitlines():
            self._tell(line.rstrip())

    def text(self) -> str:
        size = os.fstat(self._file).st_size
        return os.pread(self._file, size, 0).decode(errors="replace").rstrip("\n")


def _ended(process: subprocess.Popen[bytes], seconds: float) -> bool:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def _stop(process: subprocess.Popen[bytes], tails: tuple[_Tail, ...]) -> None:
    process.send_signal(signal.SIGINT)
    until = time.monotonic() + GRACE_SECONDS
    while not _ended(process, _LOOK_SECONDS):
        for tail in tails:
            tail.look()
        if time.monotonic() > until:
            # Its plugins and the program too.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return
