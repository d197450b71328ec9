"""Whatever somebody calls a resource or writes in a value, the comment stays the project's own."""

from __future__ import annotations

import json
import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from review.markdown import LIMIT, code, comment, fenced, marker
from review.post import marker_of
from review.preview import parse
from review.report import review
from review.words import visible

EVIL = [
    "`",
    "```",
    "``` ` ````````",
    "\n\n# mine",
    "</details><script>alert(1)</script>",
    "<!-- slipway-preview:prod -->",
    "@everyone #1 GH-1 https://evil.test www.evil.test a@evil.test",
    "[click](https://evil.test) ![x](https://evil.test/x.png)",
    "| a | b |\n|---|---|",
    "\u202egnp.exe\u2066\u200b",
    "\x1b]8;;https://evil.test\x07text\x1b[31m",
    "**critical** :tada: $x$ \\` &lt;img&gt;",
    "~~~\n~~~",
    "\r\n- item\x0b\x0c\x85\u2028\u2029",
]
text = st.one_of(
    st.sampled_from(EVIL),
    st.text(max_size=60),
    st.lists(st.sampled_from(EVIL), max_size=4).map("".join),
)


def digest(name: str, value: str, path: str, said: str) -> str:
    """A preview in which everything that a person may choose is chosen."""
    urn = "urn:pulumi:dev::slipway::slipway:index:ModelServer$kubernetes:"
    labels = {"slipway.dev/model": name, "slipway.dev/version": "1"}
    pod = {"spec": {"containers": [{"name": value, "image": value}]}}
    deployment = {
        "metadata": {"name": name, "namespace": value, "labels": labels},
        "spec": {"template": pod, path: value},
    }
    steps: list[dict[str, Any]] = [
        {
            "op": "update",
            "urn": f"{urn}apps/v1:Deployment::{name}",
            "oldState": {"inputs": {**deployment, "spec": {}}},
            "newState": {"inputs": deployment},
            "detailedDiff": {path: {"kind": "update"}},
        },
        {
            "op": "replace",
            "urn": f"{urn}core/v1:PersistentVolumeClaim::{name}",
            "oldState": {"inputs": {path: value}, "protect": True},
            "newState": {"inputs": {path: name}},
            "replaceReasons": [path],
        },
        {"op": "delete", "urn": f"{urn}{value}::{name}", "oldState": {"inputs": {}}},
    ]
    told = [{"severity": "error", "message": said}, {"severity": "warning", "message": said}]
    return json.dumps({"steps": steps, "diagnostics": told})


def events(policy: str, message: str) -> list[dict[str, Any]]:
    return [
        {"policyEvent": {"policyName": policy, "message": message, "severity": "high"}},
        {"policyEvent": {"policyName": policy, "message": message, "severity": message}},
    ]


def tokens(markdown: str) -> list[Token]:
    """All tokens, of lines too."""
    found: list[Token] = []
    # As GitHub does, with bare links.
    for token in MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(markdown):
        found += [token, *(token.children or [])]
    return found


@given(text, text, text, text, text)
def test_what_somebody_else_wrote_is_only_ever_code(
    name: str, value: str, path: str, said: str, stack: str
) -> None:
    found = parse(digest(name, value, path, said), events(name, said))
    written = comment(review(stack, found))
    # The first line is the marker; nothing else is a comment of HTML.
    assert written.split("\n", 1)[0] == marker(stack) == marker_of(written)
    for token in tokens(written):
        assert token.type not in ("link_open", "image", "html_inline", "table_open", "hr")
        if token.type == "html_block":
            assert token.content.strip() in (
                marker(stack),
                "<details><summary>Every change</summary>",
                "</details>",
            )
        if token.type == "text":
            # The project's own words, and nothing else.
            assert re.fullmatch(r"[A-Za-z0-9 ,.;:()%+±–…\-]*", token.content), token.content
            assert "evil" not in token.content
        if token.type in ("code_inline", "fence"):
            assert not re.search(
                r"[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", token.content
            )
    headings = [token for token in tokens(written) if token.type == "heading_open"]
    assert len(headings) <= 6


@given(text)
def test_code_in_a_line_says_what_it_was_given(given_text: str) -> None:
    (paragraph,) = [
        t for t in MarkdownIt("commonmark").parse(f"a {code(given_text)} b") if t.children
    ]
    kinds = [child.type for child in paragraph.children or []]
    assert kinds == ["text", "code_inline", "text"]
    shown = visible(given_text).strip()
    if shown and len(shown) <= 300:
        assert (paragraph.children or [])[1].content.strip() == shown


@given(st.lists(text, max_size=5))
def test_a_block_of_code_is_one_block(lines: list[str]) -> None:
    found = MarkdownIt("commonmark").parse(f"{fenced(lines)}\nafter\n")
    assert [token.type for token in found][:1] == ["fence"]
    assert found[2].content == "after"


def test_hundreds_of_changes_fit_and_the_meaning_is_whole() -> None:
    steps = [
        {
            "op": "create",
            "urn": f"urn:pulumi:dev::slipway::kubernetes:core/v1:ConfigMap::map-{number}",
            "newState": {"inputs": {"data": {"key": "x" * 5000}}},
        }
        for number in range(1500)
    ]
    found = parse(json.dumps({"steps": steps}))
    written = comment(review("dev", found))
    assert len(written) <= LIMIT
    assert "### `dev`: 1500 new resources" in written
    assert written.rstrip().endswith(("</details>", "`make preview` shows all of it"))


def test_markers_of_two_stacks_are_two() -> None:
    names = ["dev", "prod", "dev-", "dev_", "dev.", "org/dev", "dev -->", ""]
    assert len({marker(name) for name in names}) == len(names)
    assert marker("dev") != marker("dev", "drift")
    for name in names:
        assert marker_of(f"{marker(name)}\nx") == marker(name)
