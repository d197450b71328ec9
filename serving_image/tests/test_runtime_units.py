"""Settings, logs and the digest."""

import hashlib
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from slipway_runtime import logs
from slipway_runtime.digest import combine, tree_digest
from slipway_runtime.metrics import Metrics
from slipway_runtime.processes import cpu_limit
from slipway_runtime.settings import ServerSettings, SettingsError

REQUIRED = {"MODEL_NAME": "churn", "MODEL_VERSION": "1"}


def test_settings_by_default() -> None:
    settings = ServerSettings.from_env(REQUIRED)
    assert settings.model_path == Path("/models/churn")
    assert (settings.host, settings.port) == ("0.0.0.0", 8080)
    assert (settings.drain_seconds, settings.grace_seconds, settings.request_seconds) == (5, 20, 60)
    assert settings.max_request_bytes == 16 * 2**20


def test_predictions_counted_together_count_as_one_by_one() -> None:
    together, single = Metrics("churn", "1"), Metrics("churn", "1")
    values = [0.0, 0.0009, 0.001, 0.0010001, 0.3, 9.9, 10.0, 99.0]
    sizes = [0, 1, 256, 257, 1024, 70_000, 2**26, 2**27]
    firsts = [together.answered_compiled(*pair) for pair in zip(sizes, values, strict=True)]
    assert firsts == [True] + [False] * 7
    for size, seconds in zip(sizes, values, strict=True):
        single.input_size.observe(size)
        single.by_compiled.inc()
        single.answered(seconds)

    def told(metrics: Metrics) -> list[bytes]:
        lines = metrics.render("")[0].splitlines()
        return [line for line in lines if line.startswith(b"model_")]

    assert told(together) == told(single)
    assert together.answered_compiled(1, 1.0)


def test_settings_from_the_environment() -> None:
    settings = ServerSettings.from_env(
        REQUIRED
        | {"MODEL_PATH": "/m", "PORT": "81", "DRAIN_SECONDS": "0", "MAX_REQUEST_BYTES": "9"}
        | {"MLFLOW_SCORING_SERVER_REQUEST_TIMEOUT": "7", "PREDICTION_THREADS": "2"}
    )
    assert settings == ServerSettings(
        "churn",
        "1",
        Path("/m"),
        "0.0.0.0",
        81,
        0,
        20,
        7,
        9,
        2,
        workers=cpu_limit(),
        model_processes=settings.model_processes,
    )
    more = {"WORKERS": "3", "MAX_QUEUE": "5", "COMPILED": "false", "ALLOW_PICKLE": "TRUE"}
    settings = ServerSettings.from_env({"MODEL_NAME": "churn"} | more)
    # A model that is in no registry has no version.
    assert settings.model_version == "0"
    chosen = (settings.workers, settings.queue, settings.compiled, settings.allow_pickle)
    assert chosen == (3, 5, False, True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MODEL_NAME", "", "MODEL_NAME is not set"),
        ("MODEL_NAME", "ch\nurn", "MODEL_NAME: 'ch\\nurn' has characters other than"),
        ("MODEL_VERSION", "", "MODEL_VERSION is not set"),
        ("WORKERS", "0", "WORKERS: '0' is not a whole number from 1 to 256"),
        ("ALLOW_PICKLE", "yes", "ALLOW_PICKLE: 'yes' is neither true nor false"),
        ("PORT", "eighty", "PORT: 'eighty' is not a whole number from 1 to 65535"),
        ("PORT", "70000", "PORT: '70000' is not a whole number from 1 to 65535"),
        ("DRAIN_SECONDS", "-1", "DRAIN_SECONDS: '-1' is not a whole number from 0 to 3600"),
        ("MAX_REQUEST_BYTES", "1.5", "MAX_REQUEST_BYTES: '1.5' is not a whole number"),
    ],
)
def test_settings_that_are_wrong(name: str, value: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        ServerSettings.from_env(REQUIRED | {name: value})
    assert str(caught.value).startswith(message)


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Slipway's logs, as text; the handlers of before come back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()
    stream = io.StringIO()
    logs.configure(stream)
    yield stream
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_log_line_is_json(log: io.StringIO) -> None:
    logging.getLogger("slipway.x").info("ready", extra={"seconds": 1.5})
    line = json.loads(log.getvalue())
    assert line.pop("time").endswith("+00:00")
    assert line == {"level": "info", "event": "ready", "seconds": 1.5}


def test_an_exception_is_logged_without_its_message(log: io.StringIO) -> None:
    try:
        raise ValueError("sesame")
    except ValueError as error:
        logging.getLogger("slipway.x").error("failed", exc_info=error)
    line = json.loads(log.getvalue())
    assert line["exception"] == "ValueError"
    assert "test_an_exception_is_logged" in line["stack"][-1]
    assert "sesame" not in log.getvalue()


def test_a_failure_that_repeats_is_logged_once(log: io.StringIO) -> None:
    for _ in range(100):
        try:
            raise ValueError
        except ValueError as error:
            logging.getLogger("slipway.x").error("failed", exc_info=error)
    assert log.getvalue().count("\n") == 1


def test_the_termination_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "termination-log"
    monkeypatch.setenv("TERMINATION_LOG", str(path))
    logs.write_termination_message("lost")
    assert not path.exists()
    path.write_text("something longer from before")
    logs.write_termination_message("ö" * 5000)
    assert path.read_text() == "ö" * 2048


def test_the_digest_is_the_documented_one(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.txt").write_bytes(b"two")
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "empty").mkdir()
    lines = b"".join(
        name + b"\0" + hashlib.sha256(content).hexdigest().encode() + b"\n"
        for name, content in ((b"a", b"one"), (b"b/c.txt", b"two"))
    )
    assert tree_digest(tmp_path) == hashlib.sha256(lines).hexdigest()
    (tmp_path / "a").rename(tmp_path / "d")
    assert tree_digest(tmp_path) != hashlib.sha256(lines).hexdigest()


def test_the_digest_of_nothing() -> None:
    assert combine({}) == hashlib.sha256().hexdigest()
