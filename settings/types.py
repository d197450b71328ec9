"""The types of single values in the configuration, each with the words that say what is allowed."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

# MLflow numbers versions with a 32-bit integer: ten digits. A model server is called
# <model>-v<version>, and that is the name of a Service, which may be 63 characters long.
MAX_VERSION = 2**31 - 1
MAX_MODEL_NAME = 63 - len(f"-v{MAX_VERSION}")

_MEMORY_UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}


_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Section(BaseModel):
    """An object of the configuration: no key that is not known, no value of another type."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def duration_seconds(text: str) -> float:
    """Seconds: 90 for `90s`, 0.25 for `250ms`, 600 for `10m`."""
    number, unit = re.fullmatch(r"([\d.]+)([a-z]+)", text).groups()  # type: ignore[union-attr]
    return round(float(number) * _SECONDS[unit], 6)


def cpu_millis(quantity: str) -> int:
    """Thousandths of a CPU: 250 for `250m`, 1500 for `1.5`."""
    return int(quantity[:-1]) if quantity.endswith("m") else round(float(quantity) * 1000)


def memory_bytes(quantity: str) -> int:
    """Bytes: 536870912 for `512Mi`."""
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", quantity).groups()  # type: ignore[union-attr]
    return int(number) * _MEMORY_UNITS.get(unit, 1)


def _fault(message: str) -> PydanticCustomError:
    return PydanticCustomError("slipway", message)


def whole(low: int, high: int, noun: str) -> BeforeValidator:
    """Lets an int from `low` to `high` through; no bool, no float, no text passes for one."""

    def check(value: object) -> object:
        if type(value) is not int or not low <= value <= high:
            raise _fault(f"is not {noun} from {low} to {high}")
        return value

    return BeforeValidator(check)


def matching(pattern: str, message: str) -> BeforeValidator:
    """Lets text through that is all of `pattern`, a regular expression; `message` says what is
    wrong with another value.
    """
    compiled = re.compile(pattern)

    def check(value: object) -> object:
        if not isinstance(value, str) or not compiled.fullmatch(value):
            raise _fault(message)
        return value

    return BeforeValidator(check)


def _version(value: object) -> object:
    allowed = f"is not a version: a whole number from 1 to {MAX_VERSION}"
    if type(value) is int and 1 <= value <= MAX_VERSION:
        return value
    if isinstance(value, str) and not re.fullmatch(r"[-+.\d]+", value):
        raise _fault(
            f"{allowed}; resolve an alias to its version first "
            "(MLflow's get_model_version_by_alias)"
        )
    raise _fault(allowed)


def _version_key(value: object) -> object:
    return _version(int(value) if isinstance(value, str) and value.isdecimal() else value)


