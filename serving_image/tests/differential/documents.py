"""JSON documents as trees that can be mutated into what no JSON writer would write.

A leaf is JSON *text*, so that ``1e400``, ``NaN``, ``01`` and a key written ``"c\\u0030"`` are all
leaves; objects are lists of pairs, so that keys can be repeated and be no strings.
"""

import copy
import json
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Node: TypeAlias = "str | list[Node] | Object"
Container: TypeAlias = "list[Node] | Object"


@dataclass
class Object:
    """A JSON object: pairs of a key, as JSON text, and a value."""

    pairs: list[tuple[str, Node]]


def obj(**members: Node) -> Object:
    """Returns an object with these members."""
    return Object([(text(key), value) for key, value in members.items()])


def text(value: str) -> str:
    """Returns a leaf: ``value`` as a JSON string in ASCII."""
    return json.dumps(value)


def node(value: object) -> Node:
    """Returns the tree of a value that JSON can hold."""
    if isinstance(value, dict):
        return Object([(text(str(key)), node(child)) for key, child in value.items()])
    if isinstance(value, list | tuple):
        return [node(child) for child in value]
    return json.dumps(value)


def render(tree: Node, comma: str = ",", colon: str = ":") -> str:
    """Returns the text of a document."""
    if isinstance(tree, str):
        return tree
    if isinstance(tree, Object):
        pairs = (f"{key}{colon}{render(value, comma, colon)}" for key, value in tree.pairs)
        return "{" + comma.join(pairs) + "}"
    return "[" + comma.join(render(child, comma, colon) for child in tree) + "]"


Act = Literal[
    "replace", "delete", "repeat", "swap", "wrap", "unwrap", "insert", "rename", "escape", "split"
]
ACTS: Final[tuple[Act, ...]] = (
    "replace",
    "delete",
    "repeat",
    "swap",
    "wrap",
    "unwrap",
    "insert",
    "rename",
    "escape",
    "split",
)


@dataclass(frozen=True)
class Mutation:
    """One change of a document.

    Attributes:
        depth: how deep the place is that changes; beyond the deepest, the deepest.
        index: which of the places of that depth, counted round and round.
        act: what is done there.
        value: what is put there, where something is.
        key: the key, as JSON text, that is put there, where one is.
    """

    depth: int
    index: int
    act: Act
    value: Node
    key: str


def mutate(tree: Node, mutations: list[Mutation]) -> Node:
    """Returns ``tree`` with ``mutations`` made one after the other; ``tree`` itself is kept."""
    root: list[Node] = [copy.deepcopy(tree)]
    for mutation in mutations:
        levels = _levels(root)
        level = levels[min(mutation.depth, len(levels) - 1)]
        container, index = level[mutation.index % len(level)]
        if isinstance(container, Object):
            _change_member(container, index, mutation)
        else:
            _change_item(container, index, mutation, container is root)
    return root[0]


def _levels(root: list[Node]) -> list[list[tuple[Container, int]]]:
    """Returns every place of a document by its depth: a container and an index in it."""
    levels: list[list[tuple[Container, int]]] = []
    containers: list[Container] = [root]
    while containers:
        level: list[tuple[Container, int]] = []
        deeper: list[Container] = []
        for container in containers:
            if isinstance(container, Object):
                children = [value for _, value in container.pairs]
            else:
                children = container
            level += [(container, index) for index in range(len(children))]
            deeper += [child for child in children if not isinstance(child, str)]
        if level:
            levels.append(level)
        containers = deeper
    return levels


def _changed(value: Node, mutation: Mutation) -> Node:
    """Returns what stands in place of ``value``."""
    if mutation.act == "wrap":
        return [value]
    if mutation.act == "unwrap" and isinstance(value, list) and value:
        return value[0]
    if mutation.act == "unwrap" and isinstance(value, Object) and value.pairs:
        return value.pairs[0][1]
    return copy.deepcopy(mutation.value)


def _change_item(items: list[Node], index: int, mutation: Mutation, is_root: bool) -> None:
    # There is one root: what would add to it, or take it away, replaces it.
    act = "replace" if is_root and mutation.act in ("delete", "repeat", "insert") else mutation.act
    if act == "delete":
        del items[index]
    elif act == "repeat":
        items.insert(index, copy.deepcopy(items[index]))
    elif act == "insert":
        items.insert(index + 1, copy.deepcopy(mutation.value))
    elif act == "swap":
        other = (index + 1) % len(items)
        items[index], items[other] = items[other], items[index]
    else:
        items[index] = _changed(items[index], mutation)


def _change_member(found: Object, index: int, mutation: Mutation) -> None:
    pairs, act = found.pairs, mutation.act
    key, value = pairs[index]
    if act == "delete":
        del pairs[index]
    elif act == "repeat":
        pairs.insert(index, (key, copy.deepcopy(value)))
    elif act == "split":
        # The same key with another value: the last one counts.
        pairs.append((key, copy.deepcopy(mutation.value)))
    elif act == "insert":
        pairs.insert(index + 1, (mutation.key, copy.deepcopy(mutation.value)))
    elif act == "swap":
        other = (index + 1) % len(pairs)
        pairs[index], pairs[other] = pairs[other], pairs[index]
    elif act == "rename":
        pairs[index] = (mutation.key, value)
    elif act == "escape":
        pairs[index] = (_escaped(key), value)
    else:
        pairs[index] = (key, _changed(value, mutation))


def _escaped(key: str) -> str:
    """Returns the same key, its last character written as an escape where it has a plain one."""
    if len(key) < 3 or not key[-2].isalnum() or "\\" in key:
        return key
    return f'{key[:-2]}\\u{ord(key[-2]):04x}"'
