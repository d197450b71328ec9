"""Images by digest: names, the stack file, and registries: Debian's own, and one that wants a
token and has every fault there is."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs, urlparse

import httpx
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from components.aws import image_registry
from local import tools
from pins import images, stack_file
from pins.__main__ import main
from pins.names import CACHES, Name, cached, origin, parse
from pins.registry import Registries, RegistryError
from rollout.adapters.configuration import ConfigurationError
from settings import of_stack
from settings import parse as settings_of
from tests.conftest import ROOT

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
DIGEST = f"sha256:{'a' * 64}"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("docker.io/grafana/grafana:12.1.0", Name("docker.io", "grafana/grafana", "12.1.0")),
        ("grafana/grafana:1", Name("docker.io", "grafana/grafana", "1")),
        ("busybox", Name("docker.io", "library/busybox")),
        ("docker.io/busybox:1", Name("docker.io", "library/busybox", "1")),
        ("127.0.0.1:5000/a/b:1", Name("127.0.0.1:5000", "a/b", "1")),
        ("localhost/a", Name("localhost", "a")),
        (f"ghcr.io/a/b:1@{DIGEST}", Name("ghcr.io", "a/b", "1", DIGEST)),
        (f"ghcr.io/a/b@{DIGEST}", Name("ghcr.io", "a/b", "", DIGEST)),
    ],
)
def test_a_name_has_its_parts(text: str, wanted: Name) -> None:
    assert parse(text) == wanted
    assert parse(str(wanted)) == wanted


def test_what_is_no_name_is_refused() -> None:
    for bad in ("", "A/b:1", "a@sha256:12", "a b"):
        with pytest.raises(ValueError, match="is no name of an image"):
            parse(bad)


@given(st.sampled_from(sorted(CACHES)), st.sampled_from(["", "/slipway-prod"]))
def test_a_cache_is_found_again_from_its_name(registry: str, path: str) -> None:
    name = Name(registry, "a/quay/hub", "1")
    there = cached(name, f"{ECR}{path}")
    assert there.registry == ECR
    assert str(there) == f"{ECR}{path}/{CACHES[registry]}/a/quay/hub:1"
    assert origin(there) == name
    own = Name(ECR, "slipway-prod/serving", "1")
    assert origin(own) == own
    assert cached(own, ECR) == own
    # In another registry the same path is no cache.
    assert origin(Name("ghcr.io", "hub/a", "1")) == Name("ghcr.io", "hub/a", "1")


def test_every_setting_that_is_an_image_is_found_wherever_it_is() -> None:
    found = images.wanted(settings_of({"context": "c", "registry": "r.test"}))
    assert {("images", "grafana"), ("keda", "operator"), ("keda", "adapter")} <= set(found)
    assert images.HUB not in found
    # Whatever looks like an image's name in the defaults is one of them.
    dumped = json.dumps(settings_of({"context": "c", "registry": "r.test"}).model_dump())
    for host in ("docker.io/", "registry.k8s.io/", "ghcr.io/", "quay.io/"):
        assert dumped.count(host) == sum(
            name.startswith(host) for name in (*found.values(), "docker.io/istio")
        )


STACK = """\
# Ours.
config:
  pulumi:disable-default-providers: ["*"]   # nothing ambient
  slipway:context: c
  slipway:registry: r.test
  slipway:images:
    # The dashboards.
    grafana: docker.io/grafana/grafana:1  # held back
  slipway:models: {churn: {stable: 1}}
