"""One entry of a YAML mapping put, changed or taken out in the text, and nothing else touched."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

# New entries come after one of these, where it is there: a role's version comes first.
_FIRST: Final = ("stable", "version")

# Text is written as it is, so it must be what YAML reads as text without quotes.
Value = int | str | Mapping[str, int] | Mapping[str, str]


class NotEditableError(ValueError):
    """The text is of a form that is not edited; the message says which, and what to do."""


def value_of(node: Node, key: str) -> Node | None:
    """The value of `key` that stands in the mapping `node` itself: None where there is no such
    key, or an alias stands for it.
    """
    for name, value in node.value if isinstance(node, MappingNode) else ():
        if isinstance(name, ScalarNode) and name.value == key and not _is_alias(name, value):
            return value  # type: ignore[no-any-return]
    return None


def put(text: str, mapping: MappingNode, step: int, key: str, value: Value | None) -> str:
    """The text with `value` at `key` of `mapping`, a node composed from the text; None takes the
    entry out. `step` is the indent, in spaces, of what a new entry holds.

    Raises:
        NotEditableError: the entry is of a form that is not edited.
    """
    pair = next((pair for pair in mapping.value if pair[0].value == key), None)
    if pair is None:
        return text if value is None else _insert(text, mapping, step, key, value)
    if value is None:
        return (_drop_flow if mapping.flow_style else _drop_block)(text, *pair)
    return _replace(text, pair[0], pair[1], value)


def _flow(value: Value) -> str:
    if isinstance(value, int | str):
        return str(value)
    return "{" + ", ".join(f"{_key(key)}: {number}" for key, number in value.items()) + "}"


def _key(name: str) -> str:
    """A key as it is written: one that reads as a number is none where only text is a key."""
    return f'"{name}"' if name.isdecimal() else name


def _replace(text: str, name: Node, node: Node, value: Value) -> str:
    if _is_alias(name, node) or not isinstance(node, ScalarNode):
        raise NotEditableError("is an alias or a list; write the number itself")
    if not node.value and not node.style:
        at = _after_colon(text, name)
        return f"{text[:at]} {_flow(value)}{text[at:]}"
    # From the end: an anchor or a tag may stand before it.
    end = node.end_mark.index
    start = end - len(node.value)
    if node.style or text[start:end] != node.value:
        plain = "without quotes" if isinstance(value, str) else "as a plain number"
        raise NotEditableError(f"is written as {text[start:end]!r}; write it {plain}")
    return text[:start] + _flow(value) + text[end:]


def _insert(text: str, mapping: MappingNode, step: int, key: str, value: Value) -> str:
    if not mapping.value:
        raise NotEditableError("stands in an empty mapping; write its first entry by hand")
    pairs = [pair for pair in mapping.value if pair[0].value in _FIRST] or mapping.value
    end = _content_end(text, *pairs[0])
    if mapping.flow_style:
        return f"{text[:end]}, {_key(key)}: {_flow(value)}{text[end:]}"
    indent = " " * mapping.value[0][0].start_mark.column
    lines = [f"{indent}{_key(key)}: {value}"]
    if isinstance(value, Mapping):
        inner = [f"{indent}{' ' * step}{_key(name)}: {number}" for name, number in value.items()]
        lines = [f"{indent}{_key(key)}:", *inner]
    at = _line_end(text, end)
    eol = "\r\n" if text[:at].endswith("\r\n") or "\r\n" in text[:end] else "\n"
    if text[:at].endswith("\n"):
        return text[:at] + "".join(line + eol for line in lines) + text[at:]
    return text[:at] + "".join(eol + line for line in lines)


def _drop_block(text: str, name: Node, node: Node) -> str:
    start = text.rfind("\n", 0, name.start_mark.index) + 1
    if text[start : name.start_mark.index].strip(" "):
        raise NotEditableError("does not start its line; put it on a line of its own")
    end = _line_end(text, _content_end(text, name, node))
    if not text[:end].endswith("\n"):
        start = len(text[:start].removesuffix("\n").removesuffix("\r"))
    return text[:start] + text[end:]


def _drop_flow(text: str, name: Node, node: Node) -> str:
    start, end = name.start_mark.index, _content_end(text, name, node)
    if comma := re.compile(r"[ \t]*,[ \t]*").match(text, end):
        end = comma.end()
    else:
        before = text[:start].rstrip()
        line = before[before.rfind("\n") + 1 :]
        if before.endswith(",") and "#" not in line:
            start = len(before) - 1
    left, right = text.rfind("\n", 0, start) + 1, _line_end(text, end)
    if not text[left:start].strip() and not text[end:right].strip():
        start, end = left, right
    return text[:start] + text[end:]


def _is_alias(name: Node, node: Node) -> bool:
    # The node graph has the anchored node in an alias's place, and that stands further up.
    return bool(node.start_mark.index < name.end_mark.index)


def _content_end(text: str, name: Node, node: Node) -> int:
    """Where the last thing of an entry ends, comments after it not counted."""
    if _is_alias(name, node):
        alias = re.compile(r"\s*\*[^\s,\[\]{}]+").match(text, _after_colon(text, name))
        if alias is None:
            raise NotEditableError("is an alias; write it out")
        return alias.end()
    if isinstance(node, ScalarNode):
        if not node.value and not node.style:
            return _after_colon(text, name)
        return len(text[: node.end_mark.index].rstrip())
    if not isinstance(node, MappingNode | SequenceNode) or node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    if isinstance(node, MappingNode):
        return _content_end(text, last[0], last[1])
    if last.start_mark.index < node.start_mark.index or not last.value:
        raise NotEditableError("ends in an alias or in nothing; take it out by hand")
    return _content_end(text, node, last)


def _after_colon(text: str, name: Node) -> int:
    colon = re.compile(r"\s*:").match(text, name.end_mark.index)
    if colon is None:
        raise NotEditableError("has no colon beside its key; write it as `key: value`")
    return colon.end()


def _line_end(text: str, index: int) -> int:
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1
