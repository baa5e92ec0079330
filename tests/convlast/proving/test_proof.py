"""A fault that is planted in the writer is found by the proof, and its artifact is not kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch

import convlast
from convlast.errors import VerificationError
from convlast.options import Options
from convlast.planning.plan import Plan
from convlast.report import Report
from convlast.writing import filling, permutation
from convlast.writing.permutation import Read, Restriding
from tests import builders

QUIET = Options(smoke="none")
ALL_THE_SAME = Options(smoke="none", on_failure="report")


def swapping(
    weights: Iterable[tuple[Restriding, Read]], device: torch.device
) -> Iterator[tuple[memoryview, memoryview]]:
    """Permute weights, and exchange two elements of each."""
    for before, after in permutation.permute_all(weights, device):
        swapped = bytearray(after)
        swapped[:4], swapped[-4:] = swapped[-4:], swapped[:4]
        yield before, memoryview(swapped)


def forgetting(
    weights: Iterable[tuple[Restriding, Read]], device: torch.device
) -> Iterator[tuple[memoryview, memoryview]]:
    """Leave the elements where they were."""
    for before, _ in permutation.permute_all(weights, device):
        yield before, before


def misplacing(plan: Plan) -> None:
    """Give weights strides that are dense, and not PyTorch's."""
    for entry in plan.entries:
        if isinstance(entry.value, torch.Tensor) and entry.value.dim() == 5:
            entry.value.data = entry.value.data.as_strided(entry.value.shape, (1, 4, 12, 36, 108))


Plant = Callable[[pytest.MonkeyPatch], None]
FAULTS: dict[str, tuple[Plant, str]] = {
    "two elements swapped": (
        lambda patch: patch.setattr(filling, "permute_all", swapping), "values-changed",
    ),
    "elements not moved": (
        lambda patch: patch.setattr(filling, "permute_all", forgetting), "values-changed",
    ),
    "strides of another kind": (
        lambda patch: patch.setattr("convlast.planning.applying.apply_strides", misplacing),
        "strides-wrong",
    ),
    "strides forgotten": (
        lambda patch: patch.setattr("convlast.planning.applying.apply_strides", lambda _: None),
        "values-changed",
    ),
}  # fmt: skip


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A sound checkpoint."""
    return builders.save(builders.one_convolution(), tmp_path / "source.pt")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict is failed, the report says where, and nothing is left behind."""
    plant, code = FAULTS[fault]
    plant(monkeypatch)
    with pytest.raises(VerificationError) as refusal:
        convlast.convert(source, source.with_name("target.pt"), QUIET)
    report = refusal.value.report
    assert refusal.value.code == "verification-failed"
    assert (report.verdict, report.artifact) == ("failed", None)
    assert code in {found.code for found in report.findings if found.severity == "error"}
    assert report.advice is not None
    assert report.advice.decision == "keep"
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("fault", FAULTS)
def test_with_report_the_artifact_is_given_all_the_same(
    fault: str, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`on_failure=report` answers with both, and the verdict is still failed."""
    FAULTS[fault][0](monkeypatch)
    report = convlast.convert(source, source.with_name("target.pt"), ALL_THE_SAME)
    assert report.verdict == "failed"
    assert report.artifact is not None
    assert source.with_name("target.pt").stat().st_size == report.artifact.bytes
    assert Report.model_validate_json(report.model_dump_json()) == report


def test_strides_are_checked_against_pytorch_itself(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A formula for strides that is wrong, and carried out faithfully, is found too."""
    monkeypatch.setattr("convlast.planning.plan.strides_of", lambda *_: (1, 4, 12, 36, 108))
    with pytest.raises(VerificationError, match="PyTorch's function gives"):
        convlast.convert(source, source.with_name("target.pt"), QUIET)


def test_what_loading_does_to_the_layout_is_told(source: Path) -> None:
    """The plain `load_state_dict`, which loses it, stands beside the way that was tried."""
    options = Options(input_shape=(1, 1, 4, 4, 4))
    report = convlast.convert(source, source.with_name("target.pt"), options)
    told = {found.route: found.survives for found in report.survival}
    plain = [survives for route, survives in told.items() if "load_state_dict(state_dict)" in route]
    assert plain == [False]
    assert True in told.values()
