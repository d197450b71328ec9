"""What S3 takes for a bucket's name, beside that dots are refused here: with one, TLS fails, for
the certificate of S3 covers one label.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def fault(name: str) -> str | None:
    """What is wrong with a bucket's name; None if nothing is."""
    if not 3 <= len(name) <= 63:
        return f"has {len(name)} characters, and a bucket's name 3 to 63"
    if _address(name):
        return "looks like an IP address; a bucket's name does not"
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return f"begins with {prefix}, which S3 keeps for itself"
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return f"ends with {suffix}, which S3 keeps for itself"
    if "." in name:
        return "holds a dot, with which TLS to the bucket fails; use '-'"
    if odd := re.search(r"[^a-z0-9-]", name):
        return f"holds {odd.group()!r}; a bucket's name is of a-z, 0-9 and '-'"
    if name[0] == "-" or name[-1] == "-":
        return "begins or ends with '-'; a bucket's name begins and ends with a letter or digit"
    return None


def _address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _check(value: object) -> object:
    if not isinstance(value, str):
        raise PydanticCustomError("slipway", "is not a bucket's name: text")
    if found := fault(value):
        raise PydanticCustomError("slipway", found)
    return value


BucketName = Annotated[str, BeforeValidator(_check)]
