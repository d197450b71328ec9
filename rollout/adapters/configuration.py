"""The stack file: which version of a model plays which role, read from its text and edited in it.

Pure: text in, text out. An edit touches the lines of the roles that differ, and no other byte:
comments, order, quotes, anchors, secrets and line ends stay. The places come from ruamel.yaml's
node graph; its writer, which formats anew, is not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node

from rollout.adapters import yaml_edit
from settings import PROJECT

_MODELS: Final = f"{PROJECT}:models"
_PERCENT: Final = 100


class ConfigurationError(ValueError):
    """The stack file cannot be read or edited; the message is one line that names the key."""


@dataclass(frozen=True)
class Roles:
    """Which version of a model plays which role.

    stable: its version. canary: its version, or None. weight: the canary's share of live traffic
    in percent, 0 without a canary. previous: the version before the stable one, or None. shadow:
    its version and the share of requests mirrored to it in percent, or None. floors: (version,
    replicas that it keeps at least), by version.
    """

    stable: int
    canary: int | None = None
    weight: int = 0
    previous: int | None = None
    shadow: tuple[int, int] | None = None
    floors: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        if self.canary is None and self.weight:
            raise ValueError(f"a weight of {self.weight} without a canary")


def roles(text: str, model: str) -> Roles:
    """The roles of `model` in the text of a stack file.

    Raises:
        ConfigurationError: the text is no stack file, has no such model, or a role is not what
            settings allows.
    """
    plain = _model(_plain(text), model)
    stable = _number(plain, model, "stable")
    if stable is None:
        raise ConfigurationError(f"{_MODELS}.{model}.stable: is missing; name a version")
    canary, weight = _pair(plain, model, "canary", "weight", 0)
    shadow, percent = _pair(plain, model, "shadow", "percent", _PERCENT)
    return Roles(
        stable,
        canary,
        weight if canary is not None else 0,
        _number(plain, model, "previous"),
        (shadow, percent) if shadow is not None else None,
        _floors(plain, model),
    )


def with_roles(text: str, model: str, wanted: Roles) -> str:
    """The text with `wanted` as the roles of `model`: equal to `text` where they are so already.

    What a role's entry holds besides (a comment, another key) stays with it, and goes with it.

    Raises:
        ConfigurationError: as `roles`, or the file writes the roles in a form that cannot be
            edited in place, an alias for instance.
    """
    have = roles(text, model)
    edited = text
    for key, number in (("stable", wanted.stable), ("previous", wanted.previous)):
        if getattr(have, key) != number:
            edited = _set(edited, model, (key,), number)
    for key, share, before, after in (
        ("canary", "weight", (have.canary, have.weight), (wanted.canary, wanted.weight)),
        ("shadow", "percent", have.shadow or (None, None), wanted.shadow or (None, None)),
    ):
        if before == after:
            continue
        if before[0] is None or after[0] is None:
            value = None if after[0] is None else {"version": after[0], share: after[1]}
            edited = _set(edited, model, (key,), value)
            continue
        for part, old, new in zip(("version", share), before, after, strict=True):
            if old != new:
                edited = _set(edited, model, (key, part), new)
    edited = _with_floors(edited, model, dict(have.floors), dict(wanted.floors))
    _check(text, edited, model, wanted)
    return edited


def whole(text: str) -> dict[str, Any]:
    """What `settings.of_stack` takes: the configuration in the text of a stack file, each key with
    its namespace and each value as a program gets it from Pulumi; without what is encrypted.

    Raises:
        ConfigurationError: the text is no stack file.
    """
    found = {}
    for key, value in _config(_plain(text)).items():
        if not (isinstance(value, dict) and set(value) == {"secure"}):
            found[str(key) if ":" in str(key) else f"{PROJECT}:{key}"] = _as_text(value)
    return found


def _as_text(value: Any) -> Any:
    """Pulumi hands over numbers and truth values as text, objects as they are."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, dict | list | str) else str(value)


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _plain(text: str) -> dict[str, Any]:
    try:
        content = _yaml().load(text)
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"the stack file is no YAML: {_brief(error)}") from None
    if not isinstance(content, dict):
        raise ConfigurationError("the stack file is no mapping with a `config` in it")
    return content


def _brief(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark:
        return f"{error.problem} in line {error.problem_mark.line + 1}"
    return str(error).partition("\n")[0] or type(error).__name__


def _config(content: dict[str, Any]) -> dict[str, Any]:
    config = content.get("config")
    if not isinstance(config, dict):
        raise ConfigurationError("the stack file has no mapping called `config`")
    return config


def _models_key(config: dict[str, Any]) -> str:
    """`slipway:models`, or `models`, which Pulumi takes for the same."""
    for key in config:
        if str(key).removeprefix(f"{PROJECT}:").startswith("models."):
            raise ConfigurationError(
                f"{key}: was set without --path; take it out (pulumi config rm '{key}') and set it "
                "again with --path"
            )
    found = [key for key in (_MODELS, "models") if key in config]
    if len(found) != 1:
        what = "is there twice, with its prefix and without" if found else "is missing"
        raise ConfigurationError(
            f"{_MODELS}: {what}; add a model: pulumi config set --path '{_MODELS}.<name>.stable' 1"
        )
    return found[0]


def _model(content: dict[str, Any], model: str) -> dict[str, Any]:
    config = _config(content)
    models = config[_models_key(config)]
    if not isinstance(models, dict) or set(models) == {"secure"}:
        kind = "a secret" if isinstance(models, dict) else _kind(models)
        raise ConfigurationError(
            f"{_MODELS}: is {kind}, not a mapping of names to models; write it as one"
        )
    if model not in models:
        known = ", ".join(sorted(map(str, models))) or "none"
        raise ConfigurationError(
            f"{_MODELS}.{model}: there is no such model (there: {known}); "
            f"add it: pulumi config set --path '{_MODELS}.{model}.stable' <version>"
        )
    found = models[model]
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"{_MODELS}.{model}: is {_kind(found)}, not a mapping with `stable` in it"
        )
    return found


