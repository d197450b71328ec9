"""What the serving image weighs, layer by layer, beside the image that MLflow's own recipe makes.

``python -m bench.image`` builds four images for real, with the running cluster's buildkitd (or the
one that BUILDKIT_HOST names), prints their layers and writes bench/results/image.json:

    serving           this project's, with everything it serves, tracks and trains with
    gpu               its target with ONNX Runtime for CUDA (only with --gpu: several GB)
    mlflow            `mlflow models generate-dockerfile` for a scikit-learn model, as it is
    mlflow, as much   the same, for a model that requires what the serving image has besides MLflow

All on one base, which for MLflow's recipe gets what Docker Hub's has (`python`, `pip`) if it lacks
it. Sizes are megabytes (10^6 bytes): packed, as a node pulls them (zstd for all), and unpacked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from local import instance, toolkit
from local.console import UserError, run_cli, say
from local.instance import PROJECT

RESULTS = PROJECT / "bench/results/image.json"
BASE = "python:3.11-slim-bookworm"
# What MLflow's recipe finds in Docker Hub's base and may miss in another: python, pip, a pip that
# trusts the authorities the base trusts, and an apt that keeps no packages and packs its lists.
_AS_ON_DOCKER_HUB = f"""FROM {BASE}
RUN command -v pip >/dev/null || python3 -m venv --copies /usr/local
RUN [ -e /etc/apt/apt.conf.d/docker-clean ] || printf '%s\\n' \\
    'Dir::Cache::pkgcache ""; Dir::Cache::srcpkgcache "";' \\
    'DPkg::Post-Invoke {{ "rm -f /var/cache/apt/archives/*.deb || true"; }};' \\
    'Acquire::GzipIndexes "true"; Acquire::Languages "none";' > /etc/apt/apt.conf.d/docker-clean
ENV PIP_CERT=/etc/ssl/certs/ca-certificates.crt
"""
_SECONDS = 1800


@dataclass(frozen=True)
class Layer:
    """One layer: the instruction it comes from, its bytes as pulled and as unpacked."""

    made_by: str
    packed: int
    unpacked: int


def _layers(archive: Path) -> list[tuple[str, int]]:
    """Instruction and bytes of each layer of the one image in an OCI archive, the base's first."""
    with tarfile.open(archive) as tar:

        def read(name: str) -> Any:
            file = tar.extractfile(name)
            if file is None:
                raise UserError(f"{archive}: no {name}")
            return json.load(file)

        def blob(digest: str) -> Any:
            return read(f"blobs/{digest.replace(':', '/')}")

        manifest = blob(read("index.json")["manifests"][0]["digest"])
        history = blob(manifest["config"]["digest"])["history"]
    made_by = [entry["created_by"] for entry in history if not entry.get("empty_layer")]
    sizes = [layer["size"] for layer in manifest["layers"]]
    return [(_short(text), size) for text, size in zip(made_by, sizes, strict=True)]


def _short(instruction: str) -> str:
    """An instruction as a table has room for it: no shell, no build arguments, 60 characters."""
    text = " ".join(instruction.removesuffix("# buildkit").split())
    if text.startswith("RUN ") and "/bin/sh -c " in text:
        text = "RUN " + text.split("/bin/sh -c ", 1)[1].removeprefix("set -eu; ")
    return text if len(text) <= 60 else text[:57] + "..."


