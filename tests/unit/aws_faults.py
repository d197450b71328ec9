"""Faults of one section of the settings by itself."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

import settings.faults
from settings.types import Section


def faults(called: str, section: type[Section], **keys: Any) -> list[str]:
    """The lines that are said of these keys of a section called `called`; [] where all is well."""
    try:
        section.model_validate(keys)
    except ValidationError as error:
        said = settings.faults.lines(error, {}, section, called)
        return [line.replace(":", ".", 1) for line in said]
    return []
