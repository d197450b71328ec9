"""The picture of a rollout as an SVG element, in the colors of the page that it stands in."""

from __future__ import annotations

import io
import re
from typing import Final

import matplotlib.style

from rollout.journal import Rollout
from rollout.views.panels import STYLE, figure
from rollout.views.series import Series

LIGHT: Final = {
    "ink": "#1f2933",
    "muted": "#52606d",
    "grid": "#d9e2ec",
    "paper": "#ffffff",
    "canary": "#c2410c",
    "stable": "#1d4ed8",
    "bad": "#b91c1c",
    "good": "#15803d",
    "wait": "#a16207",
    "unknown": "#64748b",
    "gap": "#94a3b8",
}
DARK: Final = {
    "ink": "#e4e7eb",
    "muted": "#a3b1c2",
    "grid": "#364152",
    "paper": "#12171e",
    "canary": "#fb923c",
    "stable": "#7aa7ff",
    "bad": "#f87171",
    "good": "#4ade80",
    "wait": "#facc15",
    "unknown": "#94a3b8",
    "gap": "#64748b",
}
# No color of the picture, each stands for one until the page says which.
_STAND_INS: Final = {key: f"#0a{index:02x}fe" for index, key in enumerate(LIGHT)}


def svg(rollout: Rollout, data: Series, title: str, description: str) -> str:
    """The picture as an SVG element to stand in a page, with no name space, script or link. Its
    colors are the page's custom properties `--ink` and so on, the keys of LIGHT.

    `title` and `description` (both HTML already) are for those who do not see it. The same
    arguments give the same bytes.
    """
    with matplotlib.style.context(["default", STYLE]):
        file = io.StringIO()
        figure(rollout, data, _STAND_INS).savefig(file, format="svg", metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r"'DejaVu Sans'[^;\"]*sans-serif", "system-ui, sans-serif", text)
    for key, color in _STAND_INS.items():
        text = text.replace(color, f"var(--{key})")
    opened = text.index(">") + 1
    named = f'<title id="picture-title">{title}</title><desc id="picture-text">{description}</desc>'
    start = re.sub(r' (width|height)="[^"]*"', "", text[:opened])
    role = ' role="img" aria-labelledby="picture-title picture-text"'
    return start.replace("<svg", f"<svg{role}", 1) + named + text[opened:]