def _pair(
    plain: dict[str, Any], model: str, key: str, share: str, default: int
) -> tuple[int | None, int]:
    """Version and share of the role `key`; no version where nobody plays it."""
    section = plain.get(key)
    if section is None:
        return None, default
    if not isinstance(section, dict):
        raise ConfigurationError(
            f"{_MODELS}.{model}.{key}: is {_kind(section)}, not a mapping such as "
            f"{{version: 2, {share}: 5}}"
        )
    version = _number(section, model, f"{key}.version")
    if version is None:
        raise ConfigurationError(f"{_MODELS}.{model}.{key}.version: is missing; name a version")
    found = _number(section, model, f"{key}.{share}")
    if found is not None and found > _PERCENT:
        raise ConfigurationError(
            f"{_MODELS}.{model}.{key}.{share}: {found} is not a whole percentage from 0 to 100"
        )
    return version, default if found is None else found


def _floors(plain: dict[str, Any], model: str) -> tuple[tuple[int, int], ...]:
    """(version, replicas) of each floor, by version."""
    section = plain.get("floors")
    if section is None:
        return ()
    where = f"{_MODELS}.{model}.floors"
    if not isinstance(section, dict):
        raise ConfigurationError(
            f"{where}: is {_kind(section)}, not a mapping of versions to replicas"
        )
    found = {}
    for key, value in section.items():
        if not str(key).isdecimal():
            raise ConfigurationError(f'{where}: has the key "{key}", which is no version')
        floor = _number({str(key): value}, model, f"floors.{key}")
        if floor is not None:
            found[int(key)] = floor
    return tuple(sorted(found.items()))


def _with_floors(text: str, model: str, have: dict[int, int], wanted: dict[int, int]) -> str:
    if have == wanted:
        return text
    if not have or not wanted:
        # An empty mapping may stand there.
        text = _set(text, model, ("floors",), None)
        plain = {str(version): floor for version, floor in wanted.items()}
        return _set(text, model, ("floors",), plain) if plain else text
    # What goes goes last: an empty mapping takes no entry.
    for version in (*sorted(wanted), *sorted(have.keys() - wanted)):
        if have.get(version) != wanted.get(version):
            text = _set(text, model, ("floors", str(version)), wanted.get(version))
    return text


def _number(plain: dict[str, Any], model: str, path: str) -> int | None:
    value = plain.get(path.rpartition(".")[2])
    if value is None or (type(value) is int and value >= 0):
        return value
    hint = "; write it without quotes" if isinstance(value, str) and value.isdigit() else ""
    raise ConfigurationError(
        f"{_MODELS}.{model}.{path}: is {_kind(value)}, not a whole number{hint}"
    )


def _kind(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f'the text "{value if len(value) <= 40 else value[:40] + "…"}"'
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _set(text: str, model: str, path: tuple[str, ...], value: Any) -> str:
    """The text with `value` (a number, a mapping of numbers, or None to take it out) at `path`
    below the model.
    """
    where = ".".join((_MODELS, model, *path))
    try:
        spine = list(_spine(text, model, path[:-1]))
        step = spine[-1].start_mark.column - spine[-2].start_mark.column
        return yaml_edit.put(text, spine[-1], step if step > 0 else 2, path[-1], value)
    except yaml_edit.NotEditableError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _spine(text: str, model: str, below: tuple[str, ...]) -> Iterator[MappingNode]:
    """The mappings from `config` down to the one that is edited."""
    node: Node = _yaml().compose(text)
    config = _config(_plain(text))
    for key in ("config", _models_key(config), model, *below):
        found = yaml_edit.value_of(node, key)
        if not isinstance(found, MappingNode):
            raise yaml_edit.NotEditableError(
                f"{key} stands somewhere else in the file; write it out here to have it edited"
            )
        node = found
        yield found


def _check(before: str, after: str, model: str, wanted: Roles) -> None:
    """Refuses an edit that says anything but what was asked for, whatever the reason."""
    try:
        right = roles(after, model) == wanted
        right = right and _rest(before, model, wanted) == _rest(after, model, wanted)
    except ConfigurationError:
        right = False
    if not right:
        raise ConfigurationError(
            f"{_MODELS}.{model}: its roles are written in a form that cannot be edited in place "
            "(an anchor, an alias or a merge); write them out as plain numbers"
        )


def _rest(text: str, model: str, wanted: Roles) -> dict[str, Any]:
    """All that the text says, but for the roles of `model`."""
    content: dict[str, Any] = _unshared(_plain(text))
    found = _model(content, model)
    for key, share, kept in (
        ("canary", "weight", wanted.canary),
        ("shadow", "percent", wanted.shadow),
    ):
        section = found.pop(key, None)
        if kept is not None and isinstance(section, dict):
            found[key] = {k: v for k, v in section.items() if k not in ("version", share)}
            if not found[key]:
                del found[key]
    for key in ("stable", "previous", "floors"):
        found.pop(key, None)
    return content


def _unshared(value: Any) -> Any:
    """A copy in which what an anchor and its aliases share is no longer one object."""
    if isinstance(value, dict):
        return {key: _unshared(entry) for key, entry in value.items()}
    return [_unshared(entry) for entry in value] if isinstance(value, list) else value
