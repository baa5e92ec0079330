from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from convlast.report import Finding, Report
from convlast.report.rendering import terminal

HERE = Path(__file__).parent


@pytest.fixture
def report() -> Report:
    """A report with each status, each severity and each kind of smoke."""
    return Report.model_validate_json((HERE / "report.json").read_bytes())


def printed(rendered: RenderableType, *, width: int = 80, color: bool = False) -> str:
    """Print on a console of this width, and return the output."""
    stream = io.StringIO()
    console = Console(file=stream, width=width, color_system="standard" if color else None)
    console.print(rendered, crop=False)
    return stream.getvalue()


def with_layers(report: Report, number: int) -> Report:
    """Repeat the first layer under other names, with the one that was skipped at the end."""
    skipped = next(layer for layer in report.layers if layer.status == "skipped")
    many = [report.layers[0].model_copy(update={"name": f"layer{i}"}) for i in range(number - 1)]
    return report.model_copy(update={"layers": [*many, skipped]})


@pytest.mark.parametrize(("recorded", "verbose"), [("report.txt", False), ("verbose.txt", True)])
def test_report_is_rendered_as_recorded(report: Report, recorded: str, verbose: bool) -> None:
    """The whole rendering at 80 columns is the recorded one, so that changes are reviewed."""
    lines = [
        line.rstrip() for line in printed(terminal.render(report, verbose=verbose)).split("\n")
    ]

    assert lines == (HERE / recorded).read_text(encoding="utf-8").split("\n")


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_word_is_broken(report: Report, width: int, verbose: bool) -> None:
    """The words are the same in every width, and only a word that is wider makes a line wider."""
    rendered = terminal.render(report, verbose=verbose)
    text = printed(rendered, width=width)

    assert text.split() == printed(rendered, width=2000).split()
    load = report.advice.load.splitlines() if report.advice else []
    for line in text.splitlines():
        longest = max(map(len, line.split()), default=0)
        assert len(line.rstrip()) <= width or longest > width // 2 or line.strip() in load


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("passed", "\x1b[32m✓"),
        ("passed_with_findings", "\x1b[33m!"),
        ("failed", "\x1b[1;31m✗"),
    ],
)
def test_verdict_comes_first_in_its_colour(report: Report, verdict: str, words: str) -> None:
    """The first thing a person sees is the verdict, green, yellow or red."""
    report = report.model_copy(update={"verdict": verdict})

    assert printed(terminal.render(report), color=True).startswith(words)


def test_only_surprises_have_the_colour_of_warnings(report: Report) -> None:
    """What every file has is not yellow: a way of loading that never keeps the layout, infos."""
    lost = [each.model_copy(update={"always_lost": True}) for each in report.survival]
    infos = [each for each in report.findings if each.severity == "info"]
    clean = {"verdict": "passed", "findings": infos, "smoke": None, "layers": []}

    usual = printed(
        terminal.render(report.model_copy(update={**clean, "survival": lost})), color=True
    )
    surprising = printed(terminal.render(report.model_copy(update=clean)), color=True)

    assert infos
    assert "\x1b[33m" not in usual
    assert "the others never do" in " ".join(re.sub(r"\x1b\[[\d;]*m", "", usual).split())
    assert "\x1b[33m!" in surprising


def test_the_load_line_comes_last_and_the_place_before_it(report: Report) -> None:
    """The end of the output says where the artifact is, and how it is loaded."""
    text = printed(terminal.render(report, place="/models/out.pth"))
    assert report.advice is not None

    last = [line.strip() for line in text.splitlines()[-len(report.advice.load.splitlines()) :]]
    assert last == report.advice.load.splitlines()
    assert "Artifact  /models/out.pth, 33.2 MB" in text


def test_the_head_says_how_long_it_took(report: Report) -> None:
    """The times of all stages are summed."""
    timed = report.model_copy(update={"seconds": {"read": 1.0, "smoke": 2.5}})

    assert printed(terminal.render(timed), width=200).splitlines()[0].endswith(", in 3.50 s.")


def test_many_layers_of_a_conversion_are_shown_only_when_asked(report: Report) -> None:
    """Beyond ten layers those with problems alone are listed, and -v lists all."""
    many = with_layers(report, 3000)
    short, full = printed(terminal.render(many)), printed(terminal.render(many, verbose=True))

    assert "decoder.proj.weight" in short
    assert "layer7" not in short
    assert "-v shows the other layers." in short
    assert all(f"layer{i}\n" in full for i in range(2999))


