"""The registry: versions and aliases of models, through MLflow's own client.

The client is imported at the first question, for that takes seconds. It is told not to wait long:
a registry that is gone is one line after some seconds, and whoever can wait asks again.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import yaml

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 6
_SHOWN: Final = 20
_MOST_FILES: Final = 2000
_MLMODEL: Final = "MLmodel"
_PYFUNC: Final = "python_function"
# Read by MLflow at each request. Set while it is asked and no longer: what this process starts, an
# update for one, inherits its environment.
_ENVIRONMENT: Final = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(ANSWER_SECONDS),
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # The client would else be sent to the bucket itself, which only the server reaches.
    "MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class RegistryError(Exception):
    """A question that the registry does not answer as hoped; the message is one line.

    Attributes:
        kind: `unreachable` where it does not answer, and another attempt is worthwhile; else
            `failed`.
    """

    def __init__(self, message: str, kind: Literal["unreachable", "failed"] = "failed") -> None:
        super().__init__(message)
        self.kind = kind


class Registry:
    """MLflow's registry at `uri`.

    Credentials are MLflow's own: MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or
    MLFLOW_TRACKING_TOKEN. Every method raises `RegistryError` where MLflow does not answer.

    Raises:
        RegistryError: `uri` is not an http or https URL.
    """

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError(f"slipway:mlflow.url: {uri!r} is not an http or https URL")
        self._uri = uri.rstrip("/")
        place = parts.hostname + (f":{parts.port}" if parts.port else "")
        self._shown = urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", ""))
        self._mlmodels: dict[tuple[str, int], dict[str, Any]] = {}

    def resolve(self, model: str, wanted: str) -> int:
        """The version that `wanted` names: `3`, or `@alias`.

        Raises:
            RegistryError: there is no such model, version or alias; the message lists those there
                are.
        """
        if re.fullmatch(r"@\S+", wanted):
            aliases = self._aliases(model)
            if wanted[1:] not in aliases:
                known = ", ".join(f"@{name} is {v}" for name, v in sorted(aliases.items()))
                raise RegistryError(
                    f"{model}: has no alias {wanted} (there: {known or 'none'}); set it in MLflow, "
                    "or name a version"
                )
            return aliases[wanted[1:]]
        if not re.fullmatch(r"[1-9]\d{0,9}", wanted):
            raise RegistryError(
                f"{model}: {wanted!r} is neither a version, such as 3, nor an alias, such as "
                "@challenger"
            )
        self._version(model, int(wanted))
        return int(wanted)

    def ready(self, model: str, version: int, allow_pickle: bool = False) -> None:
        """Nothing, if a model server can serve the version, as far as can be told from here.

        Told from the `MLmodel` files and the names of the others; what is a pickle by its first
        bytes alone, and whether the digest is right, the model server's own init container checks.

        Raises:
            RegistryError: it cannot; the message says why.
        """
        found = self._version(model, version)
        if found.status != "READY":
            raise RegistryError(f"{model} {version}: is {found.status} in MLflow, not READY")
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder, model)
            root.mkdir()
            self._outline(model, version, root)
            flavors = self._mlmodel(model, version).get("flavors")
            if not isinstance(flavors, dict) or _PYFUNC not in flavors:
                shown = ", ".join(map(str, flavors)) if isinstance(flavors, dict) else ""
                raise RegistryError(
                    f"{model} {version}: has no flavor {_PYFUNC} (there: {shown or 'none'}), which "
                    "is what is served; log it with a flavor of MLflow's, or as mlflow.pyfunc"
                )
            pickles = _pickles()
            try:
                pickles.check(root, allow_pickle, model)
            except pickles.PickledModelError as error:
                raise RegistryError(f"{model} {version}: {error}") from None

    def signature(self, model: str, version: int) -> dict[str, Any] | None:
        """The version's signature as its `MLmodel` has it; None without one."""
        self._version(model, version)
        found = self._mlmodel(model, version).get("signature")
        return found if isinstance(found, dict) else None

    def alias(self, model: str, name: str) -> int | None:
        """The version that an alias names; None where there is no such alias."""
        return self._aliases(model).get(name.removeprefix("@"))

    def set_alias(self, model: str, name: str, version: int | None) -> None:
        """Have the alias name the version, or nothing; nothing is sent where it is so already."""
        name = name.removeprefix("@")
        if self.alias(model, name) == version:
            return
        with self._asked(f"{model}: alias @{name}"):
            if version is None:
                self._client.delete_registered_model_alias(model, name)
            else:
                self._client.set_registered_model_alias(model, name, str(version))

    def _aliases(self, model: str) -> dict[str, int]:
        with self._asked(model):
            try:
                found = self._client.get_registered_model(model).aliases
            except Exception as error:
                self._known_model(model, error)
                raise
        return {name: int(version) for name, version in found.items()}

    def _version(self, model: str, version: int) -> ModelVersion:
        with self._asked(f"{model} {version}"):
            try:
                return self._client.get_model_version(model, str(version))
            except Exception as error:
                if not _is_missing(error):
                    raise
                try:
                    self._client.get_registered_model(model)
                except Exception as missing:
                    self._known_model(model, missing)
                    raise
                quote = '"' if "'" in model else "'"
                found = self._client.search_model_versions(f"name={quote}{model}{quote}")
                known = [str(number) for number in sorted(int(entry.version) for entry in found)]
                raise RegistryError(
                    f"{model}: version {version} is not registered in MLflow "
                    f"(there: {_listed(known)})"
                ) from None

    def _known_model(self, model: str, error: Exception) -> None:
        """Raises the error of a model that is not there, if `error` says so."""
        if _is_missing(error):
            names = [found.name for found in self._client.search_registered_models()]
            raise RegistryError(
                f"{model}: is not registered in MLflow at {self._shown} "
                f"(there: {_listed(sorted(names))})"
            ) from None

    def _mlmodel(self, model: str, version: int) -> dict[str, Any]:
        # A version is never written again, so it is read once.
        if (model, version) not in self._mlmodels:
            with tempfile.TemporaryDirectory() as folder, self._asked(f"{model} {version}"):
                repository = self._artifacts(model, version)
                if not any(file.path == _MLMODEL for file in repository.list_artifacts()):
                    raise RegistryError(f"{model} {version}: has no file {_MLMODEL}; log it anew")
                text = Path(repository.download_artifacts(_MLMODEL, folder)).read_bytes()
            try:
                found = yaml.safe_load(text)
            except (yaml.YAMLError, UnicodeDecodeError):
                found = None
            if not isinstance(found, dict):
                raise RegistryError(f"{model} {version}: its {_MLMODEL} is no YAML; log it anew")
            self._mlmodels[model, version] = found
        return self._mlmodels[model, version]

    def _outline(self, model: str, version: int, root: Path) -> None:
        """Put the version's files into `root`: the `MLmodel` ones as they are, others empty."""
        mlmodels = 0
        with self._asked(f"{model} {version}"):
            repository = self._artifacts(model, version)
            folders: list[str | None] = [None]
            count = 0
            while folders:
                for file in repository.list_artifacts(folders.pop()):
                    count += 1
                    path = PurePosixPath(file.path)
                    if path.is_absolute() or ".." in path.parts or count > _MOST_FILES:
                        raise RegistryError(
                            f"{model} {version}: its files make no sense: {file.path!r} is file "
                            f"{count}, of at most {_MOST_FILES}, all below one folder"
                        )
                    if file.is_dir:
                        folders.append(file.path)
                        continue
                    target = root / path
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.touch()
                    if path.name == _MLMODEL and mlmodels < _SHOWN:
                        mlmodels += 1
                        repository.download_artifacts(file.path, str(root))
        if not (root / _MLMODEL).is_file():
            raise RegistryError(f"{model} {version}: has no file {_MLMODEL}; log it anew")

    def _artifacts(self, model: str, version: int) -> Any:
        from mlflow.store.artifact import artifact_repository_registry

        # By its address and not as models:/name/version, for which MLflow would ask whatever
        # registry the environment names.
        uri = self._client.get_model_version_download_uri(model, str(version))
        return artifact_repository_registry.get_artifact_repository(
            uri, tracking_uri=self._uri, registry_uri=self._uri
        )

    @cached_property
    def _client(self) -> MlflowClient:
        from mlflow import MlflowClient

        return MlflowClient(self._uri, self._uri)

    @contextmanager
    def _asked(self, about: str) -> Iterator[None]:
        """Turns what MLflow raises into one line that begins with `about`."""
        before = {key: os.environ.get(key) for key in _ENVIRONMENT}
        os.environ.update(_ENVIRONMENT)
        try:
            self._reach()
            yield
        except RegistryError:
            raise
        except Exception as error:
            raise self._told(about, error) from None
        finally:
            for key, value in before.items():
                if value is None:
                    os.environ.pop(key, None)
                else:
                    os.environ[key] = value

    def _reach(self) -> None:
        """Find out soon whether anybody is there, before MLflow is imported and waits longer."""
        parts = urlsplit(self._uri)
        host = parts.hostname or ""
        if "_client" in vars(self) or (getproxies().get(parts.scheme) and not proxy_bypass(host)):
            return
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((host, port), CONNECT_SECONDS).close()

    def _told(self, about: str, error: Exception) -> RegistryError:
        text = " ".join(str(error).split())
        status = getattr(error, "get_http_status_code", lambda: 0)()
        code = str(getattr(error, "error_code", ""))
        if isinstance(error, OSError) or "failed with exception" in text or "Max retries" in text:
            cause = text.rpartition("Caused by ")[2][:200] if "Caused by" in text else text[:200]
            return RegistryError(
                f"MLflow at {self._shown} does not answer ({cause}); is it running, and is "
                "slipway:mlflow.url where this machine reaches it?",
                "unreachable",
            )
        if status in (401, 403) or code in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
            return RegistryError(
                f"{about}: MLflow at {self._shown} refuses it ({text[:200]}); set "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            )
        gone = code in ("TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED") or status >= 502
        return RegistryError(
            f"{about}: MLflow at {self._shown} says: {text[:300] or type(error).__name__}",
            "unreachable" if gone else "failed",
        )


def _is_missing(error: Exception) -> bool:
    return getattr(error, "error_code", None) == "RESOURCE_DOES_NOT_EXIST"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "none") + more


def _pickles() -> Any:
    """The rules by which the model server refuses pickles; its package lies beside this one."""
    place = str(Path(__file__).resolve().parents[2] / "serving_image")
    if place not in sys.path:
        sys.path.append(place)
    from slipway_runtime import pickles

    return pickles
