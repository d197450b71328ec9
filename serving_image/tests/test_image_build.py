"""What the image is built with: the rules that trim it, its pins, what its build is sent."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent
_spec = importlib.util.spec_from_file_location("trim", FOLDER / "trim.py")
assert _spec is not None and _spec.loader is not None
trim = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(trim)

LIBRARIES = sorted(Path(np.__file__).parent.rglob("*.so"))


@pytest.fixture(scope="module")
def trimmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site-packages with numpy, trimmed, and a few files that each rule should take or leave."""
    site = tmp_path_factory.mktemp("site-packages")
    installed = Path(np.__file__).parent
    for name in ("numpy", "numpy.libs"):
        shutil.copytree(installed.parent / name, site / name, symlinks=True)
    for name in (
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
        "onnxruntime/capi/onnxruntime_pybind11_state.so",
        "onnx/backend/test/case/model.py",
        "onnx/backend/base.py",
        "numpy/stub.pyi",
        "numpy/source.pyx",
        "numpy/latest",
    ):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("x")
    done = subprocess.run(
        [sys.executable, FOLDER / "trim.py", site], capture_output=True, text=True, check=True
    )
    assert re.findall(r"^trim: (\w+) \d+\.\d MB$", done.stdout, re.M) == list(trim.RULES)
    return site


def test_trimmed_libraries_work(trimmed: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(trimmed)!r}); import numpy as np;"
        "assert np.__file__.startswith(sys.path[0]);"
        "x = np.random.default_rng(0).normal(size=(9, 9)); q, r = np.linalg.qr(x);"
        "assert np.allclose(q @ r, x); assert np.allclose(np.fft.ifft(np.fft.fft(x)), x)"
    )
    subprocess.run([sys.executable, "-S", "-c", code], check=True)


def test_each_rule_takes_its_own_and_no_more(trimmed: Path) -> None:
    for gone in (
        "numpy/linalg/tests",
        "numpy/source.pyx",
        "numpy/_core/include/numpy/arrayobject.h",
        "onnx/backend/test",
        "onnxruntime/capi/libonnxruntime.so.1.31.1",
    ):
        assert not (trimmed / gone).exists(), gone
    for kept in (
        "numpy/testing/__init__.py",
        "numpy/stub.pyi",
        "numpy/latest",
        "onnx/backend/base.py",
        "onnxruntime/capi/onnxruntime_pybind11_state.so",
    ):
        assert (trimmed / kept).exists(), kept


def test_only_the_end_of_a_library_goes() -> None:
    shorter = 0
    for path in LIBRARIES:
        data = path.read_bytes()
        kept = trim.without_symbols(data)
        shorter += len(kept) < len(data)
        # The file's header is 64 bytes long and names the section headers that are gone.
        assert kept[64:] == data[64 : len(kept)]
        assert trim.without_symbols(kept) == kept
        appended = data + b"appended by no linker"
        assert trim.without_symbols(appended) == appended
    assert shorter


@pytest.mark.parametrize(
    "data", [b"", b"\x7fELF", b"#!/bin/sh\n" * 9, b"\x7fELF\x01\x01" + b"x" * 99]
)
def test_what_is_no_64_bit_library_stays(data: bytes) -> None:
    assert trim.without_symbols(data) == data


def test_trim_names_a_wrong_argument() -> None:
    for arguments in ([], ["/no/such/folder"]):
        assert trim.main(arguments) == 2


def _pins(name: str) -> dict[str, str]:
    text = (FOLDER / name).read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.M | re.I)[1:]
    assert all("--hash=sha256:" in block for block in blocks), name
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", text, re.M))


def test_everything_installed_is_pinned_by_hash_and_the_locks_agree() -> None:
    serving, gpu, build = (_pins(f"{name}requirements.txt") for name in ("", "gpu-", "build-"))
    assert gpu["onnxruntime-gpu"] == serving["onnxruntime"]
    # What both name would be installed twice, in two layers.
    assert not gpu.keys() & serving.keys()
    assert {"uv", "cyclonedx-bom"} <= build.keys()


def test_the_build_is_sent_what_it_copies_and_no_more() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    used = set(re.findall(r"type=bind,source=([^,]+)", dockerfile))
    used |= set(re.findall(r"^COPY (?!--)(\S+)", dockerfile, re.M))
    ignore = (FOLDER / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignore if line.startswith("!")} == used
    assert all((FOLDER / name).exists() for name in used)


def test_every_final_stage_runs_as_the_user_and_is_checked() -> None:
    dockerfile = (FOLDER / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", dockerfile, re.M)
    assert ("common", "gpu") in stages
    # The last stage is what is built when no target is named.
    assert stages[-1] == ("common", "serving")
    common = dockerfile.split(" AS common\n", 1)[1].split("\nFROM ", 1)[0]
    for line in ("USER 10001:10001", "STOPSIGNAL SIGTERM", "slipway_runtime.healthcheck"):
        assert line in common
    assert len(re.findall(r"^USER ", dockerfile, re.M)) == 1
