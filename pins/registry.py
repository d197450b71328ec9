"""What registries say of an image's tag, by the distribution API of OCI.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md and, for tokens,
https://distribution.github.io/distribution/spec/auth/token/. Nobody logs in: what can't be read by
anybody can't be read here.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, Final

import httpx

from pins.names import DOCKER, Name

PLATFORM: Final = ("linux", "amd64")
_INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
_MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
# The registry that a name speaks of -> the host that answers for it.
_HOSTS: Final = {DOCKER: "registry-1.docker.io"}
# A manifest is a few kilobytes; registries take 4 MiB at most.
_LARGEST: Final = 4 * 2**20
_SECONDS: Final = 20.0


class RegistryError(Exception):
    """A tag's digest can't be had; the message is one line."""


class Registries:
    """Registries, asked without a login. `digest` is to be called by one thread alone."""

    def __init__(self, client: httpx.Client | None = None) -> None:
        self._client = client or httpx.Client(timeout=_SECONDS, follow_redirects=True)
        # Registry and repository -> the token to read it with.
        self._tokens: dict[tuple[str, str], str] = {}

    def digest(self, name: Name) -> str:
        """The digest of what the tag names now: of the index, where there is one, so that each
        platform gets its own. It is counted from the bytes that came.

        Raises:
            RegistryError: the registry does not answer, has no such tag or wants a login, one has
                asked it too often, or the image is not for linux/amd64.
        """
        answer = self._get(name, f"manifests/{name.tag}", ", ".join((*_INDEXES, *_MANIFESTS)))
        counted = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        told = answer.headers.get("docker-content-digest", counted)
        if told.startswith("sha256:") and told != counted:
            raise RegistryError(f"{name}: {name.registry} says {told}, and what came is {counted}")
        self._check(name, _document(name, answer))
        return counted

    def _check(self, name: Name, manifest: Mapping[str, Any]) -> None:
        """Raise RegistryError if it is not for PLATFORM."""
        if isinstance(manifest.get("manifests"), list):
            found = {_platform(one.get("platform")) for one in manifest["manifests"]}
        else:
            config = str((manifest.get("config") or {}).get("digest") or "")
            if not re.fullmatch(r"sha256:[0-9a-f]{64}", config):
                raise RegistryError(f"{name}: is no image, but something else in a registry")
            found = {_platform(_document(name, self._get(name, f"blobs/{config}", "*/*")))}
        if PLATFORM not in found:
            there = ", ".join(sorted("/".join(one) for one in found)) or "nothing"
            raise RegistryError(f"{name}: is not for {'/'.join(PLATFORM)} (it is for {there})")

    def _get(self, name: Name, path: str, accept: str) -> httpx.Response:
        url = f"{_base(name.registry)}/v2/{name.repository}/{path}"
        key = (name.registry, name.repository)
        for attempt in (1, 2):
            headers = {"Accept": accept}
            if key in self._tokens:
                headers["Authorization"] = f"Bearer {self._tokens[key]}"
            answer = self._send(name, url, headers)
            if answer.status_code == 401 and attempt == 1:
                self._tokens[key] = self._token(name, answer)
                continue
            break
        _expect(name, answer)
        return answer

    def _token(self, name: Name, refused: httpx.Response) -> str:
        """A token for whoever asks, as the refusal says where."""
        challenge = refused.headers.get("www-authenticate", "")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        realm = fields.get("realm", "")
        if not challenge.lower().startswith("bearer ") or not _trusted(realm, name.registry):
            raise RegistryError(f"{name}: {name.registry} wants a login")
        asked = {key: fields[key] for key in ("service", "scope") if key in fields}
        asked.setdefault("scope", f"repository:{name.repository}:pull")
        answer = self._send(name, str(httpx.URL(realm).copy_merge_params(asked)), {})
        _expect(name, answer)
        found = _document(name, answer)
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str) or not token:
            raise RegistryError(f"{name}: {name.registry} wants a login")
        return token

    def _send(self, name: Name, url: str, headers: Mapping[str, str]) -> httpx.Response:
        try:
            with self._client.stream("GET", url, headers=headers) as answer:
                body = b""
                for piece in answer.iter_bytes():
                    body += piece
                    if len(body) > _LARGEST:
                        raise RegistryError(f"{name}: {name.registry} sends more than 4 MiB")
                return httpx.Response(
                    answer.status_code,
                    # The body is as it was before any encoding for the way.
                    headers=[(k, v) for k, v in answer.headers.items() if k != "content-encoding"],
                    content=body,
                )
        except httpx.TimeoutException:
            raise RegistryError(
                f"{name}: {name.registry} does not answer within {_SECONDS:.0f} s"
            ) from None
        except httpx.HTTPError as error:
            raise RegistryError(f"{name}: {name.registry} does not answer: {error}") from None


def _expect(name: Name, answer: httpx.Response) -> None:
    status = answer.status_code
    if status == 200:
        return
    if status in (401, 403):
        why = f"{name.registry} wants a login, or has no such repository"
    elif status == 404:
        why = f"there is no such tag in {name.registry}"
    elif status == 429:
        wait = answer.headers.get("retry-after", "")
        after = f" in {wait} s" if wait.isdecimal() else " later"
        why = f"{name.registry} has been asked too often (a rate limit); try again{after}"
    else:
        why = f"{name.registry} answers {status}"
    raise RegistryError(f"{name}: {why}")


def _document(name: Name, answer: httpx.Response) -> Mapping[str, Any]:
    try:
        found = json.loads(answer.content)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise RegistryError(f"{name}: {name.registry} answers with something that is no JSON")
    return found


def _platform(raw: Any) -> tuple[str, str]:
    raw = raw if isinstance(raw, dict) else {}
    return str(raw.get("os", "?")), str(raw.get("architecture", "?"))


def _base(registry: str) -> str:
    host = _HOSTS.get(registry, registry)
    return f"{'http' if _local(host) else 'https'}://{host}"


def _local(host: str) -> bool:
    return host.partition(":")[0] in ("localhost", "127.0.0.1")


def _trusted(realm: str, registry: str) -> bool:
    """Whether a token may be fetched from there: never in the clear, but from one's own machine."""
    return realm.startswith("https://") or (realm.startswith("http://") and _local(registry))
