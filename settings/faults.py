"""Faults of the configuration as people read them: one line with the key, the value and what is
allowed.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticCustomError


def same_version(roles: Mapping[str, int]) -> PydanticCustomError | None:
    """The fault of a version with two roles that exclude each other; a canary may be a shadow."""
    stable, canary = roles.get("stable"), roles.get("canary.version")
    for key, others in (
        ("canary.version", {"stable": stable}),
        ("previous", {"stable": stable, "canary": canary}),
        ("shadow.version", {"stable": stable}),
    ):
        for other, version in others.items():
            if version is not None and roles.get(key) == version:
                role = key.partition(".")[0]
                return PydanticCustomError(
                    "slipway",
                    f"is the {other} version too; a {role} is another one",
                    {"at": key, "value": version},
                )
    return None


def fault(at: str, value: Any, message: str) -> PydanticCustomError:
    """The fault of a key inside a section: `at` is the key's path from there."""
    return PydanticCustomError("slipway", message, {"at": at, "value": value})


def between_keys(message: str, value: object) -> PydanticCustomError:
    """A fault of an object whose keys exclude each other."""
    return PydanticCustomError("slipway", message, {"value": value})


def lines(
    error: ValidationError, raw: Mapping[str, Any], root: type[BaseModel], namespace: str
) -> list[str]:
    """One line for each fault in `error`, in the order of the keys in `raw`, none twice."""
    found = [_line(fault, root, namespace) for fault in error.errors(include_url=False)]
    return list(dict.fromkeys(found + _hidden(raw, namespace)))


def _line(fault: Any, root: type[BaseModel], namespace: str) -> str:
    path, value = list(fault["loc"]), fault["input"]
    context = fault.get("ctx", {})
    if path[-1:] == ["[key]"]:
        path.pop()
    if "at" in context:
        path, value = [*path, *context["at"].split(".")], context["value"]
    elif isinstance(value, BaseModel):
        value = value.model_dump(exclude_none=True)
    key = f"{namespace}:{_dotted(path)}"
    match fault["type"]:
        case "extra_forbidden":
            return f"{key}: is not a known key{_nearest(str(path[-1]), _keys(root, path[:-1]))}"
        case "missing":
            return f"{key}: is not set; it takes {_description(root, path)}"
        case "model_type" | "dict_type":
            known = _keys(root, path)
            return f"{key}: {_shown(value)} is not an object" + (
                f" of {', '.join(known)}" if known else ""
            )
        case "list_type":
            return f"{key}: {_shown(value)} is not a list"
        case "bool_type":
            return f"{key}: {_shown(value)} is not true or false"
        case "literal_error":
            allowed = context["expected"].replace("'", "")
            return f"{key}: {_shown(value)} is not one of {allowed}"
        case _ if not value and fault["msg"].startswith("is not set"):
            return f"{key}: {fault['msg']}"
        case _:
            return (
                f"{key}: {_shown(value)} {fault['msg']}{_text_for_number(key, value, fault['msg'])}"
            )


def _hidden(raw: Mapping[str, Any], namespace: str) -> list[str]:
    """Faults between two keys that pydantic does not reach while another key of the same model is
    bad.
    """
    models = raw.get("models")
    found = []
    for name, model in models.items() if isinstance(models, Mapping) else ():
        if not isinstance(model, Mapping):
            continue
        roles = {key: model.get(key) for key in ("stable", "previous")}
        for role in ("canary", "shadow"):
            section = model.get(role)
            roles[f"{role}.version"] = (
                section.get("version") if isinstance(section, Mapping) else None
            )
        fault = same_version({k: v for k, v in roles.items() if type(v) is int})
        if fault and fault.context:
            at, value = fault.context["at"], fault.context["value"]
            found.append(f"{namespace}:models.{name}.{at}: {value} {fault.message()}")
    return found


def _text_for_number(key: str, value: object, message: str) -> str:
    """The way out for a number that is text: Pulumi's CLI keeps text as text for ever."""
    if not isinstance(value, str) or not value.isdecimal() or "whole" not in message:
        return ""
    return f"; it is text: pulumi config rm --path '{key}', then set it again"


def _nearest(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    return (f"; did you mean {close[0]}?" if close else "") + f" (known: {', '.join(known)})"


def _shown(value: object) -> str:
    text = json.dumps(value, default=repr, ensure_ascii=False)
    # What a URL has for a user, or after its path, may be a key.
    text = re.sub(r'://[^/@\s"]*@', "://***@", text)
    text = re.sub(r'(://[^\s"?]*\?)[^\s"]+', r"\1***", text)
    return text if len(text) <= 80 else text[:77] + "..."


def _dotted(path: Sequence[str | int]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


def _section(root: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """The model that describes the object at `path`; None if that is no object with fixed keys."""
    section: type[BaseModel] | None = root
    parts = list(path)
    while parts and section is not None:
        field = section.model_fields.get(str(parts.pop(0)))
        annotation = field.annotation if field else None
        if get_origin(annotation) in (dict, list) and not parts:
            return None
        if get_origin(annotation) in (dict, list):
            parts.pop(0)
        section = next(
            (
                t
                for t in (annotation, *get_args(annotation))
                if isinstance(t, type) and issubclass(t, BaseModel)
            ),
            None,
        )
    return section


def _keys(root: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    section = _section(root, path)
    return sorted(section.model_fields) if section else []


def _description(root: type[BaseModel], path: Sequence[str | int]) -> str:
    section = _section(root, path[:-1])
    return (section.model_fields[str(path[-1])].description if section else None) or "a value"
