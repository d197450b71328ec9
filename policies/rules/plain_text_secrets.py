"""No secret stands where whoever sees the resource can read it.

Pulumi hands policies the values of its secrets as plain ones, so this rule goes by the place of a
value and by its shape.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from engine.pods import Container, containers, pods, words
from engine.resource import Resource
from engine.rule import Given, Rule, of_parts, patterns
from engine.values import Unknown, get, items, known, leaves, mapping

# As Pulumi writes what it cannot decrypt, so it was encrypted.
_ENCRYPTED = "[secret]"
# What names an existing Secret holds none.
_NAME = re.compile(
    r"(?<!existing)(?<!existing_)"
    r"(passw(or)?d|passphrase|secret|token|credential|api_?key|access_?key|private_?key)"
    r"(_?(id|value|string))?s?$",
    re.I,
)
_SHAPES = {
    "an AWS access key": re.compile(r"\b(AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a GitHub token": re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{22,})"),
    "a Slack token": re.compile(r"\bxox[abprs]-[0-9A-Za-z-]{10,}"),
    "a JSON Web Token": re.compile(r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}"),
    "a URL with a password": re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@$]*:[^\s/@$]+@"),
}
_WORD = re.compile(r"[\w.-]+")
# Path, name and value of what anybody can read who can see the resource.
Place = tuple[str, str, object]


def _places(resource: Resource) -> Iterator[Place]:
    if resource.kubernetes("ConfigMap", group=""):
        for key, value in mapping(resource.props, "data").items():
            yield f"data.{key}", key, value
    elif resource.type.startswith("kubernetes:helm.sh/") and resource.kind == "Release":
        for path, value in leaves(get(resource.props, "values"), "values"):
            yield path, re.split(r"[.\[]", path)[-1], value
    for pod in pods(resource):
        for container in containers(pod):
            for variable in items(container.spec, "env"):
                name = str(get(variable, "name"))
                yield f"{container.called}: {name}", name, mapping(variable).get("value")
            yield from _arguments(container)


def _arguments(container: Container) -> Iterator[Place]:
    """Its words. What an option is given goes by the option's name, also as a word of its own."""
    option = ""
    for word in words(container):
        text = "" if isinstance(word, Unknown) else str(word)
        name, equals, value = text.partition("=")
        begins = text.startswith("-")
        if option and not begins and (not equals or _NAME.search(option)):
            name, value = option, text
        option = name if begins and not equals else ""
        # Nothing but a name is told: anything else may hold the secret.
        name = name if value and _WORD.fullmatch(name) else ""
        named = name.lstrip("-").replace("-", "_")
        place = f"{container.called}: argument {name or 'of its command'}"
        # A shape may reach over a `=`, as in the address of a database.
        yield place, named, value if _NAME.search(named) else word


def _messages(place: Place, given: Given) -> Iterator[str]:
    path, name, value = place
    value = known(value)
    if not isinstance(value, str) or value in ("", _ENCRYPTED) or name in given["harmless"]:
        return
    if _NAME.search(name) and not value.startswith("$("):
        yield f"{path}: is a secret by its name, and stands in plain text"
        return
    for what, shape in _SHAPES.items():
        if shape.search(value):
            yield f"{path}: holds {what} in plain text"


RULE = Rule(
    name="plain-text-secrets",
    title="No secrets in plain text",
    description="Secrets stand in Secrets alone, not in variables, arguments or ConfigMaps.",
    severity="critical",
    remediation="Put it into a Secret, and name that: secretKeyRef, a mounted file, or the chart's "
    "key for an existing Secret. Then change it: it is in the history.",
    references=(
        "https://kubernetes.io/docs/concepts/security/secrets-good-practices/",
        "https://www.pulumi.com/docs/iac/concepts/secrets/",
    ),
    check=of_parts(_places, _messages),
    knobs={"harmless": patterns("names that look like a secret's and are none")},
)
