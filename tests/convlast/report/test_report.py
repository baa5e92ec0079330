"""A report as an object: how it shows itself, and how it is saved."""

from __future__ import annotations

import errno
import os
from html.parser import HTMLParser
from pathlib import Path

import pytest

from convlast.errors import OptionError, StorageFullError
from convlast.report import Finding, Report

RECORDED = Path(__file__).parent / "rendering" / "report.json"


@pytest.fixture
def report() -> Report:
    """A report with each status, each severity and each kind of smoke."""
    return Report.model_validate_json(RECORDED.read_bytes())


def test_it_shows_itself_in_one_line(report: Report) -> None:
    """In a prompt a report is its verdict, its files and its layers, not a page of fields."""
    assert repr(report) == str(report)
    assert repr(report) == (
        "<Report passed_with_findings: 'checkpoint_final.pth' -> "
        "'checkpoint_final.channels_last_3d.pth'; "
        "layers: 4 converted, 1 already, 1 skipped, 1 kept>"
    )
    nothing = report.model_copy(update={"artifact": None, "layers": []})
    assert repr(nothing) == "<Report passed_with_findings: 'checkpoint_final.pth'; layers: none>"


@pytest.mark.parametrize("name", ["report.json", "REPORT.JSON", "report"])
def test_it_is_saved_as_json(report: Report, tmp_path: Path, name: str) -> None:
    """A name that ends in .json, or has no ending, gets the report as JSON, which reads back."""
    report.save(tmp_path / name)

    assert Report.model_validate_json((tmp_path / name).read_bytes()) == report


@pytest.mark.parametrize("name", ["report.html", "report.htm"])
def test_it_is_saved_as_a_page(report: Report, tmp_path: Path, name: str) -> None:
    """A name that ends in .html gets a page; a path may be a text."""
    report.save(str(tmp_path / name))

    assert (tmp_path / name).read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("name", "beginning"),
    [("r.md", "### "), ("r.xml", "<?xml "), ("r.sarif", '{\n "$schema": ')],
)
def test_it_is_saved_for_pipelines(
    report: Report, tmp_path: Path, name: str, beginning: str
) -> None:
    """Markdown is for a merge request, JUnit for a view of tests, SARIF for code scanning."""
    report.save(tmp_path / name)

    assert (tmp_path / name).read_text(encoding="utf-8").startswith(beginning)


def test_an_unknown_ending_is_refused(report: Report, tmp_path: Path) -> None:
    """A report is not written as JSON under a name that promises something else."""
    with pytest.raises(OptionError, match=r"no kind of report for 'report\.pdf'"):
        report.save(tmp_path / "report.pdf")

    assert list(tmp_path.iterdir()) == []


def test_only_a_file_is_replaced(report: Report, tmp_path: Path) -> None:
    """A pipe or a folder stays as it is; a file that is moved there would take its place."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name, said in (("pipe", "a file would take its place"), ("folder", "is a folder")):
        with pytest.raises(OptionError, match=said):
            report.save(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["folder", "pipe"]


def test_standard_output_is_no_file(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on the command line: no file gets its name, and none can take the place of a pipe."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="standard output"):
        report.save("-")
    reader, writer = os.pipe()
    try:
        with pytest.raises(OptionError, match="is a pipe"):
            report.save(f"/proc/self/fd/{writer}")
    finally:
        os.close(reader)
        os.close(writer)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_with_what_to_do(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of this library, whose advice is about the file, and not about an artifact."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(StorageFullError, match="Free room for the file"):
        report.save(tmp_path / "report.json")
    assert list(tmp_path.iterdir()) == []


def test_it_is_saved_whole_or_not_at_all(report: Report, tmp_path: Path) -> None:
    """A file that is there is replaced, also behind a link; a failure leaves it as it was."""
    target, link = tmp_path / "report.json", tmp_path / "link.json"
    target.write_text("before")
    link.symlink_to(target)
    broken = report.model_copy(update={"verdict": "\udc80"})

    with pytest.raises(ValueError, match="surrogates"):
        broken.save(link)
    assert target.read_text() == "before"

    report.save(link)
    assert link.is_symlink()
    assert Report.model_validate_json(target.read_bytes()) == report
    assert {each.name for each in tmp_path.iterdir()} == {"report.json", "link.json"}


class Tags(HTMLParser):
    """Notes the elements that are not closed, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, _: object) -> None:
        """Note an element."""
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Forget it."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


def test_a_notebook_shows_what_matters(report: Report) -> None:
    """The cell has the verdict, the claims, warnings, the decision and the lines to load."""
    cell = Tags(report._repr_html_())

    assert cell.open == []
    for words in (
        "! Passed with findings: ",
        "✓ Converted exactly",
        "2 tensors have values that become infinite in fp16",
        "Measure on a GPU before you decide.",
        'model.load_state_dict(state["network_weights"], assign=True)',
    ):
        assert words in cell.text
    assert "cpu-only" not in cell.text  # an info


def test_a_notebook_runs_nothing_of_a_name(report: Report) -> None:
    """Names, which come from the sender, are escaped."""
    hostile = Finding(code="c", severity="error", layer="<script>", message="<script>alert(1)")
    file = report.input.model_copy(update={"filename": "<script>"})
    report = report.model_copy(update={"findings": [hostile], "input": file})

    assert "<script" not in report._repr_html_()
