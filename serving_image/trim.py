"""Takes out of an environment what nothing reads at run time; part of the image's build.

``python3 trim.py SITE_PACKAGES`` prints a line of megabytes for each rule. What stays: everything
that can be imported, except packages' own tests, and everything such code reads.

The rules:
    tests      packages' own test suites
    sources    C, C++ and Cython sources and headers, static libraries, programs for Windows
    library    the copy of ONNX Runtime for programs in C, which its Python module does not load
    symbols    what only a debugger reads of a shared library (see `without_symbols`)

Standard library alone: the interpreter that runs it is the base image's.
"""

import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

TEST_FOLDERS = ("tests", "onnx/backend/test")
# No .pyi: lazy_loader reads stubs at run time.
SOURCES = frozenset(
    (
        ".a",
        ".c",
        ".cc",
        ".cmake",
        ".cpp",
        ".cu",
        ".cuh",
        ".exe",
        ".h",
        ".hpp",
        ".pxd",
        ".pxi",
        ".pyx",
    )
)
LIBRARY = "onnxruntime/capi/libonnxruntime.so.*"

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_NO_BITS = 8  # SHT_NOBITS: a section that takes no room in the file
_ALLOCATED = 2  # SHF_ALLOC: a section that is part of a segment


def without_symbols(data: bytes) -> bytes:
    """A shared library without the symbol table, debug sections and section headers at its end.

    The loader reads the segments alone (System V ABI, chapter 5): the dynamic symbol table, the
    unwind tables and all that is mapped lie in them and stay, byte for byte, where they are.

    Args:
        data: the file. Anything but a 64-bit little-endian ELF file is returned as it is, and so is
            one whose end holds bytes that no section accounts for.
    """
    if data[:6] != b"\x7fELF\x02\x01" or len(data) < _HEADER.size:
        return data
    header = list(_HEADER.unpack_from(data))
    program_at, section_at = header[5], header[6]
    segment_size, segments, section_size, sections = header[9:13]
    if segment_size != _SEGMENT.size or section_size != _SECTION.size or not sections:
        return data
    end = max(_HEADER.size, program_at + segments * segment_size)
    for index in range(segments):
        _, _, offset, _, _, size, _, _ = _SEGMENT.unpack_from(
            data, program_at + index * segment_size
        )
        end = max(end, offset + size)
    known = section_at + sections * section_size
    for index in range(sections):
        _, kind, flags, _, offset, size, *_ = _SECTION.unpack_from(
            data, section_at + index * section_size
        )
        if kind == _NO_BITS:
            continue
        known = max(known, offset + size)
        if flags & _ALLOCATED and offset + size > end:
            return data
    if section_at < end or known < len(data):
        return data
    header[6], header[12], header[13] = 0, 0, 0  # no section headers: e_shoff, e_shnum, e_shstrndx
    return _HEADER.pack(*header) + data[_HEADER.size : end]


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())
    return path.lstat().st_size


def _remove(paths: list[Path]) -> int:
    """Removes files and folders; returns their bytes."""
    freed = 0
    for path in paths:
        if path.exists():  # not inside a folder that has gone already
            freed += _size(path)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return freed


def _tests(site: Path) -> int:
    return _remove([path for name in TEST_FOLDERS for path in site.rglob(name) if path.is_dir()])


def _sources(site: Path) -> int:
    return _remove([path for path in site.rglob("*") if path.suffix in SOURCES and path.is_file()])


def _library(site: Path) -> int:
    return _remove(list(site.glob(LIBRARY)))


def _symbols(site: Path) -> int:
    freed = 0
    for path in site.rglob("*.so*"):
        if not path.is_file() or path.is_symlink():
            continue
        data = path.read_bytes()
        trimmed = without_symbols(data)
        if len(trimmed) < len(data):
            path.write_bytes(trimmed)
            freed += len(data) - len(trimmed)
    return freed


RULES: dict[str, Callable[[Path], int]] = {
    "tests": _tests,
    "sources": _sources,
    "library": _library,
    "symbols": _symbols,
}


def main(arguments: list[str]) -> int:
    """Trims the folder named by the one argument; returns the exit code."""
    if len(arguments) != 1 or not Path(arguments[0]).is_dir():
        print("usage: trim.py SITE_PACKAGES", file=sys.stderr)
        return 2
    for name, rule in RULES.items():
        print(f"trim: {name} {rule(Path(arguments[0])) / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
