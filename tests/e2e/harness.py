"""What the end-to-end tests share: an instance of their own, requests, load, and its processes.

The instance is called `test`. It runs from a copy of the project's files with a state of its own,
so it meets neither a running `make up` nor its configuration; it shares the read-only tools.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import http.client
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import httpx
import pytest
import yaml

from local import venv

ROOT = Path(__file__).resolve().parents[2]
NAME = "test"
PORTS = {"gateway": 18080, "mlflow": 15001, "prometheus": 19090, "registry": 15000, "api": 16443}
GATEWAY = f"http://127.0.0.1:{PORTS['gateway']}"
MLFLOW = f"http://127.0.0.1:{PORTS['mlflow']}"
PROMETHEUS = f"http://127.0.0.1:{PORTS['prometheus']}"
CHURN = f"{GATEWAY}/models/churn/invocations"
BODY = (ROOT / "docs/churn-request.json").read_bytes()
JSON_TYPE = {"content-type": "application/json"}
# On a disk, not in memory, and always the same: what a killed run left is found by the next.
HOME = Path("/var/tmp/slipway-e2e")  # noqa: S108  made for the user alone, see `claim`

T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """A command that ended: `text` is what it printed on both streams, `out` on the first."""

    code: int
    out: str
    text: str
    seconds: float

    def lines(self, start: str) -> list[str]:
        """The printed lines that begin with `start`, after spaces."""
        return [line.strip() for line in self.text.splitlines() if line.strip().startswith(start)]


def run(
    command: Sequence[str],
    env: Mapping[str, str],
    *,
    cwd: Path = ROOT,
    stdin: str = "",
    seconds: float = 120,
    check: bool = True,
) -> Done:
    """Run a command in a session of its own; all that is left of it is killed when it is not
    done in time, or the test run is stopped.

    Raises AssertionError with what it printed if it fails and `check` is true.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin, timeout=seconds)
    except BaseException as error:
        _end_session(process.pid)
        out, err = process.communicate()
        shown = " ".join(command)
        if isinstance(error, subprocess.TimeoutExpired):
            raise AssertionError(
                f"`{shown}` is not done after {seconds:.0f} s:\n{tail(out + err)}"
            ) from None
        raise
    done = Done(process.returncode, out, out + err, time.monotonic() - start)
    if check and done.code:
        raise AssertionError(
            f"`{' '.join(command)}` failed with status {done.code}:\n{tail(done.text)}"
        )
    return done


def _end_session(session: int) -> None:
    for pid in process_ids():
        try:
            if os.getsid(pid) == session:
                os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def tail(text: str, count: int = 60) -> str:
    """The last lines of a text."""
    return "\n".join(text.rstrip().splitlines()[-count:])


def plain_environment() -> dict[str, str]:
    """The environment less what belongs to another instance, cluster, stack, or run of make."""
    drop = (
        "PULUMI_ SLIPWAY_ MLFLOW_ AWS_ KUBE DOCKER_ BUILDX_ MAKE MFLAGS PYTEST_ PYTHON VIRTUAL_ENV"
    )
    keep = {
        key: value for key, value in os.environ.items() if not key.startswith(tuple(drop.split()))
    }
    if "SLIPWAY_CACHE" in os.environ:
        keep["SLIPWAY_CACHE"] = os.environ["SLIPWAY_CACHE"]
    return keep


