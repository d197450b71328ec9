"""Images' names put into the text of a stack file, and no other byte of it touched. Pure."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from rollout.adapters import yaml_edit
from rollout.adapters.configuration import ConfigurationError
from settings import PROJECT
from settings.placeholder import PLACEHOLDER


def put(text: str, path: tuple[str, ...], name: str) -> str:
    """The text with `name` at this path of the configuration, as in ("images", "grafana").

    Raises:
        ConfigurationError: the file has it in a form that is not edited in place.
    """
    where = f"{PROJECT}:{'.'.join(path)}"
    try:
        edited = _put(text, path, name)
        right = _without(edited, path) == _without(text, path) and _at(edited, path) == name
    except yaml_edit.NotEditableError as error:
        raise ConfigurationError(f"{where}: {error}") from None
    if not right:
        raise ConfigurationError(
            f"{where}: is written in a form that cannot be edited in place (an anchor, an alias or "
            "a merge); write it out"
        )
    return edited


def _put(text: str, path: tuple[str, ...], name: str) -> str:
    node: Node | None = yaml_edit.value_of(_yaml().compose(text), "config")
    if not isinstance(node, MappingNode):
        raise yaml_edit.NotEditableError("the stack file has no mapping called `config`")
    top = f"{PROJECT}:{path[0]}"
    if yaml_edit.value_of(node, top) is None and yaml_edit.value_of(node, path[0]) is not None:
        top = path[0]
    keys = (top, *path[1:])
    # A brace means something else to YAML, at times.
    written = f'"{name}"' if "{" in name else name
    before = 0
    for depth, key in enumerate(keys[:-1]):
        found = yaml_edit.value_of(node, key)
        if not isinstance(found, MappingNode):
            if found is not None or depth < len(keys) - 2:
                raise yaml_edit.NotEditableError(f"write {key} out as a mapping to have it edited")
            return yaml_edit.put(text, node, 2, key, {keys[-1]: written})
        before, node = node.start_mark.column, found
    step = node.start_mark.column - before
    old = yaml_edit.value_of(node, keys[-1])
    if isinstance(old, ScalarNode) and old.style in ("'", '"') and PLACEHOLDER in old.value:
        end = old.end_mark.index
        start = end - len(old.value) - 2
        if text[start + 1 : end - 1] == old.value:
            return text[:start] + written + text[end:]
    return yaml_edit.put(text, node, step if step > 0 else 2, keys[-1], written)


def _yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _places(content: Any, path: tuple[str, ...]) -> Any:
    """The mapping in which the path's last key is; None where there is none."""
    config = content["config"]
    for key in (f"{PROJECT}:{path[0]}", path[0]):
        if key in config:
            config = config[key]
            break
    else:
        return None
    for key in path[1:-1]:
        config = config.get(key) if isinstance(config, dict) else None
    return config if isinstance(config, dict) else None


def _at(text: str, path: tuple[str, ...]) -> Any:
    inside = _places(_yaml().load(text), path)
    return None if inside is None else inside.get(path[-1])


def _without(text: str, path: tuple[str, ...]) -> Any:
    """All that the text says but for the one name, and for a mapping that it is alone in."""
    content = _yaml().load(text)
    inside = _places(content, path)
    if inside is not None:
        inside.pop(path[-1], None)
    config = content["config"]
    return {
        **content,
        "config": {key: value for key, value in config.items() if value != {}},
    }
