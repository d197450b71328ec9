"""The secrets of the sign-in in front of MLflow, `slipway:mlflowSignIn`, and their faults."""

from __future__ import annotations

import re
from collections.abc import Mapping

from settings.sign_in import SignIn

from .mlflow_sign_in import CLIENT, COOKIE, PASSWORDS, secret_names

_KEY = "slipway:mlflowSignIn"
_HOW = {
    COOKIE: '"$(openssl rand -hex 16)"',
    CLIENT: "<the issuer's secret for this client>",
    PASSWORDS: '"$(htpasswd -nBC 12 <name>)"',
}
# A name, and a hash of bcrypt: https://httpd.apache.org/docs/2.4/misc/password_encryptions.html
_ENTRY = re.compile(r"[^\s:]+:\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_LEAST_COST = 10


def faults(sign_in: SignIn | None, given: Mapping[str, str]) -> list[str]:
    """One line for each secret that is missing, unknown or of no use. None shows any of it."""
    needed = secret_names(sign_in) if sign_in else ()
    found = [
        f"{_KEY}.{name}: is not set; set it: {_set(name)}" for name in needed if not given.get(name)
    ]
    found += [
        f"{_KEY}.{name}: is of no use here; remove it: pulumi config rm --path '{_KEY}.{name}'"
        for name in sorted({*given} - {*needed})
    ]
    cookie = given.get(COOKIE)
    if COOKIE in needed and cookie and not re.fullmatch(r"[0-9a-f]{32}", cookie):
        found.append(f"{_KEY}.{COOKIE}: is not 32 hexadecimal digits; set it: {_set(COOKIE)}")
    if PASSWORDS in needed and given.get(PASSWORDS):
        found += _list_faults(given[PASSWORDS])
    return found


def _list_faults(text: str) -> list[str]:
    for number, line in enumerate(filter(None, map(str.strip, text.splitlines())), 1):
        entry = _ENTRY.fullmatch(line)
        if entry is None or int(entry[1]) < _LEAST_COST:
            return [
                f"{_KEY}.{PASSWORDS}: line {number} is not a name and a hash of bcrypt of cost "
                f"{_LEAST_COST} or more; make it: {_set(PASSWORDS)}"
            ]
    return []


def _set(name: str) -> str:
    return f"pulumi config set --secret --path '{_KEY}.{name}' {_HOW[name]}"