def until(what: str, probe: Callable[[], T | None], seconds: float = 60, pause: float = 0.3) -> T:
    """What `probe` returns as soon as that is neither None nor false.

    Raises AssertionError naming `what` if it does not come within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(pause)


def ready(found: Mapping[str, Any]) -> bool:
    """Whether a pod takes requests, or a node pods."""
    return any(
        condition["type"] == "Ready" and condition["status"] == "True"
        for condition in found["status"].get("conditions", [])
    )


class Walk:
    """The instance `test`, or one of another name with ports of its own: the copy of the project it
    runs from, and its commands.
    """

    def __init__(
        self, home: Path = HOME, name: str = NAME, ports: Mapping[str, int] | None = None
    ) -> None:
        self.home = home
        self.name = name
        self.project = home / "project"
        self.state = home / "state" / name
        self.environment = plain_environment() | {
            "SLIPWAY_INSTANCE": name,
            "SLIPWAY_STATE": str(home / "state"),
            **{f"SLIPWAY_PORT_{key.upper()}": str(port) for key, port in (ports or {}).items()},
        }
        self.up = Done(-1, "", "", 0)
        self.notes: list[str] = []
        self._claim = -1

    # Coming and going

    def claim(self) -> None:
        """Make the directory, for this run alone. The claim ends with this process.

        Fails if another run has it, or it is somebody else's.
        """
        self.home.mkdir(mode=0o700, exist_ok=True)
        found = self.home.lstat()
        if self.home.is_symlink() or found.st_uid != os.geteuid():
            pytest.fail(f"{self.home}: belongs to user {found.st_uid}; remove it", pytrace=False)
        self._claim = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pytest.fail(f"{self.home}: another run of these tests is under way", pytrace=False)

    def copy(self) -> None:
        """Copy what git would: the files as they are, but no stack that belongs to a person.

        Fails if `.venv`, which the copy shares, does not hold what the files ask for:
        `up` would make it anew while these tests run from it. So does the policy pack's.
        """
        if not (ROOT / "policies/.venv/complete").exists():
            pytest.fail("policies/.venv: not there; run `make policies`", pytrace=False)
        pins = (ROOT / "requirements.txt").read_bytes() + venv.UV_VERSION.encode()
        stamp = ROOT / ".venv/.requirements"
        if not stamp.exists() or stamp.read_text() != hashlib.sha256(pins).hexdigest():
            pytest.fail(".venv: not of these requirements.txt; run `make tools`", pytrace=False)
        shutil.rmtree(self.project, ignore_errors=True)
        listed = run(["git", "ls-files", "-coz", "--exclude-standard"], os.environ).out
        for name in filter(None, listed.split("\0")):
            source, target = ROOT / name, self.project / name
            if source.exists() and not (name.startswith("Pulumi.") and name.count(".") > 1):
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        committed = run(["git", "show", "HEAD:Pulumi.dev.yaml"], os.environ).out
        self.stack_file.write_text(committed)
        for folder in (".venv", "policies/.venv"):
            (self.project / folder).symlink_to(ROOT / folder)
        self.local("tools")

    def remove(self) -> None:
        """End the instance and forget its files, whatever state they are in."""
        if (self.project / "local").exists():
            print(self.local("down", check=False).text)
        shutil.rmtree(self.home / "state", ignore_errors=True)
        shutil.rmtree(self.project, ignore_errors=True)

    # Commands

    @property
    def stack_file(self) -> Path:
        """The configuration of stack `dev` in the copy."""
        return self.project / "Pulumi.dev.yaml"

    def local(
        self,
        *arguments: str,
        check: bool = True,
        seconds: float = 120,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Run `python3 -m local …` in the copy, as the Makefile does."""
        command = ["python3", "-m", "local", *arguments]
        environment = self.environment | dict(env or {})
        return run(command, environment, cwd=self.project, seconds=seconds, check=check)

    def kill_up(self, resource: str) -> None:
        """Start `up` and kill it, and Pulumi with it, while it creates `resource`."""
        log = self.project / "killed-up.log"
        with log.open("w") as file:
            process = subprocess.Popen(
                ["python3", "-m", "local", "up"],
                cwd=self.project,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            deadline = time.monotonic() + 300
            while not re.search(rf"{resource} creating", log.read_text()):
                assert process.poll() is None, f"up ended early:\n{tail(log.read_text())}"
                assert time.monotonic() < deadline, f"no {resource}:\n{tail(log.read_text())}"
                time.sleep(0.1)
            _end_session(process.pid)
            process.wait()

    def enter(self) -> None:
        """Take over what `make env` prints, as `eval "$(make -s env)"` does."""
        for line in self.local("env").out.splitlines():
            name, _, value = line.removeprefix("export ").partition("=")
            self.environment[name] = shlex.split(value)[0]

    def pulumi(
        self, *arguments: str, check: bool = True, seconds: float = 120, stack: str = "dev"
    ) -> Done:
        """Run pulumi on a stack of the copy."""
        command = ["pulumi", *arguments, "--stack", stack, "--non-interactive"]
        return run(command, self.environment, cwd=self.project, seconds=seconds, check=check)

    def kubectl(self, *arguments: str, check: bool = True, seconds: float = 60) -> Done:
        """Run kubectl against the instance."""
        command = ["kubectl", "--context", "slipway", *arguments]
        return run(command, self.environment, seconds=seconds, check=check)

    def objects(self, kind: str, namespace: str, selector: str = "") -> list[dict[str, Any]]:
        """The objects of a kind in a namespace, those with the labels of `selector`."""
        done = self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        items: list[dict[str, Any]] = json.loads(done.out)["items"]
        return items

    def pods(self, version: int) -> dict[str, dict[str, Any]]:
        """The pods that serve a version of churn, by name, without those that are going."""
        selector = f"slipway.dev/model=churn,slipway.dev/version={version}"
        return {
            pod["metadata"]["name"]: pod
            for pod in self.objects("pods", "models", selector)
            if "deletionTimestamp" not in pod["metadata"]
        }

    def servers(self, version: int, seconds: float = 120) -> dict[str, dict[str, Any]]:
        """As `pods`, once there are two at least and all of them take requests.

        A deployment or a scaler may be about to replace one, or to add one, at any time.
        """

        def settled() -> dict[str, dict[str, Any]] | None:
            found = self.pods(version)
            return found if len(found) > 1 and all(map(ready, found.values())) else None

        return until(f"two servers of version {version}, all ready", settled, seconds)

    def python(self, namespace: str, pod: str, code: str, *arguments: str) -> Any:
        """Run Python in a pod and return the JSON it prints."""
        words = ["exec", "-n", namespace, pod, "--", "python", "-c", code, *arguments]
        return json.loads(self.kubectl(*words).out)

    def weight(self) -> int | None:
        """The canary's weight in the configuration; None where there is no canary."""
        config = yaml.safe_load(self.stack_file.read_text())["config"]
        canary = config["slipway:models"]["churn"].get("canary")
        return canary["weight"] if canary else None

    def set_weight(self, weight: int) -> None:
        """Write the canary's weight, as the README says."""
        path = "slipway:models.churn.canary.weight"
        self.pulumi("config", "set", "--path", path, str(weight))

    def deploy(self, *arguments: str) -> Done:
        """`pulumi up`."""
        return self.pulumi("up", "--yes", "--skip-preview", *arguments, seconds=240)

    def note(self, line: str) -> None:
        """Have a line printed at the end of the test run."""
        self.notes.append(line)

    # Processes and what else the machine has of the instance

    def process(self, name: str) -> int | None:
        """The id of the instance's process that runs the program `name`, None if none does."""
        found = [
            pid
            for pid, words in processes().items()
            if Path(words[0]).name == name and any(str(self.state) in word for word in words[1:])
        ]
        assert len(found) < 2, f"{name}: processes {found}"
        return found[0] if found else None

    def container(self, pod: Mapping[str, Any]) -> int:
        """The id on this machine of the first process of a pod's only container."""
        statuses = pod["status"]["containerStatuses"]
        assert len(statuses) == 1
        container = statuses[0]["containerID"].removeprefix("containerd://")
        for pid in processes():
            try:
                groups = Path(f"/proc/{pid}/cgroup").read_text()
                status = Path(f"/proc/{pid}/status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            inner = status.split("NSpid:")[1].splitlines()[0].split()
            if container in groups and inner[-1] == "1":
                assert f"slipway-{self.name}/" in groups, groups
                return pid
        raise AssertionError(f"no process of container {container}")

    def diagnosis(self, what: str = "") -> str:
        """What to look at after a failure: the ends of the node's logs, events, pods. It is short,
        and says again and again `what` failed: of a long log, people may be shown any part.
        """
        found = []
        for log in sorted((self.state / "logs").glob("*.log")):
            lines = log.read_text(errors="replace")[-20000:].splitlines()
            found.append((log.name, "\n".join(line[:160] for line in lines[-3:])))
        events = "custom-columns=AT:.lastTimestamp,OF:.involvedObject.name,TOLD:.message"
        for words in (
            ["get", "events", "-A", "--sort-by=.lastTimestamp", "-o", events],
            ["get", "pods", "-A", "-o", "wide"],
        ):
            try:
                text = self.kubectl(*words, check=False, seconds=20).text
            except (AssertionError, OSError) as error:
                text = str(error)
            lines = text.rstrip().splitlines()[-35:]
            found.append((f"kubectl get {words[1]}", "\n".join(line[:160] for line in lines)))
        again = f" · {' '.join(what.split())[:300]}" if what else ""
        return "\n".join(f"--- {name}{again}\n{text}" for name, text in found)


def process_ids() -> list[int]:
    """The ids of all processes of this machine."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def processes() -> dict[int, list[str]]:
    """Every process that has a command line: its id, and the words of that."""
    found = {}
    for pid in process_ids():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if words.strip("\0"):
            found[pid] = words.rstrip("\0").split("\0")
    return found


def cgroups(name: str) -> list[Path]:
    """The directories of this name in the roots of all hierarchies of cgroups."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    places = [Path(words[1]) / name for words in mounts if words[2] in ("cgroup", "cgroup2")]
    return [place for place in places if place.exists()]


def namespaces(pids: Iterable[int]) -> set[str]:
    """The network and mount namespaces that these processes are in."""
    found = set()
    for pid in pids:
        for kind in ("net", "mnt"):
            # A process that has ended since is in none; one of a stricter sandbox is not ours.
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
    return found


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def firewall() -> list[str]:
    """The host's iptables rules, without the counters and the times."""
    tool = ROOT / ".slipway/bin/iptables-save"
    text = run([str(tool) if tool.exists() else "iptables-save"], plain_environment()).out
    rules = [line.split(" [")[0] for line in text.splitlines() if not line.startswith("#")]
    return sorted(rules)


# Requests


@dataclass(frozen=True)
class Answer:
    """What one request came to: `reason` is empty for a prediction."""

    at: float
    seconds: float
    status: int
    version: str
    reason: str


def ask(
    client: httpx.Client, url: str, body: bytes, headers: Mapping[str, str] | None = None
) -> Answer:
    """Send one prediction request; whatever happens is in the answer."""
    start = time.monotonic()
    status, version, reason = 0, "none", ""
    try:
        answer = client.post(url, content=body, headers=JSON_TYPE | dict(headers or {}))
        status, version = answer.status_code, answer.headers.get("x-model-version", "none")
        if status != 200:
            reason = f"HTTP {status} {answer.text[:200]}"
        elif "predictions" not in answer.json():
            reason = f"no predictions: {answer.text[:200]}"
    except (httpx.HTTPError, ValueError) as error:
        reason = f"{type(error).__name__} {error}"
    return Answer(start, time.monotonic() - start, status, version, reason)


def http_client(*, verify: bool = True) -> httpx.Client:
    """A client that takes nothing from the environment. verify: whether a certificate has to be
    right.
    """
    return httpx.Client(timeout=15, trust_env=False, verify=verify)


def raw(
    method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    """Send a request through the gateway whose path goes out as it is, byte for byte."""
    connection = http.client.HTTPConnection("127.0.0.1", PORTS["gateway"], timeout=15)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in {**(headers or {}), "content-length": str(len(body))}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        text = answer.read().decode(errors="replace")
        return answer.status, {key.lower(): value for key, value in answer.getheaders()}, text
    finally:
        connection.close()


@dataclass
class Load:
    """Steady requests from a few threads while the block runs; every answer is kept.

    One thread opens a new connection for each request, the others keep theirs.
    """

    url: str = CHURN
    body: bytes = BODY
    per_second: float = 40
    workers: int = 4
    verify: bool = True
    answers: list[Answer] = field(default_factory=list)

    def __enter__(self) -> Load:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._start = self._next = time.monotonic()
        self._threads = [
            threading.Thread(target=self._work, args=(number == 0,), daemon=True)
            for number in range(self.workers)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self.seconds = time.monotonic() - self._start

    def _work(self, afresh: bool) -> None:
        client = http_client(verify=self.verify)
        while not self._stop.is_set():
            with self._lock:
                # Late slots are left out: a stall must not be followed by a burst.
                slot = self._next = max(self._next + 1 / self.per_second, time.monotonic())
            if self._stop.wait(slot - time.monotonic()):
                break
            if afresh:
                client.close()
                client = http_client(verify=self.verify)
            answer = ask(client, self.url, self.body)
            with self._lock:
                self.answers.append(answer)
        client.close()

    def versions(self, since: float = 0) -> Counter[str]:
        """How many predictions each version gave, of the requests sent after `since`."""
        return Counter(a.version for a in self.answers if not a.reason and a.at >= since)

    def assert_no_failure(self) -> None:
        """Fail, listing when and why, if a request did; or if there was no load to speak of."""
        bad = [answer for answer in self.answers if answer.reason]
        listed = "\n".join(f"  {a.at - self._start:6.2f} s: {a.reason}" for a in bad[:10])
        assert not bad, f"{len(bad)} of {len(self.answers)} requests failed:\n{listed}"
        assert len(self.answers) >= self.seconds * self.per_second / 3, (
            f"only {len(self.answers)} requests in {self.seconds:.1f} s"
        )


def send(count: int, body: bytes = BODY, headers: Mapping[str, str] | None = None) -> Counter[str]:
    """Send `count` requests as fast as four connections go; how many each version answered.

    Raises AssertionError if one failed.
    """
    tickets = iter(range(count))
    lock = threading.Lock()
    answers: list[Answer] = []

    def work() -> None:
        with http_client() as client:
            while True:
                with lock:
                    if next(tickets, None) is None:
                        return
                answer = ask(client, CHURN, body, headers)
                with lock:
                    answers.append(answer)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    bad = [answer.reason for answer in answers if answer.reason]
    assert not bad, f"{len(bad)} of {count} requests failed: {bad[:5]}"
    assert len(answers) == count
    return Counter(answer.version for answer in answers)
