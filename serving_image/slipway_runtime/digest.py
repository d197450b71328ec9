"""The digest of a model version's artifacts: what the tag ``slipway.sha256`` holds.

Algorithm: for each regular file, the line ``<path>\\0<sha256>\\n``, where path is relative to the
artifact root, with ``/`` between its parts, in UTF-8, and sha256 is the file's own digest in
lowercase hex. The lines sorted by path, as bytes, one after the other, are digested by SHA-256; the
result is written in lowercase hex. Names, contents and the number of files are covered; times,
modes and empty directories are not.

``python -m slipway_runtime.digest FOLDER`` prints the digest of a folder: the value of the tag, for
a model that is about to be registered.
"""

import hashlib
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

DIGEST_TAG: Final = "slipway.sha256"
# Hashing lets go of the interpreter's lock; more threads than this would wait for the disk.
_THREADS: Final = 4


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of one file, in lowercase hex.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def combine(digests: Mapping[str, str]) -> str:
    """Returns the tree digest of files given as relative path → SHA-256 in lowercase hex."""
    tree = hashlib.sha256()
    for name, digest in sorted((path.encode(), digest) for path, digest in digests.items()):
        tree.update(name + b"\0" + digest.encode() + b"\n")
    return tree.hexdigest()


def tree_digest(root: Path) -> str:
    """Returns the tree digest of every regular file under ``root``.

    Raises:
        OSError: a file cannot be read.
    """
    files = [path for path in root.rglob("*") if path.is_file()]
    with ThreadPoolExecutor(_THREADS) as pool:
        digests = list(pool.map(file_digest, files))
    names = (path.relative_to(root).as_posix() for path in files)
    return combine(dict(zip(names, digests, strict=True)))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if len(given) != 1 or not Path(given[0]).is_dir():
        print("digest: give one argument, the folder of a saved model", file=sys.stderr)
        return 1
    try:
        print(tree_digest(Path(given[0])))
    except OSError as error:
        print(f"digest: {error.filename}: {error.strerror or error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
