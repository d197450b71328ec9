"""Tells a pickle from other files, by its name and by its first bytes. Nothing is unpickled.

Sources: Python's ``pickletools`` (protocol 2 and above begin with 0x80 and the protocol's number;
protocols 0 and 1 with an opcode in ASCII); torch's ``torch.save``, a zip archive with a member
``…/data.pkl``; joblib's ``dump``, a pickle that may be compressed.
"""

import bz2
import lzma
import re
import zipfile
import zlib
from pathlib import Path
from typing import Final

_SUFFIXES: Final = frozenset(
    {".pkl", ".pickle", ".p", ".joblib", ".cloudpickle", ".dill", ".pth", ".pt", ".pdparams"}
)
_COMPRESSED: Final = frozenset({".gz", ".bz2", ".xz", ".lzma", ".z", ".zst", ".lz4"})
_HEAD_BYTES: Final = 4096
_HIGHEST_PROTOCOL: Final = 5
# What protocols 0 and 1 begin with, for anything worth pickling: marks and containers, then a
# global (module, name) that is remembered or called, or a container that is remembered.
_ASCII_PICKLE: Final = re.compile(
    rb"[(\]}]*"
    rb"(c[A-Za-z_][\w.]*\r?\n[A-Za-z_][\w.]*\r?\n([(\])}]|p\d+\r?\n|q[\x00-\x1f])"
    rb"|[dlt]p\d+\r?\n)"
)


def reason(path: Path) -> str | None:
    """Says in a few words why ``path`` counts as a pickle; None if it does not.

    Raises:
        OSError: the file cannot be read.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    while suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    if suffixes and suffixes[-1] in _SUFFIXES:
        return f"by its name, *{suffixes[-1]}"
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if _begins_a_pickle(head):
        return "by its first bytes"
    if head.startswith(b"PK") and (member := _pickled_member(path)):
        return f"by what it holds, {member}"
    return "by its first bytes, compressed" if _begins_a_pickle(_decompressed(head)) else None


def _begins_a_pickle(head: bytes) -> bool:
    if len(head) > 2 and head[0] == 0x80 and 2 <= head[1] <= _HIGHEST_PROTOCOL:
        return True
    return _ASCII_PICKLE.match(head) is not None


def _pickled_member(path: Path) -> str | None:
    """Returns the name of a zip archive's first member that is called a pickle."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = sorted(archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return None
    return next((name for name in names if Path(name).suffix.lower() in _SUFFIXES), None)


def _decompressed(head: bytes) -> bytes:
    """Returns the first bytes of what is compressed; nothing where it is not."""
    if head.startswith((b"\x1f\x8b", b"\x78")):
        # 32: gzip's header or zlib's, whichever is there.
        engine: zlib._Decompress | bz2.BZ2Decompressor | lzma.LZMADecompressor
        engine = zlib.decompressobj(32 + zlib.MAX_WBITS)
    elif head.startswith(b"BZh"):
        engine = bz2.BZ2Decompressor()
    elif head.startswith((b"\xfd7zXZ\x00", b"\x5d\x00\x00")):
        engine = lzma.LZMADecompressor()
    else:
        return b""
    try:
        return engine.decompress(head, 64)
    except (zlib.error, OSError, lzma.LZMAError, EOFError):
        return b""
