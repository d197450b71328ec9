"""The journal's file, orders and the lease, tried with processes that race and are killed."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rollout.adapters.lease import LEASE, locked
from rollout.adapters.store import JOURNAL, LeaseHeldError, Store, StoreError

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "rollouts/dev/churn")


def python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """A process of its own, which prints when it is ready."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=PROJECT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


HOLD = """
import sys
from pathlib import Path
from rollout.adapters.store import Store
Store(Path(sys.argv[1])).lease("eve@elsewhere pid 1", float(sys.argv[2])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def test_reading_makes_nothing(store: Store) -> None:
    assert store.entries() == []
    assert store.orders() == []
    assert store.take_order() is None
    assert not store.directory.exists()


def test_entries_are_read_back_with_number_and_time(store: Store) -> None:
    before = time.time()
    first = store.append({"kind": "begin", "name": "Ünïcode\n"})
    second = store.append({"kind": "end", "seq": 99})
    assert [first["seq"], second["seq"]] == [1, 2]
    assert before - 0.001 <= first["at"] <= second["at"] <= time.time() + 0.001
    assert Store(store.directory).entries() == [first, second]
    assert Store(store.directory).append({})["seq"] == 3
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE((store.directory / JOURNAL).stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 2, 10, 25])
def test_a_torn_last_line_is_cut_off_and_never_merged(store: Store, cut: int) -> None:
    first = store.append({"kind": "begin"})
    store.append({"kind": "act", "what": "x" * 20})
    journal = store.directory / JOURNAL
    torn = journal.read_bytes()[:-cut]
    for reader in (store, Store(store.directory)):
        journal.write_bytes(torn)
        assert reader.entries() == [first]
        again = reader.append({"kind": "act"})
        assert again["seq"] == 2
        assert reader.entries() == [first, again]
        assert journal.read_bytes().count(b"\n") == 2


@pytest.mark.parametrize("bad", ["{", "[]", '{"seq": 2}', '{"seq": "2", "at": 1}', "\0\0", ""])
def test_a_bad_line_is_named(store: Store, bad: str) -> None:
    store.append({"kind": "begin"})
    journal = store.directory / JOURNAL
    text = journal.read_text()
    journal.write_text(f"{text}{bad}\n" + text.replace('"seq":1', '"seq":3'))
    for call in (store.entries, Store(store.directory).entries, lambda: store.append({})):
        with pytest.raises(StoreError, match=rf"{JOURNAL}, line 2: is no entry") as error:
            call()
        assert "\n" not in str(error.value)
    assert len(journal.read_text().splitlines()) == 3


def test_an_entry_that_comes_twice_is_named(store: Store) -> None:
    store.append({"kind": "begin"})
    journal = store.directory / JOURNAL
    journal.write_text(journal.read_text() * 2)
    with pytest.raises(StoreError, match="line 2: entry 1 comes after entry 1"):
        store.entries()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for call in (
        lambda: Store(tmp_path / "file/churn").append({}),
        lambda: Store(tmp_path / "file/churn").order("pause"),
    ):
        with pytest.raises(StoreError, match="file/churn: Not a directory"):
            call()
    with pytest.raises(StoreError, match="No space left on device"):
        full = Store(tmp_path / "full")
        full.append({})
        (tmp_path / "full" / JOURNAL).unlink()
        (tmp_path / "full" / JOURNAL).symlink_to("/dev/full")
        Store(tmp_path / "full").append({})


def test_a_writer_that_is_killed_leaves_whole_entries(store: Store) -> None:
    code = """
import sys
from pathlib import Path
from rollout.adapters.store import Store
store = Store(Path(sys.argv[1]))
print(flush=True)
while True:
    store.append({"kind": "look", "fill": "y" * 3000})
"""
    writer = python(code, store.directory)
    assert writer.stdout
    writer.stdout.readline()
    time.sleep(0.3)
    writer.kill()
    writer.wait()
    found = store.entries()
    assert found
    last = store.append({"kind": "end"})
    assert [entry["seq"] for entry in store.entries()] == list(range(1, len(found) + 2))
    assert store.entries()[-1] == last


def test_two_writers_share_one_row_of_numbers(store: Store) -> None:
    code = """
import sys
from pathlib import Path
from rollout.adapters.store import Store
store = Store(Path(sys.argv[1]))
for _ in range(60):
    store.append({"by": sys.argv[2]})
