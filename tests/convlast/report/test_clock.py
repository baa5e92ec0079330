from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import convlast
from tests import builders


def test_every_verb_says_when_its_report_was_made(tmp_path: Path) -> None:
    """The time is now, in UTC; outside the service there are no ids."""
    source = builders.save(builders.one_convolution(), tmp_path / "m.pt")
    folder = tmp_path / "folder"
    folder.mkdir()
    builders.save(builders.one_convolution(), folder / "m.pt")
    target = tmp_path / "target.pt"
    reports = [
        convlast.convert(source, target, smoke="none"),
        convlast.convert(folder, tmp_path / "made", smoke="none"),
        convlast.inspect(source),
        convlast.inspect(folder),
        convlast.verify(source, target),
        convlast.verify(folder, tmp_path / "made"),
    ]
    for report in reports:
        assert report.made_at is not None
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", report.made_at)
        age = datetime.now(UTC) - datetime.fromisoformat(report.made_at)
        assert timedelta() <= age < timedelta(minutes=5)
        assert (report.job_id, report.request_id) == (None, None)
