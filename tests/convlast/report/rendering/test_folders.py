"""The report of a model folder, in a terminal and as a page: a section for each file."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

import convlast
from convlast.options import Options
from convlast.report import Report
from convlast.report.rendering import claims, html, terminal
from tests.convlast.folders import building


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a conversion."""
    folder = building.model_folder(tmp_path_factory.mktemp("folder") / "model")
    return convlast.convert(folder, folder.with_name("out"), Options(smoke="none"))


def printed(report: Report, *, verbose: bool = False) -> str:
    """Print it on a console of 80 columns."""
    stream = io.StringIO()
    Console(file=stream, width=80).print(terminal.render(report, verbose=verbose), crop=False)
    return stream.getvalue()


TOLD = [
    "checkpoint_final.pth",
    "old.pth",
    "plans.pkl",
    "text.safetensors",
    f"vae/{building.FIRST}.safetensors",
    f"vae/{building.SECOND}.safetensors",
]
"""The files that have layers or findings."""


def test_the_terminal_has_a_section_for_each_file_that_matters(report: Report) -> None:
    """Files with layers or findings have a line each, in order; -v shows their layers."""
    for verbose, layers in ((False, 0), (True, 3)):
        text = printed(report, verbose=verbose)
        named = [line.split()[1] for line in text.splitlines() if line.startswith(("✓ ", "! "))]
        assert [each for each in named if each in TOLD] == TOLD
        assert text.count("0.weight") == layers
    assert "3 other files, byte for byte." in text
    assert "\\n" not in text


def test_the_terminal_shows_so_many_files(report: Report) -> None:
    """If there are more files than are shown, a line says how many."""
    many = report.model_copy(update={"files": [], "layers": []})
    for index in range(terminal.MAX_FILES + 7):
        section = report.files[0].model_copy(update={"path": f"{index}.pt"})
        many.files.append(section)
        many.layers.append(report.layers[0].model_copy(update={"file": section.path}))
    text = printed(many)
    assert "7 more files" in text
    assert f"{terminal.MAX_FILES}.pt" not in text


def test_the_page_has_a_line_for_each(report: Report) -> None:
    """Each checkpoint and index has one line, those with layers a section, and nothing twice."""
    page = html.render(report)
    for path in ("checkpoint_final.pth", "old.pth", f"vae/{building.FIRST}.safetensors"):
        assert page.count(f"<code>{path}</code></a></th>") == 1
        assert page.count(f"<h2><code>{path}</code></h2>") == 1
    assert page.count('<th scope="row"><code>vae/m.safetensors.index.json</code></th>') == 1
    assert page.count("0.weight</code></summary>") == 3
    assert page.count("<h2>Findings</h2>") == page.count("<h2>Ways of loading</h2>") == 1


def test_paths_are_escaped(report: Report) -> None:
    """Paths, which come from the sender, are escaped on the page and in the terminal."""
    path = "<b>\x1b[2J.pt"
    changed = report.model_copy(
        update={
            "files": [report.files[0].model_copy(update={"path": path})],
            "layers": [report.layers[0].model_copy(update={"file": path})],
        }
    )
    assert "<b>" not in html.render(changed)
    assert "\x1b" not in html.render(changed)
    assert "\x1b[2J" not in printed(changed)


def test_claims_are_those_of_the_worst_file(report: Report) -> None:
    """The claims are those of the worst file, which is named, with how many files are good."""
    found = {claim.title: claim for claim in claims.of_report(report)}
    assert found["Converted exactly"].state == "good"
    assert found["Converted exactly"].text.startswith("4 of 4 checkpoints.")
    survives = found["Survives loading"]
    assert survives.state == "unknown"
    assert survives.text.startswith("2 of 4 checkpoints.")
    assert f"vae/{building.FIRST}" in survives.text


def test_findings_of_no_file_stand_apart(report: Report) -> None:
    """Findings about no file, such as an extra file in a converted folder, are shown apart."""
    verified = report.model_copy(deep=True)
    about = {"code": "file-added", "file": None, "message": "About the whole."}
    verified.findings.append(verified.findings[0].model_copy(update=about))
    assert "About the whole." in printed(verified)
    assert html.render(verified).count("About the whole.") == 1
