from __future__ import annotations

import pytest

from convlast.report.rendering import headline
from tests.convlast.report.rendering import building


def test_the_top_has_the_verdict_the_answers_and_the_origin() -> None:
    """Verdict, files, three questions, reasons, the lines that load, date, versions and device."""
    report = building.recorded().model_copy(update={"made_at": "2026-01-31T23:59:59Z"})
    drawn = headline.draw(report)

    assert drawn.count("<dt>") == 3
    for words in (
        "<h1>Passed with findings</h1>",
        "checkpoint_final.channels_last_3d.pth",
        "<li>Nothing was measured on a GPU.</li>",
        '<pre class="load">',
        '<time datetime="2026-01-31T23:59:59Z">31 January 2026, 23:59 UTC</time>',
        "convlast 0.1.0 · PyTorch 2.13.0+cpu · cpu (Intel(R) Xeon(R))",
    ):
        assert words in drawn


def test_a_rejected_artifact_is_not_loaded_or_explained_twice() -> None:
    """Without an artifact nothing is loaded, and the reasons stand among the findings alone."""
    drawn = headline.draw(building.failed())

    assert "nothing written" in drawn
    assert "<pre" not in drawn
    assert "<li>" not in drawn


@pytest.mark.parametrize("moment", ["", "yesterday", "<b>", "9999-99-99T00:00:00Z"])
def test_a_moment_that_is_none_is_shown_as_it_is(moment: str) -> None:
    """What is no moment of ours, as in the report of a later version, does not fail."""
    report = building.recorded().model_copy(update={"made_at": moment})
    assert "<b>" not in headline.draw(report)
