from __future__ import annotations

import re

from markdown_it import MarkdownIt

from convlast.report import Report
from convlast.report.comparing import compare
from convlast.report.rendering.comparison.markdown import MAX_BYTES, render
from tests.convlast.report.arbitrary_reports import recorded
from tests.convlast.report.rendering.building import HOSTILE
from tests.convlast.report.rendering.comparison.test_page import pair

MARKUP = "`a`` [b](http://c.d) **e** <b>f</b> @g #1 | ![h](i) \n# j\n- k\n```\n<!-- l"
PLAIN = {
    *("heading_open", "inline", "heading_close", "bullet_list_open", "bullet_list_close"),
    *("list_item_open", "list_item_close", "paragraph_open", "paragraph_close"),
}


def test_a_comparison_has_a_section_for_each_part() -> None:
    """The headline is the title, and each change is an item."""
    said = render(compare(*pair()))
    assert said.startswith("## Better and worse\n\n- Before: `checkpoint_final.pth`: ")
    assert "\n### Worse\n\n- `verdict`: `passed_with_findings` → failed\n" in said
    assert "\n### In numbers\n" in said


def test_names_are_no_markup() -> None:
    """Links, mentions, HTML and lists of a sender stand in code spans, as text."""
    said = render(compare(*pair(MARKUP + HOSTILE)))
    tokens = MarkdownIt("commonmark").parse(said)
    assert {token.type for token in tokens} <= PLAIN
    inner = {child.type for token in tokens for child in token.children or []}
    assert inner == {"text", "code_inline"}
    for token in tokens:
        for child in token.children or []:
            assert child.type == "code_inline" or not re.search("[<@#`]", child.content)


def test_it_is_short_enough_for_a_merge_request() -> None:
    """Whatever the model: at most 60 kB, and it says that more is in the JSON."""
    found = recorded()
    layer = found["layers"][0]
    found["layers"] += [{**layer, "name": f"{'é' * 500}{number}"} for number in range(3000)]
    said = render(compare(Report.model_validate(recorded()), Report.model_validate(found)))
    assert 50_000 < len(said.encode()) <= MAX_BYTES
    assert said.endswith("The rest is left out; `--json` has all.\n")
