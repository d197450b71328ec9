"""Brings one model version to a local folder, verified, or nothing at all.

``python -m slipway_runtime.fetch --model churn --version 1 --out /models/churn [--timeout 120]``,
with ``MLFLOW_TRACKING_URI`` in the environment. It is the init container of a model server.

Verified are: the version is registered and READY; every file has the size the artifact store lists;
``MLmodel`` parses and has the flavor ``python_function``; and, where the version has the tag
``slipway.sha256``, the digest of the whole tree (see `digest`) equals it.

The files go to a hidden sibling of the folder first, which is renamed at the very end: the folder
is whole or absent, and a fetch that was killed is simply run again. A receipt beside the folder
lets a pod that restarts with its volume start without the tracking server, after checking the tree
once more.

Exit code 0, or 1 with one line on standard error, which is also the container's termination
message. A tracking server that does not answer is waited for, for ``--timeout`` seconds; a version
that is not registered fails at once.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from slipway_runtime.digest import DIGEST_TAG, tree_digest
from slipway_runtime.tracking import TrackingError, TrackingServer

_MLMODEL: Final = "MLmodel"


class VerificationError(Exception):
    """What was fetched is not what was registered; the message says in one line how."""


def fetch(server: TrackingServer, model: str, version: int, out: Path) -> str:
    """Brings ``version`` of ``model`` to the folder ``out`` and returns the tree's digest.

    Args:
        server: the tracking server.
        model: the registered model's name.
        version: the version's number.
        out: the folder to make; its parent exists or can be made. One that exists is replaced,
            unless it is this very version already.

    Raises:
        TrackingError: the version cannot be had; ``out`` is absent.
        VerificationError: it is not what was registered; ``out`` is absent.
        OSError: the disk is full or ``out`` cannot be written.
    """
    partial = out.with_name(f".{out.name}.partial")
    receipt = out.with_name(f".{out.name}.receipt")
    known = _read_receipt(receipt, model, version)
    if known and out.is_dir() and tree_digest(out) == known:
        return known
    # Before anything else, so that no failure leaves the remains of another version to be served.
    for remains in (partial, out):
        shutil.rmtree(remains, ignore_errors=True)
    receipt.unlink(missing_ok=True)

    registered = server.model_version(model, version)
    artifacts = server.artifacts(model, version)
    sizes = artifacts.sizes()
    if not sizes:
        raise VerificationError(f"{model} {version} has no artifacts")
    try:
        for path in sorted(sizes):
            destination = partial / _safe(path)
            destination.parent.mkdir(parents=True, exist_ok=True)
            artifacts.download(path, destination)
        digest = _verify(f"{model} {version}", partial, sizes, registered.tags.get(DIGEST_TAG))
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(out)
    receipt.write_text(json.dumps({"model": model, "version": version, "sha256": digest}))
    return digest


def _read_receipt(receipt: Path, model: str, version: int) -> str | None:
    """Returns the digest of a complete earlier fetch of the same version, or None."""
    try:
        content = json.loads(receipt.read_text())
        if content["model"] == model and content["version"] == version:
            return str(content["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def _safe(path: str) -> PurePosixPath:
    """Returns a listed path, if it stays inside the folder it is put in."""
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in path:
        raise VerificationError(f"the artifact path {path!r} leads out of the model's folder")
    return parts


def _verify(what: str, root: Path, sizes: dict[str, int], expected: str | None) -> str:
    """Checks the files under ``root``; returns the tree's digest.

    Raises:
        VerificationError: they are not what was registered.
    """
    for path, size in sorted(sizes.items()):
        actual = (root / path).stat().st_size
        if actual != size:
            raise VerificationError(f"{what}: {path} has {actual} bytes instead of {size}")
    # Imported here: most of this program's failures happen before it is needed.
    import yaml

    try:
        mlmodel: Any = yaml.safe_load((root / _MLMODEL).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise VerificationError(f"{what}: it has no file {_MLMODEL}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VerificationError(f"{what}: {_MLMODEL} is not valid YAML") from error
    flavors = mlmodel.get("flavors") if isinstance(mlmodel, dict) else None
    if not isinstance(flavors, dict) or "python_function" not in flavors:
        raise VerificationError(f"{what}: {_MLMODEL} has no flavor python_function")
    digest = tree_digest(root)
    if expected is not None and digest != expected:
        raise VerificationError(
            f"{what}: the artifacts' digest is {digest}, its tag {DIGEST_TAG} says {expected}"
        )
    return digest


def _version(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _seconds(text: str) -> float:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of seconds")
    return float(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="slipway_runtime.fetch", description="Fetch a model version."
    )
    parser.add_argument("--model", required=True, help="registered model")
    parser.add_argument("--version", required=True, type=_version, help="its version's number")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, help="seconds to wait for the server (120)"
    )
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    try:
        server = TrackingServer(os.environ.get("MLFLOW_TRACKING_URI", ""), options.timeout)
        digest = fetch(server, options.model, options.version, options.out)
    except (TrackingError, VerificationError) as error:
        return _fail(f"cannot fetch {options.model} {options.version}: {error}")
    except OSError as error:
        return _fail(f"cannot write {options.out}: {error.strerror or error}")
    seconds = round(time.perf_counter() - started, 3)
    done = {"event": "fetched", "model": options.model, "version": options.version}
    print(json.dumps(done | {"sha256": digest, "seconds": seconds}), flush=True)
    return 0


def _fail(message: str) -> int:
    from slipway_runtime.logs import write_termination_message

    print(f"fetch: {message}", file=sys.stderr, flush=True)
    write_termination_message(message)
    return 1


if __name__ == "__main__":
    sys.exit(main())
