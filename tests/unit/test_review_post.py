"""Comments and issues, against servers that keep what they are sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from review.markdown import marker
from review.post import GitHub, GitLab, PostError

PROJECT = Path(__file__).resolve().parents[2]
BODY = f"{marker('dev')}\nfirst"
PULL = "/repos/o/r/issues/7/comments"
ISSUES = "/repos/o/r/issues"
NOTES = "/projects/12/merge_requests/7/notes"


class Forge:
    """What a GitHub or a GitLab holds, by path of the collection; and the requests it got."""

    def __init__(self) -> None:
        self.held: dict[str, list[dict[str, Any]]] = {}
        self.asked: list[tuple[str, str, str]] = []
        self.author: dict[str, Any] = {"user": {"type": "Bot"}, "author": {"id": 3}}
        self.refuse = 0
        self.url = ""

    def get(self, path: str, page: int) -> Any:
        if path == "/user":
            return {"id": 3}
        return self.held.get(path, [])[100 * (page - 1) : 100 * page]

    def add(self, path: str, sent: dict[str, Any]) -> dict[str, Any]:
        number = 1 + sum(map(len, self.held.values()))
        new = {
            "id": number,
            "number": number,
            "html_url": f"{path}#{number}",
            **self.author,
            **sent,
        }
        self.held.setdefault(path, []).append(new)
        return new

    def edit(self, path: str, sent: dict[str, Any]) -> dict[str, Any]:
        number = int(path.rsplit("/", 1)[1])
        (found,) = [one for held in self.held.values() for one in held if one["id"] == number]
        found.update(sent)
        return found


@contextmanager
def served(forge: Forge) -> Iterator[Forge]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            parts = urlsplit(self.path)
            forge.asked.append((self.command, parts.path, self.headers.get("Authorization", "")))
            size = int(self.headers.get("Content-Length") or 0)
            sent = json.loads(self.rfile.read(size)) if size else {}
            if forge.refuse:
                status, body = forge.refuse, {"message": "Resource not accessible\nby integration"}
            else:
                page = int(parse_qs(parts.query).get("page", ["1"])[0])
                status = 200
                body = {
                    "GET": lambda: forge.get(parts.path, page),
                    "POST": lambda: forge.add(parts.path, sent),
                    "PATCH": lambda: forge.edit(parts.path, sent),
                    "PUT": lambda: forge.edit(parts.path, sent),
                }[self.command]()
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = do_PUT = answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Nobody listens."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    forge.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield forge
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def forge() -> Iterator[Forge]:
    with served(Forge()) as found:
        yield found


def github(forge: Forge) -> GitHub:
    return GitHub(
        {"GITHUB_API_URL": forge.url, "GITHUB_REPOSITORY": "o/r", "GITHUB_TOKEN": "t0ken"}
    )


def gitlab(forge: Forge) -> GitLab:
    return GitLab(
        {"CI_API_V4_URL": forge.url, "CI_PROJECT_ID": "12", "SLIPWAY_GITLAB_TOKEN": "t0ken"}
    )


def test_a_comment_is_written_once_and_then_brought_up_to_date(forge: Forge) -> None:
    hub = github(forge)
    # What others say, on more than one page; one of them would like to be edited.
    forge.held[PULL] = [
        {"id": 1000 + n, "body": f"note {n}", "user": {"type": "User"}} for n in range(150)
    ]
    forge.held[PULL][3]["body"] = BODY
    first = hub.comment(7, BODY)
    assert hub.comment(7, BODY.replace("first", "second")) == first
    hub.comment(7, f"{marker('prod')}\nother stack")
    bots = [one["body"] for one in forge.held[PULL] if one["user"]["type"] == "Bot"]
    assert bots == [f"{marker('dev')}\nsecond", f"{marker('prod')}\nother stack"]
    assert forge.held[PULL][3]["body"] == BODY
    assert all(token == "Bearer t0ken" for _, _, token in forge.asked)


def test_drift_is_one_issue_that_is_closed_when_it_is_over(forge: Forge) -> None:
    hub, body = github(forge), f"{marker('prod', 'drift')}\nreplicas"
    # A pull request is an issue too, as far as GitHub's lists go.
    forge.held[ISSUES] = [
        {"id": 900, "number": 900, "body": body, "pull_request": {}} | forge.author
    ]
    assert hub.close(body) == ""
    where = hub.issue("Stack prod has drifted", body)
    assert hub.issue("Stack prod has drifted", f"{body} and image") == where
    assert len(forge.held[ISSUES]) == 2
    assert forge.held[ISSUES][1]["body"].endswith("replicas and image")
    assert hub.close(body) == where
    assert forge.held[ISSUES][1]["state"] == "closed"


def test_a_note_of_gitlab_too(forge: Forge) -> None:
    lab = gitlab(forge)
    forge.held[NOTES] = [{"id": 1000, "body": BODY, "author": {"id": 4}}]
    first = lab.comment(7, BODY)
    assert lab.comment(7, BODY.replace("first", "second")) == first
    assert [one["body"].split("\n")[1] for one in forge.held[NOTES]] == ["first", "second"]


def test_what_cannot_be_posted_is_one_line(forge: Forge, tmp_path: Path) -> None:
    forge.refuse = 403
    with pytest.raises(PostError, match=r"GET http.*: 403 .*not accessible") as error:
        github(forge).comment(7, BODY)
    assert "\n" not in str(error.value)
    assert "t0ken" not in str(error.value)
    with pytest.raises(PostError, match="GITHUB_TOKEN: is not set"):
        GitHub({"GITHUB_API_URL": forge.url, "GITHUB_REPOSITORY": "o/r"})
    with pytest.raises(PostError, match="its first line is not the marker"):
        github(forge).comment(7, "hello")
    with pytest.raises(PostError, match="is no address of HTTP"):
        GitLab(
            {"CI_API_V4_URL": "file:///etc", "CI_PROJECT_ID": "1", "SLIPWAY_GITLAB_TOKEN": "t"}
        ).comment(1, BODY)


def test_the_command_needs_nothing_but_python(forge: Forge, tmp_path: Path) -> None:
    (tmp_path / "body.md").write_text(BODY)
    environment = {
        "PATH": os.environ["PATH"],
        "GITHUB_API_URL": forge.url,
        "GITHUB_REPOSITORY": "o/r",
        "GITHUB_TOKEN": "t0ken",
    }

    def post(*arguments: str) -> subprocess.CompletedProcess[str]:
        # Without the packages of the environment that this runs in.
        return subprocess.run(
            [sys.executable, "-S", "-m", "review.post", *arguments],
            cwd=PROJECT,
            env=environment,
            capture_output=True,
            text=True,
        )

    body = str(tmp_path / "body.md")
    assert post("comment", "7", body).stdout == f"{PULL}#1\n"
    assert post("issue", "Drift", body).returncode == 0
    assert post("close", body).returncode == 0
    (tmp_path / "body.md").write_text("no marker")
    done = post("comment", "7", body)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "slipway: the comment: its first line" in done.stderr
