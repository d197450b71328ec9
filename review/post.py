"""Puts a comment under a pull request of GitHub or a merge request of GitLab, and one issue about
drift into GitHub; each is brought up to date in place.

Standard library alone, so that the job that may write runs nothing of the change that it speaks of.
Source: GitHub's REST API 2022-11-28, GitLab's REST API v4.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

_PAGES: Final = 50
_SECONDS: Final = 30
_MARKER: Final = re.compile(r"<!-- slipway-[a-z]+:[A-Za-z0-9_]* -->")


class PostError(Exception):
    """It could not be posted; the message is one line."""


def marker_of(body: str) -> str:
    """The line that a comment is found again by. Raises PostError if the body has none."""
    first = body.split("\n", 1)[0]
    if not _MARKER.fullmatch(first):
        raise PostError("the comment: its first line is not the marker that `review` writes")
    return first


class GitHub:
    """A repository of GitHub. Only what a bot has written is ever edited: whoever may comment can
    write a marker too.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        base = _needed(environment, "GITHUB_API_URL")
        self._base = f"{base}/repos/{_needed(environment, 'GITHUB_REPOSITORY')}"
        self._headers = {
            "Authorization": f"Bearer {_needed(environment, 'GITHUB_TOKEN')}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        }

    def comment(self, pull: int, body: str) -> str:
        """Post or update the comment under a pull request; its URL."""
        listed = self._pages(f"{self._base}/issues/{pull}/comments")
        found = self._own(listed, marker_of(body))
        if found is None:
            url = f"{self._base}/issues/{pull}/comments"
            return str(_call("POST", url, self._headers, {"body": body})["html_url"])
        url = f"{self._base}/issues/comments/{int(found['id'])}"
        return str(_call("PATCH", url, self._headers, {"body": body})["html_url"])

    def issue(self, title: str, body: str) -> str:
        """Open or update the one open issue with the body's marker; its URL."""
        found = self._open(marker_of(body))
        said = {"title": title, "body": body}
        if found is None:
            return str(_call("POST", f"{self._base}/issues", self._headers, said)["html_url"])
        url = f"{self._base}/issues/{int(found['number'])}"
        return str(_call("PATCH", url, self._headers, said)["html_url"])

    def close(self, body: str) -> str:
        """Close the open issue with the body's marker; its URL, empty if there is none."""
        found = self._open(marker_of(body))
        if found is None:
            return ""
        url = f"{self._base}/issues/{int(found['number'])}"
        said = {"state": "closed", "state_reason": "completed", "body": body}
        return str(_call("PATCH", url, self._headers, said)["html_url"])

    def _open(self, marker: str) -> Any:
        listed = self._pages(f"{self._base}/issues?state=open")
        return self._own((one for one in listed if "pull_request" not in one), marker)

    def _own(self, listed: Iterator[Any], marker: str) -> Any:
        for one in listed:
            bot = (one.get("user") or {}).get("type") == "Bot"
            if bot and str(one.get("body") or "").split("\n", 1)[0].strip() == marker:
                return one
        return None

    def _pages(self, url: str) -> Iterator[Any]:
        return _pages(url, self._headers)


class GitLab:
    """A project of GitLab. Only notes of the token's own user are edited."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._api = _needed(environment, "CI_API_V4_URL")
        project = urllib.parse.quote(_needed(environment, "CI_PROJECT_ID"), safe="")
        self._base = f"{self._api}/projects/{project}"
        self._headers = {"PRIVATE-TOKEN": _needed(environment, "SLIPWAY_GITLAB_TOKEN")}

    def comment(self, request: int, body: str) -> str:
        """Post or update the note under a merge request; its number."""
        me = _call("GET", f"{self._api}/user", self._headers)["id"]
        notes = f"{self._base}/merge_requests/{request}/notes"
        marker = marker_of(body)
        for note in _pages(notes, self._headers):
            first = str(note.get("body") or "").split("\n", 1)[0].strip()
            if first == marker and (note.get("author") or {}).get("id") == me:
                number = int(note["id"])
                _call("PUT", f"{notes}/{number}", self._headers, {"body": body})
                return str(number)
        return str(_call("POST", notes, self._headers, {"body": body})["id"])


def _needed(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name, "").strip()
    if not value:
        raise PostError(f"{name}: is not set; this command is for a CI job")
    return value.rstrip("/")


def _pages(url: str, headers: Mapping[str, str]) -> Iterator[Any]:
    joint = "&" if "?" in url else "?"
    for page in range(1, _PAGES + 1):
        listed = _call("GET", f"{url}{joint}per_page=100&page={page}", headers)
        yield from listed
        if len(listed) < 100:
            return


def _call(method: str, url: str, headers: Mapping[str, str], body: Any = None) -> Any:
    if not url.startswith(("https://", "http://")):
        raise PostError(f"{url}: is no address of HTTP")
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(  # noqa: S310
        url,
        data,
        {**headers, "Content-Type": "application/json", "User-Agent": "slipway"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        said = error.read(300).decode(errors="replace")
        raise PostError(f"{method} {url}: {error.code} {' '.join(said.split())}") from None
    except (OSError, ValueError) as error:
        raise PostError(f"{method} {url}: {error}") from None


def main() -> None:
    """`python3 -m review.post comment 12 body.md`, `issue "a title" body.md`, `close body.md`."""
    parser = argparse.ArgumentParser(prog="python3 -m review.post", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    comment = kinds.add_parser("comment", help="under the pull or merge request NUMBER")
    comment.add_argument("number", type=int)
    kinds.add_parser("issue", help="the one open issue").add_argument("title")
    kinds.add_parser("close", help="the issue, for there is nothing to say any more")
    for one in kinds.choices.values():
        one.add_argument("body", type=Path, help="a file that `python -m review` has written")
    given = parser.parse_args()
    try:
        body = given.body.read_text(encoding="utf-8")
        if given.kind == "comment" and "CI_API_V4_URL" in os.environ:
            where = GitLab(os.environ).comment(given.number, body)
        elif given.kind == "comment":
            where = GitHub(os.environ).comment(given.number, body)
        elif given.kind == "issue":
            where = GitHub(os.environ).issue(given.title, body)
        else:
            where = GitHub(os.environ).close(body) or "there is none"
    except (PostError, OSError, ValueError) as error:
        print(f"slipway: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    print(where)


if __name__ == "__main__":
    main()
