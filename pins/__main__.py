"""The command behind `make pins`: `python -m pins`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

import click
from pydantic import TypeAdapter, ValidationError

from pins import images, names, stack_file
from pins.names import Name
from pins.registry import Registries, RegistryError
from rollout.adapters.configuration import ConfigurationError, whole
from settings import PROJECT, Settings, SettingsError, of_stack
from settings.types import Registry

_MOVED = 3


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--stack", "-s", required=True, help="The stack; its file is Pulumi.<stack>.yaml.")
@click.option("--check", is_flag=True, help="Write nothing; say which tags have moved.")
@click.option(
    "--registry",
    default="",
    help="Name images by ECR's caches of them below this; "
    "of a stack on AWS its own, where it has any.",
)
@click.option(
    "--cache",
    "caches",
    multiple=True,
    metavar="REGISTRY=NAME",
    help="A registry that is cached, and its cache's name; by default all that ECR can cache "
    f"({', '.join(f'{key}={name}' for key, name in names.CACHES.items())}), of a stack on AWS "
    "those that it makes.",
)
def main(stack: str, check: bool, registry: str, caches: tuple[str, ...]) -> None:
    """Write the digest of each image's tag into the stack's file.

    Exit codes: 0 done; 1 a registry had no answer for an image, and the others are done; 2 bad
    input; 3 with --check, a tag has moved or an image has no digest.
    """
    called = stack.rpartition("/")[2]
    file = Path(f"Pulumi.{called}.yaml")
    try:
        text = file.read_text(encoding="utf-8")
        settings = of_stack(whole(text), called)
        registry, known = _by_way_of(settings, called, registry, caches)
    except OSError:
        _refuse(f"{stack}: there is no {file}")
    except (ConfigurationError, SettingsError, ValueError) as error:
        _refuse(error)
    registries = Registries()
    failed = moved = False
    for path, written in images.wanted(settings).items():
        where = f"{PROJECT}:{'.'.join(path)}"
        try:
            old = names.parse(written)
            new, said = _pinned(old, registries, registry, known)
            click.echo(f"{where}: {new}{said}")
            moved |= str(new) != written
            if not check and str(new) != written:
                text = stack_file.put(text, path, names.in_any(str(new), called))
        except (RegistryError, ConfigurationError, ValueError) as error:
            failed = True
            click.echo(f"slipway: {str(error).removeprefix(f'{where}: ')} ({where})", err=True)
    try:
        hub = _istio(settings, registries, registry, known)
        if hub != settings.istio.hub:
            text, moved = stack_file.put(text, images.HUB, names.in_any(hub, called)), True
    except (RegistryError, ConfigurationError, ValueError) as error:
        failed = True
        click.echo(f"slipway: {error} ({PROJECT}:istio)", err=True)
    if not check and moved:
        file.write_text(text, encoding="utf-8")
        click.echo(f"{file}: written")
    raise SystemExit(1 if failed else _MOVED if check and moved else 0)


def _pinned(
    old: Name, registries: Registries, registry: str, known: Mapping[str, str]
) -> tuple[Name, str]:
    """The image by the digest that its tag has now, and what of that is new."""
    source = _origin(old, known)
    where = names.cached(source, registry, known) if registry else old
    if not old.tag:
        if not old.digest:
            raise ValueError(f"{old}: has no tag; name one, as in {old}:1.2.3")
        return where, " (it has no tag to look up)"
    new = where.at(registries.digest(source.without()))
    if not old.digest:
        return new, " (it had no digest)"
    return new, f" (moved, it was {old.digest})" if new.digest != old.digest else ""


def _origin(name: Name, known: Mapping[str, str]) -> Name:
    """Where it is from, by a cache that is no more, too."""
    return names.origin(name, {**names.CACHES, **known})


def _istio(
    settings: Settings, registries: Registries, registry: str, known: Mapping[str, str]
) -> str:
    """Istio's hub, in the cache; its charts take one tag for all images, no digest."""
    hub = settings.istio.hub
    for image in images.ISTIO:
        one = _origin(names.parse(f"{hub}/{image}:{settings.istio.tag}"), known)
        digest = registries.digest(one)
        click.echo(f"{PROJECT}:istio: {one} is {digest} (its charts name it by tag alone)")
    if not registry:
        return hub
    found = names.cached(one, registry, known)
    return f"{found.registry}/{found.repository.removesuffix(f'/{image}')}"


def _by_way_of(
    settings: Settings, stack: str, registry: str, caches: tuple[str, ...]
) -> tuple[str, Mapping[str, str]]:
    """Below what images are named, "" for where they are; registry -> its cache's name. What is
    not given is the stack's own on AWS. Raises ValueError as `_caches` does.
    """
    aws = settings.aws
    if aws is None:
        return registry, _caches(registry, caches)
    # It draws in all of components/aws: seconds that other stacks do without.
    from components.aws import naming

    own = f"{naming.image_host(aws.account, aws.region)}/{naming.prefix(stack)}"
    if caches or registry not in ("", own):
        return registry or own, _caches(registry or own, caches)
    through: list[str] = [*aws.registry.pull_through]
    if aws.registry.docker_hub_credentials:
        through.append(names.DOCKER)
    return own if through else "", {one: names.CACHES[one] for one in through}


def _caches(registry: str, given: tuple[str, ...]) -> Mapping[str, str]:
    """Registry -> its cache's name. Raises ValueError for what is no registry of ECR, no such pair,
    or a registry that ECR cannot cache.
    """
    try:
        if registry:
            TypeAdapter(Registry).validate_python(registry)
    except ValidationError as error:
        raise ValueError(f"--registry: {registry} {error.errors()[0]['msg']}") from None
    if registry and not names.is_ecr(registry.partition("/")[0]):
        raise ValueError(
            f"--registry: {registry} is not in ECR, as in "
            "123456789012.dkr.ecr.eu-central-1.amazonaws.com/slipway-prod"
        )
    if not given:
        return names.CACHES
    if not registry:
        raise ValueError("--cache: is of no use without --registry")
    for one in given:
        if not re.fullmatch(r"[a-z0-9.-]+=[a-z0-9/_-]+", one):
            raise ValueError(f"--cache: {one} is no pair such as docker.io=hub")
        if one.partition("=")[0] not in names.CACHES:
            there = ", ".join(names.CACHES)
            raise ValueError(f"--cache: {one}: ECR caches no such registry (there: {there})")
    return dict(one.split("=") for one in given)


def _refuse(why: object) -> NoReturn:
    for line in str(why).splitlines():
        click.echo(f"slipway: {line}", err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main(prog_name="python -m pins")
