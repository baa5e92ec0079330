from __future__ import annotations

from convlast.report import Finding
from convlast.report.rendering import findings_page, summary


def card(*findings: Finding) -> str:
    """Return the card of findings with one code."""
    (group,) = summary.group_findings(findings)
    return findings_page.card(group)


def found(message: str, layer: str | None = None, file: str | None = None) -> Finding:
    """Return a finding."""
    return Finding(code="some-code", severity="warning", layer=layer, file=file, message=message)


def test_a_message_stands_once_with_all_names() -> None:
    """What is the same for several tensors is said once, and names each of them once."""
    drawn = card(
        found("Same.", "conv.a"),
        found("Same.", "conv.b"),
        found("Same.", "conv.b"),
        found("Other.", "conv.c"),
    )

    assert drawn.count("Same.") == 1
    assert '<p class="names"><code>conv.a</code>, <code>conv.b</code></p>' in drawn
    assert "<li><code>conv.c</code>: Other.</li>" in drawn
    assert "×4" in drawn


def test_many_names_and_many_messages_are_folded() -> None:
    """More than a few are in the page, but shown on demand."""
    names = card(*(found("Same.", f"layer{index}") for index in range(500)))
    assert "<summary>All 500 names</summary>" in names
    assert names.count("<code>layer") == 500

    messages = card(*(found(f"Number {index}.", "a") for index in range(20)))
    assert "<summary>12 more messages</summary>" in messages
    assert messages.count("Number ") == 20


def test_a_file_of_a_folder_is_named_before_its_tensor() -> None:
    """In a model folder a finding names its file, unless the message does."""
    assert "<code>a.pt: w</code>: Wrong." in card(found("Wrong.", "w", "a.pt"))
    assert "<li>In a.pt all is wrong.</li>" in card(found("In a.pt all is wrong.", None, "a.pt"))
