"""Nothing is unpickled: loading a pickle runs whatever code is in it."""

from __future__ import annotations

from collections.abc import Iterator

from engine.pods import Container, environment, of_containers, words
from engine.rule import Given, Rule
from engine.values import known


def _messages(container: Container, given: Given) -> Iterator[str]:
    if str(known(environment(container).get("ALLOW_PICKLE")) or "").lower() in ("1", "true", "yes"):
        yield f"{container.called}: ALLOW_PICKLE is set"
    if any(str(known(word)).partition("=")[0] == "--allow-pickle" for word in words(container)):
        yield f"{container.called}: is started with --allow-pickle"


RULE = Rule(
    name="model-pickle",
    title="No pickled models",
    description="Model servers refuse models that are unpickled when they are loaded.",
    severity="critical",
    level="advisory",
    remediation="Log the model in a format that is data alone (skops, ONNX, the library's own), "
    "and take allow_pickle out of the model's configuration.",
    references=("https://docs.python.org/3/library/pickle.html",),
    check=of_containers(_messages),
)
