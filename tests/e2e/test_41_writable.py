"""What a pod's user can write to: the whole file system is walked, from inside."""

from __future__ import annotations

import pytest

from tests.e2e.harness import Walk, until

WRITABLE = """
import json, os, stat, sys
found = {}
def attempt(path, directory):
    try:
        if directory:
            name = os.path.join(path, ".slipway-probe")
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
            os.unlink(name)
        else:
            os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY))
        return True
    except OSError:
        return False
seen = 0
def walk(path):
    global seen
    try:
        entries = list(os.scandir(path))
    except OSError:
        return
    for entry in entries:
        seen += 1
        # A process' own entries, which are the pod's user's.
        if path == "/proc" and (entry.name.isdigit() or entry.name in ("self", "thread-self")):
            continue
        seen_as = entry.stat(follow_symlinks=False)
        mode = seen_as.st_mode
        if stat.S_ISLNK(mode):
            continue
        kind = "file"
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            number = f"{os.major(seen_as.st_rdev)}:{os.minor(seen_as.st_rdev)}"
            kind = ("character " if stat.S_ISCHR(mode) else "block ") + number
        if stat.S_ISDIR(mode):
            if attempt(entry.path, True):
                found[entry.path] = "directory"
            else:
                walk(entry.path)
        elif attempt(entry.path, False):
            found[entry.path] = kind
if attempt("/", True):
    found["/"] = "directory"
walk("/")
mounts = {words[1]: words[2] for words in map(str.split, open("/proc/mounts"))}
print(json.dumps({"found": found, "seen": seen, "mounts": mounts}))
"""
# What every container has: memory that counts against its limit, its last words, the kernel's
# alarms, and devices that hold nothing.
PSEUDO = {"/dev/shm": "directory", "/dev/mqueue": "directory", "/dev/termination-log": "file"}
PSEUDO |= {f"/proc/pressure/{kind}": "file" for kind in ("cpu", "io", "irq", "memory")}
# null (which also hides some of /proc), zero, full, random, urandom, tty, ptmx: by their numbers,
# for a name says nothing.
DEVICES = {f"character {number}" for number in ("1:3", "1:5", "1:7", "1:8", "1:9", "5:0", "5:2")}


@pytest.mark.parametrize(
    ("namespace", "selector", "scratch"),
    [
        ("models", "slipway.dev/model=churn,slipway.dev/version=1", {"/tmp"}),
        ("models", "slipway.dev/model=churn,slipway.dev/version=2", {"/tmp"}),
        ("mlflow", "app.kubernetes.io/name=mlflow", {"/tmp", "/data"}),
    ],
)
def test_a_pod_writes_to_its_volumes_alone(
    walk: Walk, namespace: str, selector: str, scratch: set[str]
) -> None:
    """The whole file system is walked as the pod's user."""
    pod = until(
        f"a pod of {selector}",
        lambda: next(
            (
                it["metadata"]["name"]
                for it in walk.objects("pods", namespace, selector)
                if it["status"].get("containerStatuses", [{}])[0].get("ready")
            ),
            None,
        ),
    )
    seen = walk.python(namespace, pod, WRITABLE)
    assert seen["seen"] > 5_000, "the walk saw next to nothing"
    assert {seen["mounts"][place] for place in ("/dev/shm", "/dev/mqueue")} <= {"tmpfs", "mqueue"}
    found = seen["found"]
    kept = {
        path: kind
        for path, kind in found.items()
        if kind not in DEVICES and PSEUDO.get(path) != kind
    }
    assert kept == dict.fromkeys(scratch, "directory"), kept
