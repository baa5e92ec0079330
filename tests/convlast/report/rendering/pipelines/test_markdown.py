"""The report as Markdown: short, whatever the model, and safe, whatever the names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from convlast.report import Finding, Report
from convlast.report.rendering.pipelines import markdown
from tests.convlast.report.arbitrary_reports import reports
from tests.convlast.report.rendering import building

HOSTILE = (
    "</code></details>`@all` #1 | [x](https://evil.example) <img src=x onerror=a> \n\n# \u202e"
)
HTML = re.compile(r"<details(?: open)?><summary>[\w ,()]+</summary>\n*|</details>\n*")


def read(text: str) -> list[tuple[str, str]]:
    """Return the kind and content of each part, as a site reads them."""
    parts = []
    for block in MarkdownIt("commonmark").enable("table").parse(text):
        parts.append((block.type, block.content))
        parts += [(each.type, each.content) for each in block.children or ()]
    return parts


def test_the_verdict_the_answers_and_what_to_do_come_first() -> None:
    """A reader of a merge request sees at once whether it is right, and what to do."""
    lines = markdown.render(building.recorded()).splitlines()
    assert lines[0].startswith("### ⚠️ Passed with findings: `checkpoint_final.pth` → ")
    questions = [line.split("**")[1] for line in lines if line.startswith("- ") and "?**" in line]
    assert questions == ["Is it right?", "Does it pay?", "What must I do?"]


def test_findings_are_grouped() -> None:
    """A code has one line, with how many there are, and the worst severity comes first."""
    text = markdown.render(building.failed())
    found = re.findall(r"^- \*\*(\w+)\*\* `([\w-]+)`: (.*)$", text, re.MULTILINE)
    assert [(severity, code) for severity, code, _ in found] == [
        ("error", "layout-error"),
        ("warning", "fp16-overflow"),
        ("warning", "layer-skipped"),
        ("info", "cpu-only"),
    ]
    assert found[1][2].startswith("2 tensors have values that become infinite in fp16: `encoder.")


def test_the_worst_layers_come_first() -> None:
    """Of many layers the worst are shown, and how many more there are."""
    text = markdown.render(building.large(500))
    rows = re.findall(r"^\| `encoder\.stages\.(\d+)\.blocks\.(\d+)", text, re.MULTILINE)
    assert rows[:3] == [("49", "9"), ("49", "8"), ("49", "7")]
    assert len(rows) == 20
    assert "… and 480 more layers, in the JSON report." in text


def test_a_folder_tells_of_each_file() -> None:
    """Files with layers have a row each, the worst verdict first, and layers name their file."""
    report = building.folder(3)
    report.files[1].verdict = "failed"
    text = markdown.render(report)
    rows = re.findall(r"^\| (\S+) \| `(part\d/model.pt)` \|", text, re.MULTILINE)
    assert rows[0] == ("❌", "part1/model.pt")
    assert len(rows) == 3
    assert "\n2 other files, byte for byte.\n" in text
    assert "| `part0/model.pt: encoder.stages.1.0.convs.0.conv.weight` |" in text


def test_an_inspection_has_no_empty_columns() -> None:
    """Where nothing was run, no errors are shown, and nothing is said to be proved."""
    layers = [each.model_copy(update={"smoke": None}) for each in building.recorded().layers]
    nothing = dict.fromkeys(("proof", "smoke", "artifact", "advice"))
    changes = {**nothing, "survival": [], "layers": layers}
    text = markdown.render(building.recorded().model_copy(update=changes))
    assert "| layer | shape | status |\n" in text
    assert "What was proved" not in text
    assert "How the artifact is loaded" not in text


def huge(name: str) -> Report:
    """Return a failed report on 10,000 layers, each with errors of kinds that nobody knows."""
    report = building.large(10_000)
    report.findings = [
        Finding(code=f"{name}{n % 3000}", severity="error", layer=f"{name}{n}", message=name)
        for n in range(10_000)
    ]
    for n, layer in enumerate(report.layers):
        layer.name, layer.reason = f"{name}{n}", name
    filename = {"filename": name}
    report.input = report.input.model_copy(update=filename)
    assert report.artifact
    report.artifact = report.artifact.model_copy(update=filename)
    return report


@pytest.mark.parametrize("name", ["encoder.", "|`" * 3000, "\u202e" * 5000, "😀 " * 2000])
def test_it_is_short_whatever_the_model(name: str) -> None:
    """10,000 layers and findings, with names of kilobytes, fit into a comment."""
    text = markdown.render(huge(name))
    assert 1000 < len(text.encode()) <= markdown.MOST_BYTES
    assert text.count("<details") == text.count("</details>")


def test_what_does_not_fit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part is there whole or not at all, and the end says that something is missing."""
    monkeypatch.setattr(markdown, "MOST_BYTES", 2000)
    text = markdown.render(huge("encoder."))
    assert len(text.encode()) <= 2000
    assert text.endswith(f"\n{markdown._LEFT_OUT}\n")


@pytest.mark.parametrize("text", [HOSTILE, "1. a", "@all #1 !1", "`" * 7, "```\nx\n```"])
@pytest.mark.parametrize("make", [building.recorded, building.failed, building.folder])
def test_names_stay_text(make: object, text: str) -> None:
    """Nothing from the file becomes a tag, a link, a picture, a heading, or a mention."""
    assert callable(make)
    report = building.poisoned(make(), text)
    parts = read(markdown.render(report))
    kinds = {kind for kind, _ in parts}
    assert not kinds & {"link_open", "image", "html_inline", "code_block", "blockquote_open"}
    blocks = [content for kind, content in parts if kind == "html_block"]
    assert not HTML.sub("", "".join(blocks))
    assert sum(kind == "heading_open" for kind, _ in parts) <= 3
    plain = " ".join(content for kind, content in parts if kind == "text")
    assert not re.search(r"@all|#1|!1|evil|onerror|\u202e", plain)


@given(reports())
def test_any_report_has_a_form(report: Report) -> None:
    """Each report is short, and the same each time."""
    text = markdown.render(report)
    assert len(text.encode()) <= markdown.MOST_BYTES
    assert text == markdown.render(report.model_copy(deep=True))
    assert text.endswith("\n")
