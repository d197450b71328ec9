"""The server's processes: what happens when one of them dies, hangs or has too much to do."""

import json
import os
import platform
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression

from slipway_runtime.receipt import write_receipt

from .serving import Running, serving

# A pyfunc without MLflow's class: what its folder holds is all there is to load.
MOODY = """
import os, time

class Moody:
    def predict(self, data, params=None):
        mood = str(data.iloc[0, 0])
        if mood == "die":
            os._exit(7)
        if mood == "exit":
            raise SystemExit(1)
        if mood == "orphan":
            os.system("sleep 0.2 & exit 0")
        if mood == "crash":
            os.abort()
        if mood == "hog":
            # Keeps the interpreter to itself for seconds, as no thread switch can end it.
            sum(range(10**8))
        if mood.startswith("sleep"):
            time.sleep(float(mood[5:]))
        return [os.getpid()]

def _load_pyfunc(path):
    return Moody()
"""
NAMES = ["a", "b"]


@pytest.fixture(scope="module")
def moody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that does what it is told."""
    path = tmp_path_factory.mktemp("moody") / "model"
    (path / "code").mkdir(parents=True)
    (path / "code" / "moody_process_model.py").write_text(MOODY)
    (path / "MLmodel").write_text(
        "flavors:\n  python_function:\n    loader_module: moody_process_model\n    code: code\n"
        f"    python_version: {platform.python_version()}\n"
    )
    return path


@pytest.fixture(scope="module")
def logistic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved logistic regression of two columns."""
    table = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=NAMES)
    model = LogisticRegression().fit(table, table["a"] > 0)
    path = tmp_path_factory.mktemp("logistic") / "model"
    mlflow.sklearn.save_model(
        model,
        str(path),
        signature=mlflow.models.infer_signature(table, model.predict(table)),
        input_example=table.head(1),
        pip_requirements=["scikit-learn"],
        serialization_format="cloudpickle",
    )
    return path


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


def ask(server: Running, mood: str) -> tuple[int, dict[str, str], Any]:
    body = {"dataframe_split": {"columns": ["mood"], "data": [[mood]]}}
    status, headers, content = server.invoke(body)
    return status, headers, json.loads(content)


def plain(server: Running) -> int:
    body = {"dataframe_split": {"columns": NAMES, "data": [[0.5, -0.5]]}}
    return server.invoke(body)[0]


@pytest.fixture
def moods(moody: Path, log: Path) -> Iterator[Running]:
    """A server of the moody model with two threads and a short queue."""
    limits = {"PREDICTION_THREADS": "2", "MAX_QUEUE": "6", "REQUEST_SECONDS": "2"}
    with serving(moody, log, **limits) as server:
        server.wait_until("/health/ready", 200)
        yield server


@pytest.mark.parametrize("mood", ["die", "crash"])
def test_a_model_that_ends_its_process(moods: Running, mood: str) -> None:
    """The request is 500 with an id; the server stays, and has a new model process at once."""
    first = ask(moods, "well")[2]["predictions"]
    status, headers, answer = ask(moods, mood)
    assert status == 500
    assert answer["request_id"] == headers["x-request-id"]
    assert moods.get("/health/live")[0] == 200
    moods.wait_until("/health/ready", 200)
    status, _, answer = ask(moods, "well")
    assert status == 200
    assert answer["predictions"] != first
    failures = 'model_prediction_errors_total{error_type="model_error",model_name="churn",'
    assert moods.samples()[failures + 'model_version="7"}'] == 1
    assert any(line["event"] == "a process died" for line in moods.events())
    assert moods.stop() == 0


def test_a_model_that_calls_exit_fails_one_request(moods: Running) -> None:
    first = ask(moods, "well")[2]["predictions"]
    for _ in range(4):
        assert ask(moods, "exit")[0] == 500
    assert ask(moods, "well")[2]["predictions"] == first


def test_a_server_that_is_process_1(moody: Path, log: Path) -> None:
    """As in a container: it takes leave of orphans, and SIGTERM reaches it while it starts."""
    unshare = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    with serving(moody, log, *unshare) as server:
        server.wait_until("/health/ready", 200)
        for _ in range(3):
            assert ask(server, "orphan")[0] == 200
        (first,) = descendants(server.process.pid)[:1]

        def buried() -> bool:
            return all(state(child) != "Z" for child in descendants(first))

        time.sleep(0.5)
        server.wait_for(buried, "zombies stay", 5)
    with serving(moody, log, *unshare) as server:
        # Before Python runs at all nothing can be done.
        server.wait_for_event("start")
        os.kill(descendants(server.process.pid)[0], signal.SIGTERM)
        assert server.process.wait(20) in (0, -signal.SIGTERM)


