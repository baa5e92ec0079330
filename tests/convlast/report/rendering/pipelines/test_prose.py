"""Text from outside becomes Markdown that shows it, and nothing else."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from convlast.report.rendering.notation import printable
from convlast.report.rendering.pipelines.prose import code, words

HARMLESS = {"text", "code_inline"}
LIVE = re.compile(r"[@#!~$^&<>\[\]*_`|\\{}]|https?:|www\.|:\w+:")
"""What GitHub or GitLab make something of, or may, where it is not in code."""

PIECES = st.lists(
    st.sampled_from(
        [
            *(
                "@all",
                "#1",
                "!2",
                "group/project#3",
                "GH-4",
                "ABC-12",
                "www.evil.example",
                ":tada:",
            ),
            *("https://evil.example", "a@evil.example", "[x](y)", "![x](y)", "<img src=x>", "<!--"),
            *(
                "`",
                "``",
                "|",
                "\\",
                "\\`",
                "*a*",
                "_a_",
                "~~a~~",
                "$a$",
                "&lt;",
                "1.",
                "-",
                "+",
                ">",
            ),
            *(
                "\n",
                "\n\n",
                "    ",
                "---",
                "===",
                "```",
                "deadbeef",
                "\u202e",
                "\x00",
                "word",
                "(",
                ")",
            ),
        ]
    ),
    max_size=12,
)
HOSTILE = st.one_of(
    st.text(max_size=60),
    PIECES.map(" ".join),
    PIECES.map("".join),
)


def inline(text: str) -> list[tuple[str, str]]:
    """Return the kind and content of each part of a list's item."""
    [item] = [each for each in MarkdownIt("commonmark").parse(f"- {text}") if each.type == "inline"]
    assert item.children is not None
    return [(each.type, each.content) for each in item.children]


@given(HOSTILE)
def test_words_are_text_and_code(text: str) -> None:
    """No text becomes markup, and what a site might make a link of is in code."""
    written = words(text)
    blocks = [each.type for each in MarkdownIt("commonmark").parse(f"- {written}")]
    assert blocks.count("list_item_open") == 1
    for kind, content in inline(written):
        assert kind in HARMLESS
        assert kind == "code_inline" or not LIVE.search(content), written


@given(HOSTILE)
def test_code_shows_what_it_was_given(text: str) -> None:
    """A name is one piece of code, which has no bar and no backtick."""
    [(kind, content)] = inline(code(text, 10_000))
    assert kind == "code_inline"
    shown = printable(text).replace("`", "\\x60").replace("|", "\\x7c")
    assert content.strip(" ") == (shown or "no name").strip(" ")


@given(st.lists(HOSTILE, min_size=2, max_size=3))
def test_names_stay_in_their_cells(names: list[str]) -> None:
    """A table has as many cells as it was given names."""
    row = " | ".join(map(code, names))
    heads = " | ".join("ab" for _ in names)
    table = f"| {heads} |\n|{'---|' * len(names)}\n| {row} |\n"
    parsed = MarkdownIt("commonmark").enable("table").parse(table)
    cells = [parsed[n + 1] for n, each in enumerate(parsed) if each.type == "td_open"]
    assert len(cells) == len(names)
    for cell in cells:
        assert [each.type for each in cell.children or ()] == ["code_inline"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Keep these tensors in float32.", "Keep these tensors in float32."),
        ("Give `architecture`.", "Give architecture."),
        ("3.6e-4 of 1,000 (2 %)", "3.6e-4 of 1,000 (2 %)"),
        ("Lost by: load(state).", "Lost by: `load(state)`."),
        ("a.b: fp16-overflow", "`a.b`: fp16-overflow"),
    ],
)
def test_ordinary_words_stay_readable(text: str, expected: str) -> None:
    """Only what might be markup becomes code."""
    assert words(text) == expected


@given(HOSTILE, st.integers(20, 200))
def test_long_texts_are_cut(text: str, most_bytes: int) -> None:
    """Code takes no more bytes than it may, and its backticks."""
    assert len(code(text * 50, most_bytes).encode()) <= most_bytes + len("``")


def test_a_page_shows_tags_as_text() -> None:
    """What a browser gets of a tag is escaped."""
    page = MarkdownIt("commonmark").render(words("<script>alert(1)</script> x"))
    assert "<script>" not in page
    assert html.escape("<script>alert(1)</script>") in page
