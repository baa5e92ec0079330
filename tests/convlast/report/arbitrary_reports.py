"""Arbitrary reports, for the laws that hold for each of them: the recorded one, with changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from convlast.report import Report

RECORDED = Path(__file__).parent / "rendering" / "report.json"

_ERRORS = st.sampled_from([None, 0.0, 1e-5, 3e-4, 1e-3, 0.02, 0.5])
_SECONDS = st.sampled_from([0.0, 0.01, 0.0105, 0.02, 1.0])
_FILES = st.sampled_from([None, "vae/model.pt", "text.pt"])


def recorded() -> dict[str, Any]:
    """Return the recorded report, with each status, each severity and each kind of smoke."""
    found: dict[str, Any] = json.loads(RECORDED.read_bytes())
    return found


@st.composite
def reports(draw: st.DrawFn) -> Report:
    """Draw a report on a file or on a folder, of an inspection or a conversion."""
    found = recorded()
    found["schema_version"] = draw(st.sampled_from(["1.0", "1.1"]))
    found["verdict"] = draw(st.sampled_from(["passed", "passed_with_findings", "failed"]))
    for name in ("input", "artifact"):
        found[name]["sha256"] = draw(st.sampled_from(["a" * 64, "b" * 64]))
    for name in ("artifact", "proof", "smoke", "advice"):
        if draw(st.integers(0, 3)) == 0:
            found[name] = None
    found["environment"]["torch"] = draw(st.sampled_from(["2.13.0", "2.14.0"]))
    found["options"]["smoke"] = draw(st.sampled_from(["auto", "none"]))
    for name in ("findings", "layers", "survival"):
        # With repetition, as only a hostile report has it.
        found[name] = draw(st.lists(st.sampled_from(found[name]), max_size=8))
    found["layers"] = [_layer(draw, layer) for layer in found["layers"]]
    if found["smoke"]:
        _fill_smoke(draw, found["smoke"])
    if draw(st.booleans()):
        _make_folder(draw, found)
    return Report.model_validate(found)


def _layer(draw: st.DrawFn, layer: dict[str, Any]) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "status": draw(st.sampled_from(["converted", "kept", "convertible"])),
        "dtype": draw(st.sampled_from(["float32", "float16"])),
        "file": draw(_FILES),
    }
    smoke = layer["smoke"] and {
        **layer["smoke"],
        "parity": [_parity(draw, each) for each in layer["smoke"]["parity"]],
    }
    return {**layer, **changes, "smoke": smoke}


def _parity(draw: st.DrawFn, parity: dict[str, Any]) -> dict[str, Any]:
    passed = draw(st.sampled_from([True, False, None]))
    return {**parity, "relative": draw(_ERRORS), "passed": passed}


def _fill_smoke(draw: st.DrawFn, smoke: dict[str, Any]) -> None:
    smoke["scope"] = draw(st.sampled_from(["model", "layers"]))
    smoke["parity"] = [_parity(draw, each) for each in smoke["parity"]]
    smoke["timings"] = draw(st.lists(_timings(), max_size=3))


@st.composite
def _timings(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "contiguous_s": draw(_SECONDS),
        "converted_s": draw(_SECONDS),
        "speedup": draw(st.sampled_from([0.0, 1.0, 1.05, 2.0])),
        "spread": draw(st.sampled_from([0.0, 0.1])),
        "representative": draw(st.booleans()),
        "input_shape": draw(st.sampled_from([None, [1, 1, 8, 8, 8]])),
    }


def _make_folder(draw: st.DrawFn, found: dict[str, Any]) -> None:
    """Move what is said of the file into the sections of files."""
    section = {name: found[name] for name in ("verdict", "input", "artifact", "proof", "advice")}
    section |= {"survival": found["survival"], "smoke": found["smoke"]}
    paths = draw(st.lists(st.sampled_from(["vae/model.pt", "text.pt", "plans.json"]), max_size=3))
    roles = st.sampled_from(["checkpoint", "other"])
    found["files"] = [{**section, "path": path, "role": draw(roles)} for path in paths]
    found["survival"], found["smoke"], found["advice"] = [], None, None