def state(process: int) -> str:
    """Returns a process' state, a letter of proc(5), or nothing for one that is gone."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def descendants(process: int) -> list[int]:
    """Returns the children of a process."""
    found = []
    for folder in Path("/proc").glob("[1-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        if parent == process:
            found.append(int(folder.name))
    return sorted(found)


def test_more_than_the_queue_holds_is_503_with_retry_after(moods: Running) -> None:
    answers: list[tuple[int, dict[str, str], Any]] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(moods, "sleep0.5"))) for _ in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [status for status, _, _ in answers]
    assert set(statuses) == {200, 503}
    assert 6 <= statuses.count(200) < 20
    for status, headers, answer in answers:
        if status == 503:
            assert headers["retry-after"] == "1"
            assert answer["error_code"] == "RESOURCE_EXHAUSTED"
    assert ask(moods, "well")[0] == 200


def test_a_stuck_model_is_replaced(moods: Running) -> None:
    """Every thread hangs beyond the deadline: 504, and then a model process that works."""
    first = ask(moods, "well")[2]["predictions"]
    threads = [threading.Thread(target=ask, args=(moods, "sleep60")) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def replaced() -> bool:
        status, _, answer = ask(moods, "well")
        return status == 200 and answer["predictions"] != first

    moods.wait_for(replaced, "the model process is still the same", 60)
    assert any(line["event"] == "the model is stuck" for line in moods.events())


def test_a_model_that_hogs_the_interpreter_holds_up_no_probe(moods: Running) -> None:
    threads = [threading.Thread(target=ask, args=(moods, "hog")) for _ in range(2)]
    for thread in threads:
        thread.start()
    longest = 0.0
    while any(thread.is_alive() for thread in threads):
        started = time.monotonic()
        assert moods.get("/health/live")[0] == moods.get("/health/ready")[0] == 200
        longest = max(longest, time.monotonic() - started)
        time.sleep(0.02)
    assert longest < 1


def test_a_worker_that_dies_is_replaced_and_others_serve(logistic: Path, log: Path) -> None:
    with serving(logistic, log, WORKERS="2") as server:
        server.wait_until("/health/ready", 200)
        victim = server.children()["worker"][0]
        os.kill(victim, signal.SIGKILL)
        # What it had accepted is lost with it.
        time.sleep(0.3)
        # The listening socket stays open all along, so a new connection is never refused.
        for _ in range(100):
            assert plain(server) == 200
            time.sleep(0.01)
        server.wait_for(lambda: len(server.children()["worker"]) == 2, "no second worker")
        server.wait_until("/health/ready", 200)
        assert victim not in server.children()["worker"]
        assert server.stop() == 0


def test_plain_requests_need_no_model_process(logistic: Path, log: Path) -> None:
    """It is killed; the compiled model serves on, readiness stays, and it comes back."""
    with serving(logistic, log) as server:
        server.wait_for_event("the compiled model answers as MLflow does")
        (victim,) = server.children()["model_process"]
        os.kill(victim, signal.SIGKILL)
        for _ in range(30):
            assert plain(server) == 200
            assert server.get("/health/ready")[0] == 200
            time.sleep(0.02)
        # One for MLflow waits until there is a model process again.
        odd = {"dataframe_split": {"columns": NAMES, "data": [["1", "2"]]}}
        assert server.invoke(odd)[0] == 200
        assert server.children()["model_process"] != [victim]


def test_the_server_takes_its_processes_with_it(moody: Path, log: Path) -> None:
    with serving(moody, log) as server:
        server.wait_until("/health/ready", 200)
        children = sum(server.children().values(), [])
        assert len(children) == 2
        server.process.kill()
        server.process.wait()
        deadline = time.monotonic() + 5
        while any(Path(f"/proc/{child}/cmdline").exists() for child in children):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_processes_that_die_again_and_again_end_the_server(moody: Path, log: Path) -> None:
    with serving(moody, log) as server:
        server.wait_until("/health/live", 200)
        seen: set[int] = set()
        deadline = time.monotonic() + 60
        while server.process.poll() is None:
            assert time.monotonic() < deadline
            for child in server.children()["model_process"]:
                if child not in seen:
                    seen.add(child)
                    os.kill(child, signal.SIGKILL)
            time.sleep(0.02)
        assert server.process.returncode == 1
        assert len(seen) == 6
        assert "slipway_runtime.model_process died 6 times" in server.events()[-1]["event"]


def refused(model: Path, log: Path, **environment: str) -> str:
    """Returns why a server does not start."""
    with serving(model, log, **environment) as server:
        assert server.process.wait(60) == 1
        last = server.events()[-1]
        assert last["level"] == "error"
        assert "exception" not in last
        return str(last["event"])


def test_a_pickled_model_is_refused(logistic: Path, log: Path) -> None:
    reason = refused(logistic, log, ALLOW_PICKLE="false")
    assert "model.pkl is a pickle" in reason
    assert "skops" in reason
    assert "slipway:models.churn.allow_pickle: true" in reason


def test_a_flipped_byte_is_refused(logistic: Path, log: Path, tmp_path: Path) -> None:
    import shutil

    from slipway_runtime.digest import tree_digest

    model = tmp_path / "churn"
    shutil.copytree(logistic, model)
    write_receipt(model, "churn", 7, tree_digest(model))
    content = bytearray((model / "model.pkl").read_bytes())
    content[len(content) // 2] ^= 1
    (model / "model.pkl").write_bytes(content)
    assert "digest" in refused(model, log)


def test_a_model_may_be_served_as_it_is(logistic: Path, log: Path) -> None:
    with serving(logistic, log, COMPILED="false") as server:
        server.wait_until("/health/ready", 200)
        assert plain(server) == 200
        labels = 'model_name="churn",model_version="7"'
        assert server.samples()[f"model_compiled_predictions_total{{{labels}}}"] == 0
        assert server.samples()[f'model_compiled{{engine="linear",{labels}}}'] == 0
