from __future__ import annotations

import re

from convlast.report.rendering import folder_page, html
from tests.convlast.report.rendering import building


def test_each_file_has_one_line() -> None:
    """A line has the verdict, the layers, the error and the size; other files are counted."""
    drawn = folder_page.overview(building.folder(3))
    rows = re.findall(r"<tr>.*?</tr>", drawn)

    assert len(rows) == 1 + 3 + 1
    assert '<a href="#file-1"><code>part0/model.pt</code></a>' in rows[1]
    assert "7 layers (4 converted, 1 already so, 1 not selected, 1 skipped)" in rows[1]
    assert "fp16 0.21, layout 0" in rows[1]
    assert "an index" in rows[4]
    assert "1 more file, in the JSON report." in drawn


def test_each_link_leads_to_a_section() -> None:
    """Each link of the overview has a target on the page, which can take the focus."""
    page = html.render(building.folder(3))

    for target in re.findall(r'href="#([^"]+)"', page):
        assert f'id="{target}" tabindex="-1"' in page


def test_nothing_stands_twice() -> None:
    """Reasons, findings and ways of loading that files share stand on the page once."""
    report = building.folder(3)
    page = html.render(report)

    assert report.advice is not None
    for reason in report.advice.reasons:
        assert page.count(reason) == 1
    assert page.count("No GPU here: fp16 was emulated") == 1
    assert page.count("Copies into contiguous parameters; pass assign=True.") == 1


def test_files_that_differ_have_their_own_ways_of_loading() -> None:
    """Files with the same ways share a table, and others have one of their own."""
    report = building.folder(3)
    report.files[2].survival = report.files[2].survival[:1]
    ways = list(folder_page.ways_of_loading(report))

    assert [files for files, _ in ways] == [
        ["part0/model.pt", "part1/model.pt"],
        ["part2/model.pt"],
    ]


def test_only_so_many_files_have_a_section() -> None:
    """Of more files with layers than the page has sections, the number is said."""
    report = building.folder(folder_page.MAX_FILES + 2)
    page = html.render(report)

    assert page.count('class="file"') == folder_page.MAX_FILES
    assert "2 more files with layers; the JSON report has all." in page
