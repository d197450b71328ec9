"""Installs every tool the project needs into the per-user cache, each once for each set of pins.

A tool is taken from PATH if the right version is there, else from Debian's packages, else built
from its pinned Go module. A tool's directory in the cache is named by a hash of all that decides
its content and appears there whole or not at all, so a killed run leaves nothing to clean up and
the next one goes on where it stopped.

Standard library alone, here and in what this imports: it runs before the environment exists.
"""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from local import optional
from local.catalogue import all_tools
from local.console import UserError, format_seconds, say
from local.instance import PROJECT, cache_dir
from local.toolkit import LINKS, Tool, exclusive, link, which
from local.venv import ensure_venv

# Tool → the name of its link in .slipway/charts, and what in its directory that leads to.
CHARTS = {"istio-charts": ("istio", "charts"), "keda-chart": ("keda", "chart")}
# Seen: 10 of Go's build cache, dropped at the end, 9 of its module cache, 3 of tools; and what
# KEDA's build adds to that.
MIN_FREE_GIB = 25
KEDA_GIB = 5


def install(*, cluster: bool = True) -> dict[str, float]:
    """Install what is missing, as many at once as there are cores; seconds for each tool made.

    Links every program into `.slipway/bin`, and the charts into `.slipway/charts`: `istio`, and
    `keda` where a stack asks for it.

    Raises:
        UserError: a tool could not be made; the others that were under way are finished first.
    """
    _check_cache()
    with exclusive(cache_dir() / "tools.lock"):
        return _install(all_tools(cluster=cluster, optional=optional.wanted(cluster=cluster)))


def _install(tools: list[Tool]) -> dict[str, float]:
    missing = [tool for tool in tools if not tool.directory.exists() and not tool.on_path()]
    times: dict[str, float] = {}
    if missing:
        _check_room(missing)
        say(f"  tools: {len(missing)} of {len(tools)} to make, once; then they are cached")
    with ThreadPoolExecutor(max_workers=max(2, os.cpu_count() or 1)) as pool:
        venv = pool.submit(ensure_venv)
        running: dict[Future[float], Tool] = {
            pool.submit(_install_one, tool): tool for tool in missing
        }
        failure: UserError | None = None
        pending = set(running)
        while pending:
            try:
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
            except KeyboardInterrupt:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            for future in done:
                tool = running[future]
                try:
                    times[tool.name] = future.result()
                except (UserError, OSError) as error:
                    failure = failure or UserError(f"tool {tool.name} {tool.version}: {error}")
                    pending -= {other for other in pending if other.cancel()}
                    continue
                say(
                    f"  tools: [{len(times)}/{len(missing)}] {tool.name} {tool.version} "
                    f"ready in {format_seconds(times[tool.name])}"
                )
        if failure:
            raise failure
        seconds = venv.result()
        if seconds is not None:
            times["python environment"] = seconds
            say(f"  tools: python environment ready in {format_seconds(seconds)}")
    _link(tools)
    if missing and "GOCACHE" not in os.environ:
        # Only the finished tools are needed from here on; the build cache holds gigabytes.
        shutil.rmtree(cache_dir() / "go-build", ignore_errors=True)
    return times


def _install_one(tool: Tool) -> float:
    start = time.monotonic()
    partial = tool.directory.with_name(tool.directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tool.install(partial)
    partial.rename(tool.directory)
    return time.monotonic() - start


def _check_cache() -> None:
    try:
        cache_dir().mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"cache {cache_dir()}: {error.strerror}; set SLIPWAY_CACHE to a directory you can write"
        ) from None


def _check_room(missing: list[Tool]) -> None:
    cache = cache_dir()
    free = shutil.disk_usage(cache).free / 2**30
    need = min(MIN_FREE_GIB, 2 + 2 * len(missing))
    if any(tool.name == "keda" for tool in missing):
        need += KEDA_GIB
    if free < need:
        raise UserError(
            f"disk: {free:.1f} GiB free under {cache}, {need} GiB needed to build the tools; "
            "free some, or set SLIPWAY_CACHE to a larger disk"
        )


def _link(tools: list[Tool]) -> None:
    """Point `.slipway/bin` and `.slipway/charts` at the tools, replacing what pointed elsewhere,
    and `slipway` at this project's command line.
    """
    wanted = {LINKS / "bin/slipway": PROJECT / "rollout/slipway"}
    for tool in tools:
        installed = tool.directory.exists()
        for name in tool.binaries:
            # Pulumi finds its plugins elsewhere, and warns of those on PATH.
            if not name.startswith(("pulumi-resource-", "pulumi-language-")):
                source = tool.directory / "bin" / name if installed else which(name)
                wanted[LINKS / "bin" / name] = source or Path()
        if tool.name in CHARTS:
            name, directory = CHARTS[tool.name]
            wanted[LINKS / "charts" / name] = tool.directory / directory
    places = {tool.name: tool.directory / "bin" for tool in tools if tool.directory.exists()}
    if "pulumi" in places and "pulumi-language-python" in places:
        # Beside the program is where it looks for the language host without a warning.
        for host in ("pulumi-language-python", "pulumi-language-python-exec"):
            wanted[places["pulumi"] / host] = places["pulumi-language-python"] / host
    for place, target in wanted.items():
        link(place, target)


def tool_directory(name: str) -> Path:
    """The cache directory of the installed tool `name`."""
    tools = all_tools(cluster=True, optional=optional.EVERYTHING)
    return next(tool.directory for tool in tools if tool.name == name)
