from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from scripts import demo

WORD = "model.load_state_dict(state_dict, assign=True)  # without assign=True the layout is lost"


def test_the_demo_shows_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is cropped in a narrow terminal, and the end says what to try next."""
    monkeypatch.setattr(demo, "FOLDER", tmp_path / "demo")
    monkeypatch.setattr(sys, "argv", ["demo"])
    for name, value in {"DEVICE": "cpu", "WORK_DIR": str(tmp_path / "work")}.items():
        monkeypatch.setenv(f"CONVLAST_{name}", value)
    monkeypatch.setenv("COLUMNS", "60")

    demo.main()

    shown = capsys.readouterr().out
    assert WORD in shown
    assert "…" not in shown
    assert shown.endswith(f"{demo.NEXT}\n")
    log = (tmp_path / "demo" / demo.LOG).read_text().splitlines()
    assert "job ended" in {json.loads(line)["event"] for line in log}


def test_a_service_that_does_not_start_shows_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is not hidden in a file."""
    monkeypatch.setattr(demo, "FOLDER", tmp_path / "demo")
    monkeypatch.setattr(sys, "argv", ["demo"])
    monkeypatch.setenv("CONVLAST_DEVICE", "tpu")

    with pytest.raises(SystemExit, match=r"status 2\.\n.*\"CONVLAST_DEVICE has"):
        demo.main()