"""


def test_a_name_is_put_into_the_file_and_all_else_stays() -> None:
    once = stack_file.put(STACK, ("images", "grafana"), f"docker.io/grafana/grafana:1@{DIGEST}")
    assert once == STACK.replace("grafana:1 ", f"grafana:1@{DIGEST} ")
    twice = stack_file.put(once, ("images", "prometheus"), "docker.io/prom/prometheus:v3")
    assert twice == once.replace(
        "  # held back\n", "  # held back\n    prometheus: docker.io/prom/prometheus:v3\n"
    )
    whole = stack_file.put(twice, ("keda", "operator"), "ghcr.io/kedacore/keda:2")
    assert yaml.safe_load(whole)["config"]["slipway:keda"] == {
        "operator": "ghcr.io/kedacore/keda:2"
    }
    assert [line for line in whole.splitlines() if line not in twice.splitlines()] == [
        "  slipway:keda:", "    operator: ghcr.io/kedacore/keda:2",
    ]  # fmt: skip
    short = STACK.replace("slipway:images", "images")
    assert "\n  slipway:images" not in stack_file.put(short, ("images", "grafana"), "a/b:1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STACK.replace("docker.io/grafana/grafana:1 ", '"docker.io/grafana/grafana:1" '),
         "write it without quotes"),
        ("a: b", "no mapping called `config`"),
        ("config:\n  slipway:context: &i {grafana: a}\n  slipway:images: *i\n", "write"),
        ("config:\n  slipway:context: c\n  slipway:images: text\n", "as a mapping"),
    ],
)  # fmt: skip
def test_a_form_that_is_not_edited_is_one_line(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        stack_file.put(text, ("images", "grafana"), "a/b:1")
    assert said in str(raised.value)
    assert str(raised.value).startswith("slipway:images.grafana: ")


# A registry that wants a token, as public ones do.


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def index(*platforms: str) -> bytes:
    return json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                {"digest": DIGEST, "platform": dict(zip(("os", "architecture"), one.split("/"),
                                                        strict=True))}
                for one in platforms
            ],
        }
    ).encode()  # fmt: skip


class Fake(ThreadingHTTPServer):
    """Tag -> (status, headers, body); every question is kept."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.tags: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[str] = []
        self.challenge = 'Bearer realm="{base}/token",service="fake"'

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Fake

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:  # noqa: N802
        self.server.asked.append(self.path)
        url = urlparse(self.path)
        if url.path == "/token":
            query = parse_qs(url.query)
            assert query["service"] == ["fake"]
            self.answer(200, {}, json.dumps({"token": f"for {query['scope'][0]}"}).encode())
            return
        repository, _, tag = url.path.removeprefix("/v2/").partition("/manifests/")
        wanted = f"Bearer for repository:{repository}:pull"
        if self.server.challenge and self.headers.get("Authorization") != wanted:
            challenge = self.server.challenge.format(base=f"http://{self.server.host}")
            self.answer(401, {"WWW-Authenticate": challenge}, b"{}")
            return
        assert "application/vnd.oci.image.index.v1+json" in self.headers["Accept"]
        self.answer(*self.server.tags.get(tag, (404, {}, b"{}")))

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def asked(fake: Fake, tag: str) -> str:
    return Registries().digest(Name(fake.host, "some/thing", tag))


def test_a_token_is_fetched_once_for_each_repository(fake: Fake) -> None:
    body = index("linux/amd64", "linux/arm64")
    fake.tags = {"1": (200, {"Docker-Content-Digest": digest_of(body)}, body), "2": (200, {}, body)}
    registries = Registries()
    for tag in ("1", "2"):
        assert registries.digest(Name(fake.host, "some/thing", tag)) == digest_of(body)
    assert sum(path.startswith("/token") for path in fake.asked) == 1
    assert "/token?service=fake&scope=repository%3Asome%2Fthing%3Apull" in fake.asked
    registries.digest(Name(fake.host, "another", "1"))
    assert sum(path.startswith("/token") for path in fake.asked) == 2


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {}, b"{}"), "there is no such tag in {host}"),
        ((429, {"Retry-After": "90"}, b"slow down"),
         "{host} has been asked too often (a rate limit); try again in 90 s"),
        ((429, {}, b""), "{host} has been asked too often (a rate limit); try again later"),
        ((500, {}, b"<html>"), "{host} answers 500"),
        ((403, {}, b""), "{host} wants a login, or has no such repository"),
        ((200, {}, b"<html>"), "{host} answers with something that is no JSON"),
        ((200, {}, b"[]"), "{host} answers with something that is no JSON"),
        ((200, {}, b"{}"), "is no image, but something else in a registry"),
        ((200, {}, index("linux/arm64", "windows/amd64")),
         "is not for linux/amd64 (it is for linux/arm64, windows/amd64)"),
        ((200, {"Docker-Content-Digest": DIGEST}, index("linux/amd64")),
         "{host} says " + DIGEST + ", and what came is "),
        ((200, {}, b" " * (2**22 + 1)), "{host} sends more than 4 MiB"),
    ],
)  # fmt: skip
def test_what_keeps_a_digest_from_being_had_is_one_line(
    fake: Fake, answer: tuple[int, dict[str, str], bytes], said: str
) -> None:
    fake.tags = {"1": answer}
    with pytest.raises(RegistryError) as raised:
        asked(fake, "1")
    message = str(raised.value)
    assert message.startswith(f"{fake.host}/some/thing:1: {said.format(host=fake.host)}")
    assert "\n" not in message


