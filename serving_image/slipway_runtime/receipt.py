"""The receipt of a fetch: what lies in a model's folder, and the digest it had when it was whole.

It is a JSON object, ``{"model": …, "version": …, "sha256": …}``, in a hidden file beside the
folder: ``/models/.churn.receipt`` for ``/models/churn``. Standard library only, so that a server
can check its model before it imports anything large.
"""

import json
from pathlib import Path
from typing import Any

from slipway_runtime.digest import tree_digest


class VerificationError(Exception):
    """What was fetched is not what was registered; the message says in one line how."""


def receipt_of(model_dir: Path) -> Path:
    """Returns the path of the receipt of the folder ``model_dir``, there or not."""
    return model_dir.with_name(f".{model_dir.name}.receipt")


def write_receipt(model_dir: Path, model: str, version: int, digest: str) -> None:
    """Notes that ``model_dir`` holds ``version`` of ``model`` with this tree digest.

    Raises:
        OSError: it cannot be written.
    """
    content = {"model": model, "version": version, "sha256": digest}
    receipt_of(model_dir).write_text(json.dumps(content))


def read_receipt(model_dir: Path, model: str, version: int) -> str | None:
    """Returns the digest of a complete earlier fetch of the same version, or None."""
    content = _content(model_dir)
    if content is None or (content.get("model"), content.get("version")) != (model, version):
        return None
    return str(content.get("sha256"))


def verified(model_dir: Path) -> str | None:
    """Compares the files in ``model_dir`` with the receipt of their fetch.

    Every byte is read and hashed, at a gigabyte a second or so where they are in the page cache.

    Returns:
        The tree's digest; None where there is no receipt, as in a folder that no fetch made.

    Raises:
        VerificationError: a file was changed, added or removed since, or the receipt is damaged.
        OSError: a file cannot be read.
    """
    if not receipt_of(model_dir).exists():
        return None
    expected = (_content(model_dir) or {}).get("sha256")
    digest = tree_digest(model_dir)
    if digest != expected:
        raise VerificationError(
            f"{model_dir}: the files' digest is {digest}, and was {expected} when they were "
            "fetched; fetch the version again"
        )
    return digest


def _content(model_dir: Path) -> dict[str, Any] | None:
    try:
        content = json.loads(receipt_of(model_dir).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None
