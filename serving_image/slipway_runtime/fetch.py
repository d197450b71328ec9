"""Brings one model version to a local folder, verified, or nothing at all.

``python -m slipway_runtime.fetch --model churn --version 1 --out /models/churn``, with
``MLFLOW_TRACKING_URI`` in the environment. It is the init container of a model server. Options:

``--model-uri URI``    instead of the first two: ``models:/churn/1`` or ``models:/churn@champion``
``--timeout SECONDS``  to wait for what does not answer, since it last did; by default 120
``--allow-pickle``     take a model that is unpickled when it is loaded (see `pickles`)
``--from-bucket URI``  read what the server would pass on straight from its bucket, given as the
                       server's own ``--artifacts-destination``; a version whose artifacts are at
                       ``s3://…`` is read from there anyhow (see `bucket` for the environment)

Verified are: the version is registered and READY; every file has the size the artifact store lists;
``MLmodel`` parses and has the flavor ``python_function``; and, where the version has the tag
``slipway.sha256``, the digest of the whole tree (see `digest`) equals it. A version without the tag
is taken as it comes, and the digest that it has then is noted in its receipt.

The files go to a hidden sibling of the folder first, which is renamed at the very end: the folder
is whole or absent. A fetch that was killed or broke off goes on where it stopped when it is run
again (see `transfer`). A receipt beside the folder lets a pod that restarts with its volume start
without the tracking server, after checking the tree once more.

Every ten seconds a line of JSON on standard output tells how far it is. Exit code 0, or 1 with one
line on standard error, which is also the container's termination message. A tracking server that
does not answer is waited for; a version that is not registered fails at once.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from slipway_runtime import artifacts, pickles
from slipway_runtime.digest import DIGEST_TAG, tree_digest
from slipway_runtime.receipt import (
    VerificationError,
    read_receipt,
    receipt_of,
    verified,
    write_receipt,
)
from slipway_runtime.tracking import TrackingError, TrackingServer
from slipway_runtime.transfer import SpaceError, Transfer, progress_printer

__all__ = ["VerificationError", "fetch", "main", "verified"]

_MLMODEL: Final = "MLmodel"


def fetch(
    server: TrackingServer,
    model: str,
    version: int,
    out: Path,
    *,
    allow_pickle: bool = False,
    bucket: str | None = None,
) -> str:
    """Brings ``version`` of ``model`` to the folder ``out`` and returns the tree's digest.

    Args:
        server: the tracking server.
        model: the registered model's name.
        version: the version's number.
        out: the folder to make; its parent exists or can be made. One that exists is replaced,
            unless it is this very version already.
        allow_pickle: take a model that is unpickled when it is loaded.
        bucket: see `artifacts.find`.

    Raises:
        TrackingError: the version cannot be had; ``out`` is absent, what has arrived is kept.
        VerificationError: it is not what was registered; ``out`` is absent.
        PickledModelError: it would be unpickled; ``out`` is absent.
        SpaceError: the disk has no room for it; ``out`` is absent.
        OSError: the disk is full or ``out`` cannot be written.
    """
    partial = out.with_name(f".{out.name}.partial")
    known = read_receipt(out, model, version)
    if known and out.is_dir() and tree_digest(out) == known:
        pickles.check(out, allow_pickle, model)
        return known
    # Before anything else, so that no failure leaves the remains of another version to be served.
    shutil.rmtree(out, ignore_errors=True)
    receipt_of(out).unlink(missing_ok=True)

    registered = server.model_version(model, version)
    source = artifacts.find(server, model, version, bucket)
    listed = source.files()
    if not listed:
        raise VerificationError("it has no artifacts")
    if _MLMODEL not in listed:
        raise VerificationError(f"it has no file {_MLMODEL}")
    for path in listed:
        _check_path(path)
    transfer = Transfer(partial, source, listed, server.patience)
    transfer.check_space()
    transfer.progress = progress_printer(transfer.resumed)
    try:
        # What is no model or will be refused is so by this file, before gigabytes have travelled.
        transfer.run([_MLMODEL])
        _verify_mlmodel(transfer.files)
        pickles.check(transfer.files, allow_pickle, model)
        transfer.run(sorted(listed))
        sizes = {path: file.size for path, file in listed.items()}
        digest = _verify(transfer.files, sizes, registered.tags.get(DIGEST_TAG))
        pickles.check(transfer.files, allow_pickle, model)
    except VerificationError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    transfer.files.rename(out)
    write_receipt(out, model, version, digest)
    shutil.rmtree(partial, ignore_errors=True)
    return digest


def _check_path(path: str) -> None:
    """Accepts a listed path if it stays inside the folder it is put in, and has one spelling.

    Raises:
        VerificationError: it does not.
    """
    parts = PurePosixPath(path)
    if parts.is_absolute() or ".." in parts.parts or str(parts) != path or "\0" in path:
        raise VerificationError(f"the artifact path {path!r} leads out of the model's folder")


def _verify_mlmodel(root: Path) -> None:
    """Checks that a model lies under ``root`` that MLflow can load as a Python function.

    Raises:
        VerificationError: none does.
    """
    # Imported here: most of this program's failures happen before it is needed.
    import yaml

    try:
        mlmodel: Any = yaml.safe_load((root / _MLMODEL).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise VerificationError(f"{_MLMODEL} is not valid YAML") from error
    flavors = mlmodel.get("flavors") if isinstance(mlmodel, dict) else None
    if not isinstance(flavors, dict) or "python_function" not in flavors:
        raise VerificationError(f"{_MLMODEL} has no flavor python_function")


def _verify(root: Path, sizes: dict[str, int], expected: str | None) -> str:
    """Checks the files under ``root``; returns the tree's digest.

    Raises:
        VerificationError: they are not what was registered.
    """
    for path, size in sorted(sizes.items()):
        actual = (root / path).stat().st_size
        if actual != size:
            raise VerificationError(f"{path} has {actual} bytes instead of {size}")
    digest = tree_digest(root)
    if expected is not None and digest != expected:
        raise VerificationError(
            f"the artifacts' digest is {digest}, its tag {DIGEST_TAG} says {expected}"
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


def _model_uri(text: str) -> tuple[str, int | str]:
    """Returns a model URI's name and its version or alias."""
    # MLflow's own reading of these URIs; stages and "latest" are not versions but moods.
    found = re.fullmatch(r"models:/([^/@]+)(?:/([1-9][0-9]*)|@([^/@]+))", text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a model URI such as models:/churn/3 or models:/churn@champion"
        )
    name, number, alias = found.groups()
    return name, int(number) if number else alias


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="slipway_runtime.fetch", description="Fetch a model version."
    )
    parser.add_argument("--model", help="registered model")
    parser.add_argument("--version", type=_version, help="its version's number")
    parser.add_argument(
        "--model-uri", type=_model_uri, help="instead: models:/name/3 or models:/name@alias"
    )
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument(
        "--timeout", type=_seconds, default=120.0, help="seconds to wait for the server (120)"
    )
    parser.add_argument(
        "--allow-pickle", action="store_true", help="take models that are unpickled, as code is run"
    )
    parser.add_argument(
        "--from-bucket", metavar="URI", help="s3://bucket/prefix where the server keeps artifacts"
    )
    options = parser.parse_args(arguments)
    if options.model_uri:
        if options.model or options.version:
            parser.error("--model-uri stands instead of --model and --version")
        options.model, options.version = options.model_uri
    elif not (options.model and options.version):
        parser.error("--model and --version are required, or --model-uri")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    options = _options(arguments)
    started = time.perf_counter()
    what = f"{options.model} {options.version}"
    try:
        server = TrackingServer(os.environ.get("MLFLOW_TRACKING_URI", ""), options.timeout)
        version = options.version
        if isinstance(version, str):
            version = server.version_of_alias(options.model, version)
            what = f"{options.model} {version}"
        digest = fetch(
            server,
            options.model,
            version,
            options.out,
            allow_pickle=options.allow_pickle,
            bucket=options.from_bucket,
        )
    except (TrackingError, VerificationError, SpaceError, pickles.PickledModelError) as error:
        return _fail(f"cannot fetch {what}: {error}")
    except OSError as error:
        return _fail(f"cannot write {options.out}: {error.strerror or error}")
    seconds = round(time.perf_counter() - started, 3)
    done = {"event": "fetched", "model": options.model, "version": version}
    print(json.dumps(done | {"sha256": digest, "seconds": seconds}), flush=True)
    return 0


def _fail(message: str) -> int:
    from slipway_runtime.logs import write_termination_message

    print(f"fetch: {message}", file=sys.stderr, flush=True)
    write_termination_message(message)
    return 1


if __name__ == "__main__":
    # The first process of a container ends by no signal that it does not handle. What is on the
    # disk needs no good-bye: the next attempt takes nothing on trust.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(143))
    sys.exit(main())
