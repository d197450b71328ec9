"""Tools built from Go modules, and the Go that builds them.

`local/toolchain/<module>/go.mod` pins what is built. Modules that have much in common share one
go.mod, so that what they share has one version and is compiled once.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from local.console import UserError, format_seconds, say
from local.debian import unpack
from local.instance import PROJECT, cache_dir
from local.toolkit import Tool, run

GO_VERSION = "1.26.8"
TOOLCHAIN = PROJECT / "local/toolchain"


def go_environment() -> dict[str, str]:
    """The environment of every Go build: the found Go first on PATH, a cache of our own.

    The build cache is ours so that it can be dropped once the tools stand (it grows to tens of
    gigabytes); a GOCACHE that the user has set is used and left alone.
    """
    env = dict(os.environ)
    env.update(
        CGO_ENABLED="0",
        GOFLAGS="",
        GOTOOLCHAIN="local",
        GOGC="400",
        GOWORK="off",
        PATH=f"{_go_binary().parent}:{env['PATH']}",
    )
    env.setdefault("GOCACHE", str(cache_dir() / "go-build"))
    return env


_go_lock = threading.Lock()


def _go_binary() -> Path:
    """A Go of at least GO_VERSION: from PATH, else the toolchain module, fetched by Debian's Go."""
    with _go_lock:
        found = shutil.which("go")
        if found and _go_is_recent(found):
            return Path(found)
        home = cache_dir() / "tools" / f"go-{GO_VERSION}"
        if not home.exists():
            _install_go(home, found)
        return home / "bin/go"


def _go_is_recent(go: str) -> bool:
    out = subprocess.run(
        [go, "env", "GOVERSION"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GOTOOLCHAIN": "local"},
    ).stdout
    found = tuple(int(part) for part in re.findall(r"\d+", out)[:3])
    return found >= tuple(int(part) for part in GO_VERSION.split("."))


def _install_go(home: Path, found: str | None) -> None:
    start = time.monotonic()
    partial = home.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    if not found:
        unpack(["golang-1.19-go", "golang-1.19-src"], partial / "bootstrap")
        root = partial / "bootstrap/usr/lib/go-1.19"
        # Debian links these into /usr/share; unpacked elsewhere, the links would dangle.
        for name in ("src", "api", "misc", "test"):
            link, target = root / name, partial / "bootstrap/usr/share/go-1.19" / name
            if link.is_symlink():
                link.unlink()
                if target.exists():
                    link.symlink_to(target)
        found = str(root / "bin/go")
    module = f"golang.org/toolchain@v0.0.1-go{GO_VERSION}.linux-amd64"
    scratch = partial / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    env = {k: v for k, v in os.environ.items() if k not in ("GOROOT", "GOFLAGS")}
    env["GOTOOLCHAIN"] = "local"
    (scratch / "go.mod").write_text("module scratch\n")
    out = run([found, "mod", "download", "-json", module], cwd=scratch, env=env)
    match = re.search(r'"Dir": "([^"]+)"', out)
    if not match:
        raise UserError(f"go {GO_VERSION}: {module} could not be downloaded: {out.strip()[-300:]}")
    shutil.copytree(match[1], partial / "go", symlinks=True)
    for path in (partial / "go").rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    # A module zip holds no executable bits.
    for pattern in ("bin/*", "pkg/tool/*/*"):
        for path in (partial / "go").glob(pattern):
            path.chmod(0o755)
    (partial / "go").rename(home)
    shutil.rmtree(partial, ignore_errors=True)
    say(f"  tools: go {GO_VERSION} installed in {format_seconds(time.monotonic() - start)}")


def go_tool(
    name: str,
    version: str,
    binaries: tuple[str, ...],
    *,
    ldflags: str = "",
    packages: tuple[str, ...] = ("tool",),
    source: str = "",
    tags: str = "",
    prepare: Callable[[Path, dict[str, str]], None] | None = None,
    collect: Callable[[Path, dict[str, str]], None] | None = None,
    probe: tuple[str, ...] = (),
    expect: str = "",
) -> Tool:
    """A tool built from `local/toolchain/<source or name>`.

    The package `tool` means all that its go.mod lists as tools. `prepare` adds files to the
    build directory, `collect` adds files to the result. What those two do is not in the key, for a
    change of their text alone is not worth minutes of compiling: one that changes the result must
    come with another `version`, as in `1.2.3, page 2`.
    """
    module = TOOLCHAIN / (source or name)
    flags = f"-s -w {ldflags}".strip()
    parts = [path.read_text() for path in sorted(module.rglob("*")) if path.is_file()]

    def install(target: Path) -> None:
        env = go_environment()
        build = target / "build"
        shutil.copytree(module, build)
        if prepare:
            prepare(build, env)
        (target / "bin").mkdir()
        # With one binary the output is named; with several, Go names them by their packages.
        out = target / "bin" / binaries[0] if len(binaries) == 1 else f"{target}/bin/"
        run(
            ["go", "build", "-trimpath", "-tags", tags, "-ldflags", flags, "-o", str(out)]
            + [*packages],
            cwd=build,
            env=env,
        )
        if collect:
            collect(target, env)
        shutil.rmtree(build)

    key = "\0".join([GO_VERSION, version, flags, tags, *packages, *binaries, *parts])
    return Tool(name, version, key, install, binaries, probe, expect)


def module_dir(module: str, build: Path, env: dict[str, str]) -> Path:
    """The module's directory in Go's module cache (`module` with or without its version)."""
    path = module.split("@")[0]
    out = run(["go", "list", "-m", "-f", "{{.Dir}}", path], cwd=build, env=env)
    return Path(out.strip().splitlines()[-1])
