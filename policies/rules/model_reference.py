"""A model server serves one version of a model, whatever becomes of aliases and stages."""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.pods import MODEL_SERVER_KNOB, Container, environment, of_containers, words
from engine.rule import Given, Rule
from engine.values import known

_MODEL_URI = re.compile(r"models:/+(?P<name>[^/@\s]+)(?P<at>[/@])?(?P<which>[^\s\"']*)")
_NUMBER = re.compile(r"[1-9]\d*$")
_SAYS_VERSION = re.compile(r"(MODEL_VERSION|MODEL_ALIAS|MODEL_STAGE)$")


def _moving(text: str) -> Iterator[str]:
    for found in _MODEL_URI.finditer(text):
        # models:/m-<id> is a logged model, which never changes.
        logged = not found["at"] and found["name"].startswith("m-")
        fixed = found["at"] == "/" and _NUMBER.match(found["which"])
        if not logged and not fixed:
            yield found[0]


def _messages(container: Container, given: Given) -> Iterator[str]:
    if not container.pod.labelled(given["model_server"]):
        return
    for name, value in environment(container).items():
        if value is None:
            continue
        text = str(known(value))
        if _SAYS_VERSION.search(name) and not _NUMBER.match(text):
            yield f"{container.called}: {name} is {text}, no version's number"
        for uri in _moving(text):
            yield f"{container.called}: {name} is {uri}, which may be another version tomorrow"
    line = [str(known(word)) for word in words(container)]
    for at, word in enumerate(line):
        option, equals, value = word.partition("=")
        if option in ("--version", "--model-version"):
            value = value if equals else (line[at + 1] if at + 1 < len(line) else "")
            if not _NUMBER.match(value):
                yield f"{container.called}: {option} is {value or 'nothing'}, no version's number"
        for uri in _moving(word):
            yield f"{container.called}: {uri} may be another version tomorrow"


RULE = Rule(
    name="model-reference",
    title="Models by version",
    description="Model servers name a model's version by its number, never an alias or a stage.",
    severity="high",
    remediation="Resolve the alias when the configuration is written: models:/NAME/NUMBER.",
    references=("https://mlflow.org/docs/latest/ml/model-registry/",),
    check=of_containers(_messages),
    knobs={"model_server": MODEL_SERVER_KNOB},
)
