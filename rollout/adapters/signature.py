"""Whether a canary can take stable's place: is every request that stable takes good for it, and are
its answers of the same form? Pure.

Source: how MLflow 3.17 reads and enforces a signature for a request, `_enforce_schema` and
`_enforce_params_schema` of `mlflow/models/utils.py` and `mlflow/utils/proto_json_utils.py`, on
requests in JSON. Parquet and the tensors of the Open Inference Protocol bring types of their own,
which MLflow widens less far. Stricter than MLflow where it would take a request and change what it
says: it cuts 1.5 down to 1 for a column of whole numbers, and drops params that it does not know.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

Signature = Mapping[str, Any] | None
_Spec = Mapping[str, Any]
_Specs = list[_Spec]

_NESTED: Final = ("array", "object", "map", "any", "sparkml_vector")
_LISTS: Final = ("array", "object")
# What a column takes besides its own type without changing a value, and what a list's or an
# object's element does, for those are not converted when a request is read.
_COLUMN: Final = {"long": {"integer"}, "double": {"integer", "long", "float"}}
_ELEMENT: Final = {"long": {"integer"}, "double": {"integer", "float"}}
_PARAM: Final = {
    "long": {"integer"},
    "float": {"integer", "long"},
    "double": {"integer", "long", "float"},
}


def differences(
    stable: Signature, canary: Signature, names: tuple[str, str] = ("stable", "canary")
) -> list[str]:
    """A line for each thing that keeps the canary from standing in for stable; none if it can.

    Args:
        stable, canary: `inputs`, `outputs` and `params` as in an `MLmodel` file, where each is a
            JSON text or a list or missing; None for a version without a signature.
        names: what the lines call the two.
    """
    if not stable and not canary:
        return []
    if not stable or not canary:
        have, lack = names if stable else names[::-1]
        return [f"signature: {have} has one, {lack} has none"]
    try:
        return [
            f"{what}: {old} in {names[0]}, {new} in {names[1]}"
            for part, rule in (("inputs", _inputs), ("params", _params), ("outputs", _outputs))
            for what, old, new in rule(_specs(stable, part), _specs(canary, part))
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"signature: makes no sense ({type(error).__name__}: {error})"]


_Difference = tuple[str, str, str]


def _specs(signature: Mapping[str, Any], part: str) -> _Specs:
    found = signature.get(part)
    if isinstance(found, str):
        found = json.loads(found)
    if not found:
        return []
    if not isinstance(found, list) or not all(
        isinstance(spec, dict) and isinstance(spec.get("type"), str) for spec in found
    ):
        raise ValueError(f"its {part} are no list of specifications")
    return found


def _inputs(stable: _Specs, canary: _Specs) -> Iterator[_Difference]:
    if not stable or not canary:
        if stable or canary:
            yield "inputs", _count(stable), _count(canary)
        return
    kinds = [_kind(specs) for specs in (stable, canary)]
    if kinds[0] != kinds[1]:
        yield "inputs", kinds[0], kinds[1]
        return
    new = _by_name(canary)
    old = _by_name(stable)
    if not _named(stable) and len(canary) > len(stable):
        yield "inputs", _count(stable), _count(canary)
    for name, spec in new.items():
        before = old.get(name)
        if before is None:
            if _named(canary) and _required(spec):
                yield f"input {name}", "missing", f"required {_shown(spec)}"
        elif not _takes(spec, before):
            yield f"input {name}", _shown(before), _shown(spec)
        elif _required(spec) and not _required(before):
            yield f"input {name}", f"optional {_shown(before)}", f"required {_shown(spec)}"
    if kinds[0] == "columns with names":
        yield from _reading(old, new)


def _reading(old: Mapping[str, _Spec], new: Mapping[str, _Spec]) -> Iterator[_Difference]:
    """What decides how MLflow reads a request as a whole, beside what each column takes."""
    lists = [any(spec["type"] in _LISTS for spec in side.values()) for side in (old, new)]
    for name in old if not lists[1] else ():
        if name not in new:
            # In a request for one row in the form of `inputs`, a value whose column is not declared
            # becomes an array of no dimension, and pandas makes no table of that.
            yield f"input {name}", _shown(old[name]), "missing (MLflow refuses one row with it)"
    added = [spec for name, spec in new.items() if name not in old]
    if len(old) == 1 and added and not any(map(_required, added)):
        yield "inputs", "one column, whose values need no name", f"{len(new)} columns"
    if lists[0] != lists[1]:
        said = [
            f"{'a' if found else 'no'} column of arrays or objects, so an object of lists is "
            f"{'one row' if found else 'a table'}"
            for found in lists
        ]
        yield "inputs", said[0], said[1]


def _params(stable: _Specs, canary: _Specs) -> Iterator[_Difference]:
    new = _by_name(canary)
    for name, spec in _by_name(stable).items():
        after = new.get(name)
        if after is None:
            yield f"param {name}", _shown(spec), "missing"
            continue
        same_form = _without(spec) == _without(after)
        widened = spec["type"] in _PARAM.get(after["type"], ())
        if spec.get("shape") != after.get("shape") or not (same_form or widened):
            yield f"param {name}", _shown(spec), _shown(after)


def _outputs(stable: _Specs, canary: _Specs) -> Iterator[_Difference]:
    if not stable or not canary:
        return
    old, new = _by_name(stable), _by_name(canary)
    for name in dict.fromkeys([*old, *new]):
        before, after = old.get(name), new.get(name)
        shown = [_shown(spec) if spec else "missing" for spec in (before, after)]
        if not before or not after or _without(before) != _without(after):
            yield f"output {name}", shown[0], shown[1]


def _takes(new: _Spec, old: _Spec) -> bool:
    """Whether an input takes every value that another one takes."""
    if new["type"] == "tensor":
        return _takes_tensor(new.get("tensor-spec", {}), old.get("tensor-spec", {}))
    if new["type"] in _NESTED or old["type"] in _NESTED:
        return _takes_element(new, old)
    return _same_or_wider(new, old, _COLUMN)


def _same_or_wider(new: _Spec, old: _Spec, wider: Mapping[str, set[str]]) -> bool:
    return bool(new["type"] == old["type"] or old["type"] in wider.get(new["type"], ()))


def _takes_element(new: _Spec, old: _Spec) -> bool:
    kind = new["type"]
    if kind == "any":
        return True
    if kind != old["type"] or kind not in _NESTED:
        return kind not in _NESTED and _same_or_wider(new, old, _ELEMENT)
    if kind == "array":
        return _takes_element(new["items"], old["items"])
    if kind == "map":
        return _takes_element(new["values"], old["values"])
    if kind != "object":
        return True
    now, before = new.get("properties", {}), old.get("properties", {})
    # An object with a property that is not declared is refused.
    return before.keys() <= now.keys() and all(
        (
            _takes_element(spec, before[name])
            and (not _property_required(spec) or _property_required(before[name]))
        )
        if name in before
        else not _property_required(spec)
        for name, spec in now.items()
    )


def _takes_tensor(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    if new == old:
        return True
    shapes = [list(spec.get("shape", ())) for spec in (new, old)]
    if new.get("dtype") != old.get("dtype") or len(shapes[0]) != len(shapes[1]):
        return False
    # A table is turned into a tensor of this form alone, and into no other.
    if shapes[1][:1] == [-1] and -1 not in shapes[1][1:]:
        return False
    return all(after in (-1, before) for after, before in zip(*shapes, strict=True))


def _kind(specs: _Specs) -> str:
    what = "tensors" if specs[0]["type"] == "tensor" else "columns"
    return f"{what} with{'' if _named(specs) else 'out'} names"


def _named(specs: _Specs) -> bool:
    return specs[0].get("name") is not None


def _count(specs: _Specs) -> str:
    return f"{len(specs) or 'none'} declared"


def _by_name(specs: _Specs) -> dict[str, _Spec]:
    return {str(spec.get("name") or index): spec for index, spec in enumerate(specs, 1)}


def _required(spec: _Spec) -> bool:
    # MLflow takes a nested column for optional where nothing is said of it.
    return bool(spec.get("required", spec["type"] not in _NESTED))


def _property_required(spec: _Spec) -> bool:
    return bool(spec.get("required", True))


def _without(spec: _Spec) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in ("name", "required", "default")}


def _shown(spec: _Spec) -> str:
    kind = str(spec["type"])
    if kind == "tensor":
        inner = spec.get("tensor-spec", {})
        return f"tensor of {inner.get('dtype')} {tuple(inner.get('shape', ()))}"
    if kind == "array":
        return f"array of {_shown(spec['items'])}"
    if kind == "map":
        return f"map to {_shown(spec['values'])}"
    if kind == "object":
        parts = (
            f"{name}: {'' if _property_required(inner) else 'optional '}{_shown(inner)}"
            for name, inner in spec.get("properties", {}).items()
        )
        return f"object {{{', '.join(parts)}}}"
    shape = spec.get("shape")
    return f"list of {kind}" if shape else kind
