"""A bad report is still refused by pydantic, though it contains options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from convlast.options import Options
from convlast.report import Report

RECORDED = Path(__file__).parents[1] / "report" / "rendering" / "report.json"


@pytest.mark.parametrize("options", [{"smoke": "x"}, {"smok": "none"}, 7])
def test_options_in_a_bad_report(options: Any) -> None:
    """`Report.model_validate` raises a ValidationError that names the option."""
    bad = {**json.loads(RECORDED.read_bytes()), "options": options}
    with pytest.raises(ValidationError, match="options"):
        Report.model_validate(bad)
    with pytest.raises(ValidationError, match="options"):
        Report.model_validate_json(json.dumps(bad))


def test_options_are_read_from_json() -> None:
    """They are sent to workers and kept in reports as JSON."""
    options = Options(smoke="none", select=("a.*",), input_shape=(1, 2, 3, 4, 5))
    assert Options.model_validate_json(options.model_dump_json()) == options
