from __future__ import annotations

import base64
import hashlib
import re

from convlast.report.rendering import assets
from convlast.report.rendering.markup import element


def test_the_policy_names_the_style_and_the_script_of_the_page() -> None:
    """The hashes in the policy are those of the inline style and script, and there is one each."""
    page = assets.page("<title>", element("p", "content"))

    for name in ("style", "script"):
        (text,) = re.findall(rf"<{name}>(.*?)</{name}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in page
    assert "<title>&lt;title&gt;</title>" in page


def test_neither_ends_its_element() -> None:
    """Neither style nor script has a `<`-tag in it that a parser could take for its end."""
    assert "</" not in assets.STYLE
    assert "</" not in assets.SCRIPT
    assert "\r" not in assets.STYLE + assets.SCRIPT


def test_the_theme_comes_first() -> None:
    """Each style may change what the theme says, since it comes later."""
    assert assets.STYLE.startswith(assets.THEME)
    assert ".verdict" not in assets.THEME
    assert ".verdict" in assets.STYLE


def test_nothing_is_loaded() -> None:
    """Style and script name no other file and no host."""
    assert not re.search(r"url\(|@import|https?:", assets.STYLE + assets.SCRIPT)