@pytest.mark.parametrize(
    "challenge", ['Basic realm="x"', 'Bearer realm="ftp://x/"', 'Bearer service="x"']
)
def test_a_registry_that_wants_a_login_is_not_given_one(fake: Fake, challenge: str) -> None:
    fake.challenge = challenge
    with pytest.raises(RegistryError, match=r"some/thing:1: [^ ]+ wants a login$"):
        asked(fake, "1")


def test_no_token_is_fetched_in_the_clear_from_elsewhere() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(str(request.url))
        return httpx.Response(
            401, headers={"WWW-Authenticate": 'Bearer realm="http://evil.test/token"'}
        )

    client = httpx.Client(transport=httpx.MockTransport(answer))
    with pytest.raises(RegistryError, match="wants a login"):
        Registries(client).digest(parse("docker.io/prom/prometheus:v3"))
    # Docker's registry has another name than its images.
    assert seen == ["https://registry-1.docker.io/v2/prom/prometheus/manifests/v3"]


def test_a_registry_that_is_not_there_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(RegistryError) as raised:
            Registries().digest(Name(host, "a", "1"))
    assert str(raised.value).startswith(f"{host}/a:1: {host} does not answer: ")


def test_an_answer_that_is_compressed_on_its_way_has_the_digest_of_what_it_is(fake: Fake) -> None:
    import gzip

    body = index("linux/amd64")
    fake.tags = {"1": (200, {"Content-Encoding": "gzip"}, gzip.compress(body))}
    assert asked(fake, "1") == digest_of(body)


# The command, with Debian's own registry.