def _model_name(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", value):
        raise _fault(
            "is not a model's name here: a DNS label of a-z, 0-9 and '-' that starts with a letter"
        )
    if len(value) > MAX_MODEL_NAME:
        raise _fault(f"has {len(value)} characters, and a model's name at most {MAX_MODEL_NAME}")
    return value


def _cpu(value: object) -> object:
    text = str(value) if type(value) in (int, float) else value
    if (
        not isinstance(text, str)
        or not re.fullmatch(r"\d+m|\d+(\.\d{1,3})?", text)
        or not cpu_millis(text)
    ):
        raise _fault("is not a quantity of CPU such as 250m or 2")
    return text


def _memory(value: object) -> object:
    shape = rf"\d+({'|'.join(_MEMORY_UNITS)})?"
    if not isinstance(value, str) or not re.fullmatch(shape, value) or memory_bytes(value) < 2**24:
        raise _fault("is not a quantity of bytes such as 512Mi or 2Gi, of 16Mi at least")
    return value


def _duration(value: object) -> object:
    shape = r"\d{1,9}(\.\d{1,9})?(ms|s|m|h|d)"
    if not isinstance(value, str) or not re.fullmatch(shape, value) or not duration_seconds(value):
        raise _fault("is not a time such as 500ms, 90s, 10m or 2h")
    return value


def _number(low: float, high: float, message: str) -> BeforeValidator:
    """Lets a number from `low` to `high` through, as a float; no bool, no NaN, no text."""

    def check(value: object) -> object:
        if type(value) not in (int, float) or not low <= value <= high:  # type: ignore[operator]
            raise _fault(message)
        return float(value)  # type: ignore[arg-type]

    return BeforeValidator(check)


def _steps(value: object) -> object:
    allowed = "is not a list of rising whole percentages from 1 to 100, as in [5, 25, 100]"
    if not isinstance(value, list) or not value:
        raise _fault(allowed)
    for before, step in zip([0, *value], value, strict=False):
        if type(step) is not int or type(before) is not int or not before < step <= 100:
            raise _fault(allowed)
    return value


def _seconds_between(low: int, high: int, message: str) -> BeforeValidator:
    """Lets a time through that is a whole number of seconds from `low` to `high`."""

    def check(value: object) -> object:
        shape = r"\d+(s|m|h)"
        if not isinstance(value, str) or not re.fullmatch(shape, value):
            raise _fault(message)
        if not low <= duration_seconds(value) <= high:
            raise _fault(message)
        return value

    return BeforeValidator(check)


def _least_replicas(value: object) -> object:
    if type(value) is not int or not (value == 0 or 2 <= value <= 500):
        raise _fault("is not a whole number of replicas from 2 to 500, or 0")
    return value


def _cidr(value: object) -> object:
    try:
        return str(ipaddress.ip_network(value))  # type: ignore[arg-type]
    except ValueError:
        raise _fault("is not a network such as 10.0.0.0/8") from None


def _url(value: object) -> object:
    if not isinstance(value, str) or not re.fullmatch(r"https?://[^\s/?#@]+/?", value):
        raise _fault("is not a URL such as http://127.0.0.1:8080, without a path")
    return value.rstrip("/")


def _experiments(value: object) -> object:
    allowed = 'is not a list of ids of MLflow\'s experiments, as in ["3", "14"]'
    if value is None:
        return value
    if not isinstance(value, list) or not value:
        raise _fault(allowed)
    # `pulumi config set --path` makes a number of what is one.
    ids = [str(one) if type(one) is int else one for one in value]
    if not all(isinstance(one, str) and re.fullmatch(r"0|[1-9]\d{0,18}", one) for one in ids):
        raise _fault(allowed)
    return list(dict.fromkeys(ids))


def _optional(value: object) -> object:
    if value is not None and not isinstance(value, str):
        raise _fault("is not text")
    return value or None


Text = Annotated[str, matching(r"\S(.*\S)?", "is not text, or is empty")]
OptionalText = Annotated[str | None, BeforeValidator(_optional)]
Experiments = Annotated[list[str] | None, BeforeValidator(_experiments)]
Directory = Annotated[str, matching(r"[^\s:]+", "is not the path of a directory")]
ImageName = Annotated[
    str,
    matching(
        r"[a-z0-9][-\w./]*(:\d+/[-\w./]+)?(:[\w.-]+)?(@sha256:[0-9a-f]{64})?",
        "is not the name of an image",
    ),
]
Registry = Annotated[
    str,
    matching(
        r"[a-z0-9.-]+(:\d+)?(/[a-z0-9._/-]*[a-z0-9])?",
        "is not a registry such as 127.0.0.1:5000 or ghcr.io/someone",
    ),
]
Bucket = Annotated[
    str,
    matching(
        r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]", "is not a bucket's name: 3 to 63 of a-z, 0-9 and '-'"
    ),
]
Version = Annotated[int, BeforeValidator(_version)]
VersionKey = Annotated[int, BeforeValidator(_version_key)]
Weight = Annotated[int, whole(0, 100, "a whole percentage")]
Percentage = Annotated[int, whole(1, 100, "a whole percentage")]
Replicas = Annotated[int, whole(2, 500, "a whole number of replicas")]
LeastReplicas = Annotated[int, BeforeValidator(_least_replicas)]
Count = Annotated[int, whole(1, 500, "a whole number of replicas")]
ScalingPercent = Annotated[int, whole(1, 1000, "a whole percentage")]
RequestRate = Annotated[
    float, _number(0.01, 1e6, "is not a number of requests a second from 0.01 to 1000000")
]
Stabilization = Annotated[str, _seconds_between(0, 3600, "is not a time from 0s to 1h, as in 90s")]
ScalingPeriod = Annotated[str, _seconds_between(1, 1800, "is not a time from 1s to 30m, as in 90s")]
IdlePeriod = Annotated[str, _seconds_between(30, 86400, "is not a time from 30s to 24h, as in 5m")]
ColdStart = Annotated[str, _seconds_between(5, 240, "is not a time from 5s to 4m, as in 60s")]
StuckDuration = Annotated[
    str,
    _seconds_between(600, 30 * 86400, "is not a time from 10m to 720h, as in 24h"),
]
Objective = Annotated[
    float,
    _number(
        95,
        99.999,
        "is not a percentage from 95 to 99.999: 100 leaves no room for one failure, and less "
        "than 95 none for an alert",
    ),
]
TracePercent = Annotated[float, _number(0.01, 100, "is not a percentage from 0.01 to 100")]
Gpus = Annotated[int, whole(0, 64, "a whole number of GPUs")]
NodePort = Annotated[int, whole(30000, 32767, "a port")]
ModelName = Annotated[str, BeforeValidator(_model_name)]
Cpu = Annotated[str, BeforeValidator(_cpu)]
Memory = Annotated[str, BeforeValidator(_memory)]
Cidr = Annotated[str, BeforeValidator(_cidr)]
Url = Annotated[str, BeforeValidator(_url)]
Duration = Annotated[str, BeforeValidator(_duration)]
Steps = Annotated[list[int], BeforeValidator(_steps)]
Share = Annotated[float, _number(0.0001, 1, "is not a share from 0.0001 to 1")]
Number = Annotated[float, _number(-1e300, 1e300, "is not a number")]
GateName = Annotated[
    str, matching(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "is not a name of a-z, 0-9 and '-'")
]
HttpUrl = Annotated[
    str,
    matching(
        r"https?://[A-Za-z0-9]([-.A-Za-z0-9]*[A-Za-z0-9])?(:\d{1,5})?"
        r"([/?]([!#$&-;=?-Z_a-z~]|%[0-9A-Fa-f]{2})*)?",
        "is not a URL such as https://gate.example/churn",
    ),
]
HeaderName = Annotated[
    str, matching(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "is not a header's name in lower case")
]
CookieName = Annotated[str, matching(r"[A-Za-z0-9][-_A-Za-z0-9]{0,62}", "is not a cookie's name")]
LabelKey = Annotated[
    str,
    matching(
        r"([a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?",
        "is not a label's key, as in app.kubernetes.io/name",
    ),
]
LabelValue = Annotated[
    str,
    matching(
        r"([A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?",
        "is not a label's value: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'",
    ),
]
NamespaceName = Annotated[
    str,
    matching(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "is not a namespace of a-z, 0-9 and '-'"),
]
SecretName = Annotated[
    str,
    matching(
        r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", "is not a Secret's name of a-z, 0-9, '-', '.'"
    ),
]
AlertName = Annotated[
    str, matching(r"[A-Z][A-Za-z0-9]{2,62}", "is not an alert's name, as in QueueTooLong")
]
ReceiverName = Annotated[
    str, matching(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", "is not a name of a-z, 0-9 and '-'")
]
SlackChannel = Annotated[
    str, matching(r"[#@][-._a-z0-9]{1,79}", "is not a channel of Slack, as in '#models'")
]