"""
    writers = [python(code, store.directory, name) for name in ("a", "b")]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    found = store.entries()
    assert [entry["seq"] for entry in found] == list(range(1, 121))
    assert sorted(entry["by"] for entry in found) == ["a"] * 60 + ["b"] * 60


def test_the_lease_is_refused_while_it_is_held(store: Store) -> None:
    holder = store.lease("ada@here pid 1")
    with holder:
        with pytest.raises(LeaseHeldError) as error:
            store.lease("bob@here pid 2").acquire()
        assert error.value.holder == "ada@here pid 1"
        assert error.value.since <= time.time() <= error.value.until <= time.time() + 30
        assert str(error.value).startswith("the lease is ada@here pid 1's since ")
        holder.renew()
        holder.acquire()
    with store.lease("bob@here pid 2"):
        pass
    assert not (store.directory / LEASE).exists()


def test_a_lease_is_taken_over_when_its_time_is_over(store: Store) -> None:
    old, new = store.lease("ada", seconds=0.05), store.lease("bob")
    old.acquire()
    time.sleep(0.06)
    old.renew()  # nobody took it, so it is still ada's
    time.sleep(0.06)
    new.acquire()
    with pytest.raises(LeaseHeldError, match=r"is bob's .* must not go on"):
        old.renew()
    old.release()
    assert json.loads((store.directory / LEASE).read_text())["owner"] == "bob"
    new.release()
    with pytest.raises(LeaseHeldError, match="nobody's"):
        new.renew()


def test_the_lease_of_a_killed_process_is_free_at_once(store: Store) -> None:
    holder = python(HOLD, store.directory, 3600)
    assert holder.stdout
    holder.stdout.readline()
    with pytest.raises(LeaseHeldError, match="eve@elsewhere"):
        store.lease("ada").acquire()
    os.kill(holder.pid, signal.SIGSTOP)
    with pytest.raises(LeaseHeldError):  # stopped is not gone
        store.lease("ada").acquire()
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet reaped
    with store.lease("ada"):
        pass
    holder.wait()


def test_a_pid_that_was_given_to_another_process_holds_nothing(store: Store) -> None:
    lease = store.lease("ada")
    lease.acquire()
    content = json.loads((store.directory / LEASE).read_text())
    content["process"]["started"] = "1"
    (store.directory / LEASE).write_text(json.dumps(content))
    store.lease("bob").acquire()


def test_a_process_of_another_machine_is_left_its_time(store: Store) -> None:
    store.lease("ada").acquire()
    content = json.loads((store.directory / LEASE).read_text())
    content["process"] |= {"machine": "elsewhere", "pid": 2**22 + 1}
    (store.directory / LEASE).write_text(json.dumps(content))
    with pytest.raises(LeaseHeldError):
        store.lease("bob").acquire()
    (store.directory / LEASE).write_text(json.dumps(content | {"expires": time.time() - 1}))
    store.lease("bob").acquire()


def test_of_many_processes_at_once_one_gets_the_lease(store: Store) -> None:
    code = """
import sys, time
from pathlib import Path
from rollout.adapters.store import LeaseHeldError, Store
lease = Store(Path(sys.argv[1])).lease(sys.argv[2])
print(flush=True)
sys.stdin.readline()
try:
    lease.acquire()
except LeaseHeldError:
    print("refused", flush=True)
else:
    print("held", flush=True)
sys.stdin.read()
"""
    racers = [python(code, store.directory, number) for number in range(6)]
    for racer in racers:
        assert racer.stdout
        racer.stdout.readline()
    for racer in racers:
        assert racer.stdin
        racer.stdin.write("\n")
        racer.stdin.flush()
    said = [racer.stdout.readline().strip() for racer in racers if racer.stdout]
    for racer in racers:
        racer.communicate()
    assert sorted(said) == ["held"] + ["refused"] * 5


def test_a_lock_that_is_not_let_go_of_is_an_error_and_not_for_ever(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rollout.adapters.lease._LOCK_SECONDS", 0.05)
    store.append({})
    with (
        locked(store.directory),
        pytest.raises(StoreError, match="lock: another process has had it for 0.05 seconds"),
    ):
        store.append({})
    assert store.append({})["seq"] == 2


def test_orders_are_taken_once_and_in_their_order(store: Store) -> None:
    names = ["pause", "resume", "promote", "rollback", "approve"]
    for name in names:
        store.order(name, by="ada", gate="")
    assert [order["order"] for order in store.orders()] == names
    taken = []
    while order := store.take_order():
        taken.append((order["order"], order["by"]))
    assert taken == [(name, "ada") for name in names]
    assert store.orders() == []


def test_orders_keep_their_order_when_the_clock_goes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter([200, 100, 100])
    monkeypatch.setattr("rollout.adapters.store.time.time_ns", lambda: next(times))
    for name in ("pause", "resume", "promote"):
        store.order(name)
    assert [order["order"] for order in store.orders()] == ["pause", "resume", "promote"]


def test_what_is_no_order_does_not_stop_the_others(store: Store) -> None:
    store.order("pause")
    (store.directory / "orders/00000000000000000001.json").write_text("{")
    (store.directory / "orders/notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="is no order; remove it"):
        store.orders()
    found = store.take_order()
    assert found
    assert found["order"] == "pause"
    assert store.take_order() is None


def test_two_takers_share_the_orders(store: Store) -> None:
    code = """
import sys
from pathlib import Path
from rollout.adapters.store import Store
store = Store(Path(sys.argv[1]))
print(flush=True)
sys.stdin.readline()
while order := store.take_order():
    print(order["number"])
"""
    for number in range(40):
        store.order("approve", number=number)
    takers = [python(code, store.directory) for _ in range(2)]
    for taker in takers:
        assert taker.stdout
        taker.stdout.readline()
    taken = [taker.communicate("\n")[0].split() for taker in takers]
    assert sorted(int(number) for part in taken for number in part) == list(range(40))
    assert all([int(n) for n in part] == sorted(int(n) for n in part) for part in taken)
