from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from convlast.checkpoints.manifest import LayerLayout, Manifest
from convlast.rendering import terminal
from convlast.report import Finding, Report

HERE = Path(__file__).parent


@pytest.fixture
def report() -> Report:
    """A report with each status, each severity and each kind of smoke."""
    return Report.model_validate_json((HERE / "report.json").read_bytes())


def printed(rendered: RenderableType, *, width: int = 80, color: bool = False) -> str:
    """Print on a console of this width, and return the output."""
    stream = io.StringIO()
    Console(file=stream, width=width, color_system="standard" if color else None).print(rendered)
    return stream.getvalue()


def with_layers(report: Report, number: int) -> Report:
    """Repeat the first layer under other names, with the one that was skipped at the end."""
    skipped = next(layer for layer in report.layers if layer.status == "skipped")
    many = [report.layers[0].model_copy(update={"name": f"layer{i}"}) for i in range(number - 1)]
    return report.model_copy(update={"layers": [*many, skipped]})


def test_report_is_rendered_as_recorded(report: Report) -> None:
    """The whole rendering at 80 columns is the recorded one, so that changes are reviewed."""
    lines = [line.rstrip() for line in printed(terminal.render(report)).splitlines()]

    assert lines == (HERE / "report.txt").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("width", [80, 100, 200])
def test_each_layer_is_named_within_the_width(report: Report, width: int) -> None:
    """No line is wider than the terminal, and each layer's name is on one line."""
    lines = printed(terminal.render(report), width=width).splitlines()

    assert max(map(len, lines)) <= width
    for layer in report.layers:
        assert any(line.rstrip().endswith(layer.name) for line in lines)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("passed", "\x1b[1;32mPassed"),
        ("passed_with_findings", "\x1b[1;33mPassed with findings"),
        ("failed", "\x1b[1;31mFailed"),
    ],
)
def test_verdict_comes_first_in_its_colour(report: Report, verdict: str, words: str) -> None:
    """The first thing a person sees is the verdict, green, yellow or red."""
    report = report.model_copy(update={"verdict": verdict})

    assert printed(terminal.render(report), color=True).startswith(words)


def test_long_table_shows_trouble_first_and_says_what_it_leaves_out(report: Report) -> None:
    """Of 3,000 layers a few are shown, including the last one because it was skipped."""
    text = printed(terminal.render(with_layers(report, 3000), max_layers=10))

    assert text.index("decoder.proj.weight") < text.index("layer0")
    assert "layer8" in text
    assert "layer9" not in text
    assert "… and 2,990 more layers; --json has all." in text


def test_short_table_keeps_the_order_of_the_file(report: Report) -> None:
    """If all layers are shown, they keep the order of the file."""
    text = printed(terminal.render(with_layers(report, 10), max_layers=10))

    assert text.index("layer0") < text.index("layer8") < text.index("decoder.proj.weight")
    assert "more layers" not in text


def test_findings_of_one_code_are_put_together_and_cut(report: Report) -> None:
    """A thousand findings of one code take a few lines, after the more severe ones."""
    many = [Finding(code="many", severity="info", message=f"number {i}.") for i in range(1000)]
    grave = Finding(code="grave", severity="error", layer="a.weight", message="broken.")
    report = report.model_copy(update={"findings": [*many, grave]})

    text = printed(terminal.render(report))

    assert text.index("error grave") < text.index("info many ×1,000")
    assert "a.weight: broken." in text
    assert "number 4." in text
    assert "number 5." not in text
    assert "… and 995 more findings; --json has all." in text


def test_name_cannot_act_on_the_terminal(report: Report) -> None:
    """Escape sequences, newlines and direction marks are shown, not obeyed."""
    hostile = "a\x1b[2J\x1b]0;owned\x07b\nc\r\u202ed\x9be"
    layer = report.layers[0].model_copy(update={"name": hostile, "alias_of": hostile})
    finding = Finding(code="c", severity="error", layer=hostile, message=f"{hostile[:-1]}f")
    file = report.input.model_copy(update={"filename": hostile})
    report = report.model_copy(update={"layers": [layer], "findings": [finding], "input": file})

    text = printed(terminal.render(report), width=200)

    assert not set(text) & set("\x1b\x07\r\u202e\x9b")
    assert text.count(r"a\x1b[2J\x1b]0;owned\x07b\nc\r\u202ed\x9b") == 5


def test_name_is_not_read_as_markup(report: Report) -> None:
    """A name with brackets is shown unchanged, and a closing tag raises no error."""
    layer = report.layers[0].model_copy(update={"name": "[bold red]x[/nothing]"})

    assert "[bold red]x[/nothing]" in printed(
        terminal.render(report.model_copy(update={"layers": [layer]}))
    )


def test_inspection_is_rendered_without_what_it_has_not(report: Report) -> None:
    """A report without artifact, proof, smoke, advice and findings has no empty sections."""
    absent = {"artifact": None, "proof": None, "smoke": None, "advice": None}
    layers = [layer.model_copy(update={"smoke": None}) for layer in report.layers]
    parts = {**absent, "layers": layers, "findings": [], "survival": []}
    report = report.model_copy(update=parts)

    text = printed(terminal.render(report))

    assert "none written" in text
    assert "Nothing was written, so nothing was compared." in text
    assert "Findings" not in text
    assert "What to do" not in text
    assert "Relative errors" not in text


def test_manifest_is_rendered_as_a_table() -> None:
    """The manifest shows its layout, its version, and each layer's strides, up to a limit."""
    layers = [
        LayerLayout(
            name=f"conv{i}.weight",
            key=f"conv{i}.weight",
            shape=(8, 4, 3, 3, 3),
            stride_before=(108, 27, 9, 3, 1),
            stride_after=(108, 1, 36, 12, 4),
        )
        for i in range(3)
    ]
    manifest = Manifest(convlast="9.9", memory_format="channels_last_3d", layers=tuple(layers))

    text = printed(terminal.render_manifest(manifest, max_layers=2))

    assert "channels_last_3d  3 layers, written by convlast 9.9" in text
    assert "conv1.weight" in text
    assert "(108,27,9,3,1)" in text
    assert "(108,1,36,12,4)" in text
    assert "conv2.weight" not in text
    assert "… and 1 more layer; --json has all." in text