def build(context: Path, scratch: Path, target: str = "") -> list[Layer]:
    """Builds a folder with a Dockerfile and reads the image's layers.

    Args:
        context: the folder.
        scratch: where there is room for the image, packed and unpacked.
        target: a stage of the Dockerfile; its last if empty.

    Raises:
        UserError: buildkitd does not answer, the build failed or took more than half an hour.
    """
    address = os.environ.get("BUILDKIT_HOST") or f"unix://{instance.load().state}/buildkit.sock"
    command = [str(toolkit.which("buildctl") or toolkit.LINKS / "bin/buildctl"), "--addr", address]
    command += ["build", "--frontend", "dockerfile.v0", "--progress", "plain"]
    command += ["--local", f"context={context}", "--local", f"dockerfile={context}"]
    command += ["--opt", f"target={target}"] if target else []
    found = []
    # The second export takes what the first one built.
    for packing in ("zstd", "uncompressed"):
        archive = scratch / f"{packing}.tar"
        output = f"type=oci,dest={archive},compression={packing},force-compression=true"
        try:
            done = subprocess.run(
                [*command, "--output", output],
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise UserError(f"{context}: not built within {_SECONDS} s") from None
        if done.returncode:
            raise UserError(f"buildctl at {address}: {done.stderr.strip()[-800:]}")
        found.append(_layers(archive))
        archive.unlink()
    return [
        Layer(text, packed, unpacked) for (text, packed), (_, unpacked) in zip(*found, strict=True)
    ]


def mlflow_recipe(folder: Path, requirements: list[str]) -> None:
    """Writes MLflow's own Dockerfile and its context for a model with these requirements.

    The model is a constant of a few bytes: what is weighed is what is installed around it. The one
    line changed is FROM, see `_AS_ON_DOCKER_HUB`.
    """
    import mlflow.sklearn
    import numpy as np
    from sklearn.dummy import DummyClassifier

    model = DummyClassifier().fit(np.zeros((2, 1)), [0, 1])
    with tempfile.TemporaryDirectory() as scratch:
        path = f"{scratch}/model"
        mlflow.sklearn.save_model(
            model, path, pip_requirements=requirements, serialization_format="cloudpickle"
        )
        command = [sys.executable, "-m", "mlflow", "models", "generate-dockerfile"]
        command += ["--model-uri", path, "--output-directory", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"mlflow models generate-dockerfile: {done.stderr.strip()[-800:]}")
    dockerfile = folder / "Dockerfile"
    head, tail = dockerfile.read_text().split("FROM python:", 1)
    dockerfile.write_text(head + _AS_ON_DOCKER_HUB + tail.split("\n", 1)[1])


def _requirements() -> list[str]:
    lines = (PROJECT / "serving_image/requirements.in").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _table(name: str, found: list[Layer]) -> list[str]:
    rows = [f"{name:<62}{'packed':>9}{'unpacked':>10}  MB"]
    for layer in found:
        rows.append(f"  {layer.made_by:<60}{layer.packed / 1e6:>9.1f}{layer.unpacked / 1e6:>10.1f}")
    packed, unpacked = (sum(getattr(x, key) for x in found) for key in ("packed", "unpacked"))
    return [*rows, f"  {'all':<60}{packed / 1e6:>9.1f}{unpacked / 1e6:>10.1f}", ""]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.image", description=__doc__)
    parser.add_argument("--gpu", action="store_true", help="weigh the target gpu too")
    wanted = parser.parse_args()
    everything = _requirements()
    plain = [line for line in everything if line.startswith(("mlflow=", "scikit-learn="))]
    results: dict[str, list[Layer]] = {}
    with tempfile.TemporaryDirectory(dir=PROJECT / ".slipway") as folder:
        scratch = Path(folder)
        for target in ("serving", "gpu") if wanted.gpu else ("serving",):
            say(f"building {target} …")
            results[target] = build(PROJECT / "serving_image", scratch, target)
        for name, requirements in (("mlflow", plain), ("mlflow, as much", everything)):
            say(f"building {name} …")
            context = scratch / f"recipe-{len(requirements)}"
            mlflow_recipe(context, requirements)
            results[name] = build(context, scratch)
    for name, found in results.items():
        say("\n".join(_table(name, found)))
    RESULTS.parent.mkdir(exist_ok=True)
    as_json = {name: [asdict(layer) for layer in found] for name, found in results.items()}
    RESULTS.write_text(json.dumps(as_json, indent=2) + "\n")


if __name__ == "__main__":
    run_cli(main)
