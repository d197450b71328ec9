"""The serving image's component on its own: what its optional arguments come to."""

from __future__ import annotations

from components.serving_image import ServingImage, ServingImageArgs
from tests.conftest import run


def _image(args: ServingImageArgs) -> dict[str, object]:
    return run(lambda: ServingImage("serving", args)).one("Image", "serving-image").inputs


def test_by_default_the_dockerfile_decides() -> None:
    inputs = _image(ServingImageArgs("registry.test"))
    assert not {"target", "buildArgs", "builder", "platforms"} & inputs.keys()


def test_a_target_and_a_base_by_digest() -> None:
    base = "python:3.11-slim-bookworm@sha256:" + "0" * 64
    inputs = _image(ServingImageArgs("registry.test", target="gpu", base=base))
    assert inputs["target"] == "gpu"
    assert inputs["buildArgs"] == {"BASE": base}


def test_a_platform_whatever_machine_builds() -> None:
    inputs = _image(ServingImageArgs("registry.test", platform="linux/amd64"))
    assert inputs["platforms"] == ["linux/amd64"]