def test_a_short_list_of_layers_has_a_line_for_each(report: Report) -> None:
    """Up to ten layers are listed in the order of the file, a line each, problems named."""
    lines = printed(terminal.render(with_layers(report, 10)), width=200).splitlines()
    listed = [line for line in lines if line.startswith(("converted", "skipped"))]

    assert [line.split()[1] for line in listed] == [
        *(f"layer{i}" for i in range(9)),
        "decoder.proj.weight",
    ]
    assert "shared-storage" in listed[-1]


def test_an_inspection_lists_its_layers_up_to_a_number(report: Report) -> None:
    """The layers are what an inspection is for; of thousands, those with problems come first."""
    parts = {"artifact": None, "proof": None}
    text = printed(terminal.render(with_layers(report, 3000).model_copy(update=parts)))

    assert text.index("decoder.proj.weight") < text.index("layer0")
    assert "… and 2,960 more layers; -v shows all." in text


def test_findings_of_one_code_are_folded(report: Report) -> None:
    """A thousand findings of one kind are told in one sentence, after the more severe ones."""
    many = [
        Finding(code="optimizer-moment", severity="info", layer=f"m{i}", message=f"number {i}.")
        for i in range(1000)
    ]
    grave = Finding(code="grave", severity="error", layer="a.weight", message="broken.")
    report = report.model_copy(update={"findings": [*many, grave]})

    text = " ".join(printed(terminal.render(report)).split())

    assert "error grave: a.weight: broken. info optimizer-moment: 1,000 optimizer moments" in text
    assert "moments are left alone: m0, m1, m2 and 997 more." in text
    assert "number 4." not in text
    assert "number 4." in printed(terminal.render(report, verbose=True))


def test_findings_of_a_later_version_are_told_by_the_first(report: Report) -> None:
    """A code that is not in the registry has its own message, and how many more there are."""
    many = [Finding(code="novel", severity="warning", message=f"number {i}.") for i in range(3)]
    text = printed(terminal.render(report.model_copy(update={"findings": many})))

    assert "warning  novel: number 0. And 2 more." in text


def test_name_cannot_act_on_the_terminal(report: Report) -> None:
    """Escape sequences, newlines and direction marks are shown, not obeyed."""
    hostile = "a\x1b[2J\x1b]0;owned\x07b\nc\r\u202ed\x9be"
    layer = report.layers[0].model_copy(update={"name": hostile, "alias_of": hostile})
    finding = Finding(code="c", severity="error", layer=hostile, message=f"{hostile[:-1]}f")
    file = report.input.model_copy(update={"filename": hostile})
    report = report.model_copy(update={"layers": [layer], "findings": [finding], "input": file})

    for verbose in (False, True):
        text = printed(terminal.render(report, verbose=verbose, place=hostile), width=400)

        assert not set(text) & set("\x1b\x07\r\u202e\x9b")
        assert text.count(r"a\x1b[2J\x1b]0;owned\x07b\nc\r\u202ed\x9b") == (7 if verbose else 6)


def test_name_is_not_read_as_markup(report: Report) -> None:
    """A name with brackets is shown unchanged, and a closing tag raises no error."""
    layer = report.layers[0].model_copy(update={"name": "[bold red]x[/nothing]"})

    assert "[bold red]x[/nothing]" in printed(
        terminal.render(report.model_copy(update={"layers": [layer]}))
    )


def test_inspection_is_rendered_without_what_it_has_not(report: Report) -> None:
    """A report without artifact, proof, smoke, advice and findings has a head and its layers."""
    absent = {"artifact": None, "proof": None, "smoke": None, "advice": None}
    layers = [layer.model_copy(update={"smoke": None}) for layer in report.layers]
    parts = {**absent, "layers": layers, "findings": [], "survival": [], "verdict": "passed"}
    report = report.model_copy(update=parts)

    lines = printed(terminal.render(report), width=200).splitlines()

    assert lines[0].startswith("✓ Passed: checkpoint_final.pth, 7 layers (4 converted,")
    assert lines[1] == ""
    assert len(lines) == 2 + len(layers)
