from __future__ import annotations

from pathlib import Path

import pytest
import torch

import convlast
from convlast.options import Options
from convlast.proving.survival import LARGEST_SAMPLE_BYTES, try_routes

LOST = {"model.load_state_dict(state_dict)", "safetensors.torch.save_file, load_file"}


def converted(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return a weight as PyTorch's function leaves it."""
    weight = torch.randn(shape).to(dtype)
    return weight.clone(memory_format=torch.channels_last_3d).resize_(
        weight.size(), memory_format=torch.channels_last_3d
    )


@pytest.mark.parametrize("shape", [(4, 3, 3, 3, 3), (4, 3, 1, 1, 1), (4, 1, 3, 1, 1)])
@pytest.mark.parametrize("kind", ["Conv3d", "ConvTranspose3d", "unknown"])
def test_each_route_is_tried_and_told(shape: tuple[int, ...], kind: str, tmp_path: Path) -> None:
    """Two ways lose the layout, and say what does not; all others keep it, on any kernel."""
    routes = try_routes(converted(*shape), kind, tmp_path)  # type: ignore[arg-type]  # a parameter

    assert {route.route for route in routes if route.survives is False} == LOST
    assert all(route.survives is not None for route in routes)
    assert all("load" in route.message for route in routes if not route.survives)
    assert list(tmp_path.iterdir()) == []


def test_a_way_that_cannot_be_tried_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What raises is neither a yes nor a no."""

    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("no tracing today")

    monkeypatch.setattr(torch.jit, "trace", refuse)

    routes = {
        route.route: route for route in try_routes(converted(2, 2, 3, 3, 3), "Conv3d", tmp_path)
    }

    assert routes["torch.jit.save, torch.jit.load"].survives is None
    assert "no tracing today" in routes["torch.jit.save, torch.jit.load"].message


def test_a_large_weight_is_not_copied_about(tmp_path: Path) -> None:
    """A weight beyond the limit is left alone."""
    extents = (LARGEST_SAMPLE_BYTES // 4 + 1, 1, 1, 1, 1)

    assert try_routes(torch.empty(extents), "Conv3d", tmp_path) == []


def test_integers_have_no_model(tmp_path: Path) -> None:
    """A weight that is not floating point belongs to no module of torch.nn."""
    assert try_routes(converted(2, 2, 1, 1, 1, dtype=torch.int8), "Conv3d", tmp_path) == []


def test_the_report_tells_all_routes(tmp_path: Path) -> None:
    """A conversion with a smoke says what becomes of the layout on each way; without, on one."""
    torch.save({"conv.weight": torch.randn(4, 3, 3, 3, 3)}, tmp_path / "model.pt")

    report = convlast.convert(tmp_path / "model.pt", tmp_path / "a.pt")
    brief = convlast.convert(tmp_path / "model.pt", tmp_path / "b.pt", Options(smoke="none"))

    told = {route.route: route.survives for route in report.survival}
    assert told["torch.load(path, weights_only=True, mmap=True)"] is True
    assert told["model.load_state_dict(state_dict)"] is False
    assert told["torch.export.save, torch.export.load"] is True
    assert len(brief.survival) == 1