def push(host: str, repository: str, tag: str, architecture: str = "amd64", note: str = "") -> str:
    """Push an image without layers; its digest."""
    base = f"http://{host}/v2/{repository}"
    config = json.dumps({"os": "linux", "architecture": architecture, "note": note}).encode()
    where = httpx.post(f"{base}/blobs/uploads/").headers["location"]
    done = httpx.put(
        httpx.URL(where).copy_merge_params({"digest": digest_of(config)}), content=config
    )
    assert done.status_code == 201, done.text
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": digest_of(config),
                "size": len(config),
            },
            "layers": [],
        }
    ).encode()
    headers = {"Content-Type": MANIFEST}
    done = httpx.put(f"{base}/manifests/{tag}", content=manifest, headers=headers)
    assert done.status_code == 201, done.text
    return digest_of(manifest)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's registry, on this machine alone."""
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "registry.json").write_text(
        json.dumps(
            {
                "version": 0.1,
                "log": {"level": "error"},
                "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
                "http": {"addr": f"127.0.0.1:{port}"},
            }
        )
    )
    program = tools.tool_directory("registry") / "bin/docker-registry"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "serve", folder / "registry.json"], stdout=log, stderr=log
        )
        try:
            for _ in range(300):
                try:
                    httpx.get(f"http://127.0.0.1:{port}/v2/")
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture
def stack(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack that has all its images in that registry, each by its tag."""
    defaults = images.wanted(settings_of({"context": "c", "registry": "r.test"}))
    config: dict[str, Any] = {"slipway:context": "c", "slipway:registry": "r.test"}
    for (section, *path), name in defaults.items():
        inside = config.setdefault(f"slipway:{section}", {})
        for key in path[:-1]:
            inside = inside.setdefault(key, {})
        repository = parse(name).repository
        inside[path[-1]] = f"{host}/{repository}:1"
        push(host, repository, "1")
    config["slipway:istio"] = {"hub": f"{host}/istio", "tag": "1"}
    for image in images.ISTIO:
        push(host, f"istio/{image}", "1")
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "Pulumi.some.yaml"
    file.write_text("# Ours.\n" + yaml.safe_dump({"config": config}))
    return file


def pins(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["--stack", "some", *arguments])


def test_every_image_of_a_stack_gets_its_digest_and_again_nothing_changes(
    host: str, stack: Path
) -> None:
    before = stack.read_text()
    found = pins("--check")
    assert found.exit_code == 3, found.output
    assert stack.read_text() == before
    done = pins()
    assert done.exit_code == 0, done.output
    written = yaml.safe_load(stack.read_text())["config"]
    grafana = push(host, "grafana/grafana", "1")
    assert written["slipway:images"]["grafana"] == f"{host}/grafana/grafana:1@{grafana}"
    assert stack.read_text().startswith("# Ours.\n")
    assert f"slipway:istio: {host}/istio/pilot:1 is sha256:" in done.output
    sections = {"images": written["slipway:images"], "keda": written["slipway:keda"]}
    settings = settings_of({"context": "c", "registry": "r.test"} | sections)
    named = images.wanted(settings).values()
    assert all(parse(name).digest for name in named if parse(name).registry == host)
    pinned = stack.read_text()
    again = pins()
    assert (again.exit_code, stack.read_text()) == (0, pinned)
    assert "written" not in again.output
    assert pins("--check").exit_code == 0

    # A tag that is moved.
    other = push(host, "grafana/grafana", "1", note="built anew")
    told = pins("--check")
    assert told.exit_code == 3
    assert f"grafana:1@{other} (moved, it was {grafana})" in told.output
    assert stack.read_text() == pinned
    assert pins().exit_code == 0
    assert stack.read_text() == pinned.replace(f"grafana:1@{grafana}", f"grafana:1@{other}")


def test_an_image_without_an_answer_is_named_and_the_others_are_done(
    host: str, stack: Path
) -> None:
    stack.write_text(stack.read_text().replace("grafana/grafana:1", "grafana/grafana:9"))
    push(host, "prom/prometheus", "arm", "arm64")
    stack.write_text(stack.read_text().replace("prom/prometheus:1", "prom/prometheus:arm"))
    found = pins()
    assert found.exit_code == 1
    assert found.stderr.splitlines() == [
        f"slipway: {host}/grafana/grafana:9: there is no such tag in {host} "
        "(slipway:images.grafana)",
        f"slipway: {host}/prom/prometheus:arm: is not for linux/amd64 (it is for linux/arm64) "
        "(slipway:images.prometheus)",
    ]
    written = yaml.safe_load(stack.read_text())["config"]["slipway:images"]
    assert written["grafana"] == f"{host}/grafana/grafana:9"
    assert "@sha256:" in written["alertmanager"]


def test_images_are_named_by_the_caches_and_looked_up_where_they_are_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_up: list[str] = []

    class Known:
        def digest(self, name: Name) -> str:
            looked_up.append(str(name))
            return DIGEST

    monkeypatch.setattr("pins.__main__.Registries", Known)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "Pulumi.some.yaml"
    file.write_text("config:\n  slipway:context: c\n  slipway:registry: r.test\n")
    through = f"{ECR}/slipway-prod"
    assert pins("--registry", through).exit_code == 0
    written = yaml.safe_load(file.read_text())["config"]
    assert written["slipway:images"]["prometheus"] == (
        f"{through}/hub/prom/prometheus:v3.13.0@{DIGEST}"
    )
    assert written["slipway:istio"] == {"hub": f"{through}/hub/istio"}
    assert written["slipway:keda"]["operator"].startswith(f"{through}/github/kedacore/keda:")
    first = sorted(looked_up)
    assert "docker.io/prom/prometheus:v3.13.0" in first
    assert "docker.io/istio/pilot:1.31.1" in first
    assert not any(ECR in name for name in first)
    # Again, by the names that stand there now.
    looked_up.clear()
    before = file.read_text()
    assert pins("--check").exit_code == 0
    assert (sorted(looked_up), file.read_text()) == (first, before)
    # Only what is said to be cached is.
    file.write_text("config:\n  slipway:context: c\n  slipway:registry: r.test\n")
    assert pins("--registry", ECR, "--cache", "docker.io=docker-hub").exit_code == 0
    written = yaml.safe_load(file.read_text())["config"]
    assert written["slipway:images"]["grafana"].startswith(f"{ECR}/docker-hub/grafana/grafana:")
    assert written["slipway:keda"]["operator"].startswith("ghcr.io/kedacore/keda:")


def test_a_copy_of_the_file_pulls_by_its_own_stacks_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = [DIGEST]

    class Known:
        def digest(self, name: Name) -> str:
            assert ECR not in str(name)
            return digests[-1]

    monkeypatch.setattr("pins.__main__.Registries", Known)
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "Pulumi.some.yaml"
    file.write_text(
        "config:\n  slipway:context: c\n  slipway:registry: r.test\n"
        "  slipway:istio: {sidecars: true, replicas: 2}\n"
    )
    assert pins("--registry", f"{ECR}/slipway-some").exit_code == 0
    assert "slipway-some" not in file.read_text()
    copied = of_stack(yaml.safe_load(file.read_text())["config"], "staging")
    assert copied.istio.hub == f"{ECR}/slipway-staging/hub/istio"
    assert copied.keda.operator.startswith(f"{ECR}/slipway-staging/github/kedacore/keda:")
    prometheus = f"{ECR}/slipway-staging/hub/prom/prometheus:v3.13.0@"
    assert copied.images.prometheus == prometheus + DIGEST
    # Again: nothing has moved; then everything has.
    assert pins("--check").exit_code == 0
    digests.append(f"sha256:{'b' * 64}")
    done = pins()
    assert done.exit_code == 0, done.output
    copied = of_stack(yaml.safe_load(file.read_text())["config"], "staging")
    assert copied.images.prometheus == prometheus + digests[-1]
    # A path that is not the stack's own stays as it is.
    file.write_text("config:\n  slipway:context: c\n  slipway:registry: r.test\n")
    assert pins("--registry", f"{ECR}/slipway-something").exit_code == 0
    assert "{stack}" not in file.read_text()


def test_a_stack_on_aws_pulls_by_the_caches_that_it_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pins.__main__.Registries", lambda: SimpleNamespace(digest=lambda _: DIGEST)
    )
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "Pulumi.some.yaml"
    asked = (ROOT / "Pulumi.prod.yaml").read_text()
    # As by `pins` of a stack elsewhere: by a cache that this one has not.
    file.write_text(
        f"{asked}  slipway:keda:\n    operator: {ECR}/slipway-some/github/kedacore/keda:1\n"
    )
    done = pins()
    assert done.exit_code == 0, done.output
    written = of_stack(yaml.safe_load(file.read_text())["config"], "some")
    prefix = f"{ECR}/slipway-some"
    assert written.images.grafana.startswith(f"{prefix}/hub/grafana/grafana:")
    assert written.istio.hub == f"{prefix}/hub/istio"
    assert written.images.oauth2_proxy.startswith(f"{prefix}/quay/")
    assert written.keda.operator == f"ghcr.io/kedacore/keda:1@{DIGEST}"
    # The rules that the stack makes are of these names.
    assert {one: CACHES[one] for one in image_registry._SHORT} == image_registry._SHORT
    # Without any, images stay where they are.
    before, _, rest = asked.partition("    registry:")
    file.write_text(before + rest[rest.index("    entrance:") :])
    assert pins().exit_code == 0
    written = of_stack(yaml.safe_load(file.read_text())["config"], "some")
    assert written.images.grafana.startswith("docker.io/grafana/grafana:")
    # What is given goes first.
    assert pins("--cache", "docker.io=mine").exit_code == 0
    written = of_stack(yaml.safe_load(file.read_text())["config"], "some")
    assert written.images.grafana.startswith(f"{prefix}/mine/grafana/grafana:")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--registry", "HTTP://x"), "--registry: HTTP://x is not a registry such as"),
        (("--cache", "docker.io=hub"), "--cache: is of no use without --registry"),
        (("--registry", ECR, "--cache", "hub"), "--cache: hub is no pair such as"),
        (("--registry", "foo"), "--registry: foo is not in ECR, as in 1234"),
        (
            ("--registry", ECR, "--cache", "nope.io=n"),
            "--cache: nope.io=n: ECR caches no such registry (there: docker.io, ghcr.io,",
        ),
    ],
)
def test_a_mistake_is_one_line(stack: Path, arguments: tuple[str, ...], said: str) -> None:
    found = pins(*arguments)
    assert found.exit_code == 2
    assert found.stderr.startswith(f"slipway: {said}")


def test_a_stack_that_is_not_there_or_is_wrong_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert pins().stderr == "slipway: some: there is no Pulumi.some.yaml\n"
    (tmp_path / "Pulumi.some.yaml").write_text(
        "config: {slipway:context: c, slipway:registry: r, slipway:images: {grafna: a}}"
    )
    found = pins()
    assert found.exit_code == 2
    assert "slipway:images.grafna" in found.stderr
