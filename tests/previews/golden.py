"""The comments of the recorded previews: `.venv/bin/python -m tests.previews.golden` writes them.

Read the difference before you commit it: these files are what people will see.
"""

from __future__ import annotations

import json
from pathlib import Path

from review.markdown import comment
from review.preview import Preview, parse
from review.report import Review, review

HERE = Path(__file__).resolve().parent


def cases() -> list[str]:
    """The recorded previews."""
    return sorted(file.stem for file in HERE.glob("*.json"))


def preview(case: str) -> Preview:
    """A recorded preview."""
    recorded = json.loads((HERE / f"{case}.json").read_text())
    digest = recorded["preview"] | {"steps": recorded["steps"]}
    return parse(json.dumps(digest), recorded["events"])


def reviewed(case: str) -> Review:
    """The review of a recorded preview."""
    return review("dev", preview(case))


def main() -> None:
    """Write every comment."""
    (HERE / "golden").mkdir(exist_ok=True)
    for case in cases():
        (HERE / f"golden/{case}.md").write_text(comment(reviewed(case)))


if __name__ == "__main__":
    main()
