"""Tools from Debian's packages: unpacked into the cache, never installed into the system."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

from local.instance import cache_dir
from local.toolkit import Tool, run


def unpack(packages: list[str], target: Path) -> None:
    """Download Debian packages and unpack them under `target`, running none of their scripts."""
    target.mkdir(parents=True, exist_ok=True)
    debs = target / "debs"
    debs.mkdir()
    apt_update_once()
    # apt fetches as user _apt, which may not write under a root-only directory; as root it warns.
    run(
        ["apt-get", "-o", "APT::Sandbox::User=root", "download", *packages],
        cwd=debs,
    )
    for deb in sorted(debs.glob("*.deb")):
        run(["dpkg", "-x", str(deb), str(target)])
    shutil.rmtree(debs)


_apt_lock = threading.Lock()
_apt_updated = False


def apt_update_once() -> None:
    global _apt_updated
    with _apt_lock:
        if not _apt_updated:
            run(["apt-get", "update", "-qq"])
            _apt_updated = True


def wrapped(
    name: str,
    version: str,
    packages: list[str],
    programs: dict[str, str],
    *,
    probe: tuple[str, ...] = (),
    expect: str = "",
) -> Tool:
    """Programs of Debian packages: name → command in the package, with its first arguments.

    Programs that need libraries of their own packages get a wrapper that points there, so that
    nothing is installed into the system.
    """

    def install(target: Path) -> None:
        unpack(packages, target / "root")
        (target / "bin").mkdir()
        final = Path(str(target).removesuffix(".partial"))
        for program, inside in programs.items():
            script = target / "bin" / program
            script.write_text(
                "#!/bin/sh\n"
                f'root="{final}/root"\n'
                'export LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu" '
                'XTABLES_LIBDIR="$root/usr/lib/x86_64-linux-gnu/xtables"\n'
                f'exec "$root"/{inside} "$@"\n'
            )
            script.chmod(0o755)

    key = "\0".join([version, str(cache_dir()), *packages, *map(str, programs.items())])
    return Tool(name, version, key, install, tuple(programs), probe, expect)


def binaries(
    name: str,
    version: str,
    packages: list[str],
    paths: list[str],
    *,
    probe: tuple[str, ...] = (),
    expect: str = "",
) -> Tool:
    """Static programs of Debian packages, linked as they are."""

    def install(target: Path) -> None:
        unpack(packages, target / "root")
        (target / "bin").mkdir()
        for path in paths:
            (target / "bin" / Path(path).name).symlink_to(f"../root/{path}")

    names = tuple(Path(path).name for path in paths)
    key = "\0".join([version, *packages, *paths])
    return Tool(name, version, key, install, names, probe, expect)


# With the libraries that Debian's base has not.
IPTABLES = ["iptables", "libip4tc2", "libip6tc2", "libxtables12", "libnftnl11", "libmnl0"]
IPTABLES += ["libnetfilter-conntrack3", "libnfnetlink0"]
BASE_PACKAGES = ["ca-certificates", "libgomp1", "python3", "python3-venv", "tzdata"]


# PostgreSQL's package would else make a cluster of databases in the image.
NO_CLUSTER = (
    '--essential-hook=mkdir -p "$1/etc/postgresql-common"; '
    'echo create_main_cluster = false > "$1/etc/postgresql-common/createcluster.conf"'
)


def postgresql_packages(version: str) -> list[str]:
    """PostgreSQL's server and its tools, and what the base has of certificates and times."""
    return ["ca-certificates", f"postgresql-{version}", "tzdata"]


def install_base(
    target: Path, packages: Sequence[str] = tuple(BASE_PACKAGES), options: Sequence[str] = ()
) -> None:
    """A Debian root directory with `packages`, packed; by default with Python, the base of every
    image on one machine. `options`: more of mmdebstrap's.
    """
    unpack(["mmdebstrap"], target / "mmdebstrap")
    archive = target / "base.tar"
    # mmdebstrap calls a filter of its own by name.
    path = f"{target}/mmdebstrap/usr/bin{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1", "PATH": path}
    run(
        [
            str(target / "mmdebstrap/usr/bin/mmdebstrap"),
            "--variant=minbase",
            "--include=" + ",".join(packages),
            *options,
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            # The machine's own authorities: a build reaches registries as this machine does.
            '--customize-hook=cp /etc/ssl/certs/ca-certificates.crt "$1/etc/ssl/certs/"',
            '--customize-hook=rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/apt/*',
            "bookworm",
            str(archive),
        ],
        env=env,
    )
    shutil.rmtree(target / "mmdebstrap")
