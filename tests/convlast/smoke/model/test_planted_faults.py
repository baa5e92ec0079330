"""A fault of each kind in a small model is found, located in its layer, and reported."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from convlast.architectures.time_limit import TimeLimit
from convlast.findings import smoke as smoke_findings
from convlast.report import Finding, verdict_of
from convlast.smoke.model.ways import Request
from convlast.smoke.model.whole import ModelSmoke
from tests.subjects import smoked

SHAPE = (3, 6, 6, 6)


class Sound(nn.Module):
    """Convolutions, a norm and an activation, none of which breaks anything."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm3d(8)
        self.second = nn.Conv3d(8, 8, 3, padding=1)
        self.last = nn.Conv3d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        return cast(Tensor, self.last(self.second(self.norm(self.first(x)).relu()).relu()))


class Overflowing(Sound):
    """The second convolution gives values beyond 65504; the third makes them small again."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.second.weight.mul_(1e6)
            self.last.weight.mul_(1e-6)


class LargeVariance(Sound):
    """A variance of 1e6 is infinite in fp16, and the norm then gives its bias alone."""

    def __init__(self) -> None:
        super().__init__()
        with torch.no_grad():
            self.first.weight.mul_(1e3)
            cast(Tensor, self.norm.running_var).fill_(1e6)
            self.norm.bias.fill_(0.1)


class Viewing(Sound):
    """Flattens with a view, which a channels-last tensor does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4 * 6**3, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = super().forward(x)
        return cast(Tensor, self.head(x.view(x.size(0), -1)))


class MergingSamples(Sound):
    """Views samples and channels as one dimension, which works for one sample in any layout."""

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = super().forward(x)
        return x.view(-1, *x.shape[2:]) * 2


class Corrupting(nn.Conv3d):
    """A convolution that is a few percent off, but only for channels-last weights."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # PyTorch's name
        """Run."""
        is_converted = self.weight.stride(1) == 1
        return super().forward(input) * (1.05 if is_converted else 1.0)


class Corrupted(Sound):
    """One of its convolutions corrupts."""

    def __init__(self) -> None:
        super().__init__()
        self.second = Corrupting(8, 8, 3, padding=1)


class Flipping(Sound):
    """Makes the tensor contiguous between two convolutions, in a module of its own."""

    class Contiguous(nn.Module):
        """Does that."""

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            return x.contiguous()

    def __init__(self) -> None:
        super().__init__()
        self.flip = self.Contiguous()

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = self.flip(self.norm(self.first(x)))
        return cast(Tensor, self.last(self.second(x)))


def told(found: ModelSmoke, code: str) -> list[Finding]:
    """Return the findings of one code."""
    return [finding for finding in smoke_findings.of_model(found) if finding.code == code]


def verdict(found: ModelSmoke) -> str:
    """Return the verdict of the report."""
    return verdict_of(list(smoke_findings.of_model(found)))


def test_a_sound_model_passes_all_ways() -> None:
    """Each pair was compared, with two samples and with one, and every one passes."""
    found = smoked(Sound, SHAPE)
    assert (found.smoke.status, found.faults, verdict(found)) == ("passed", [], "passed")
    assert [(parity.pair, parity.samples) for parity in found.smoke.parity] == [
        ("dtype", 2),
        ("layout", 2),
        ("layout_input", 2),
        ("autocast", 2),
        ("autocast_layout", 2),
        ("layout", 1),
    ]
    assert all(parity.passed for parity in found.smoke.parity)
    assert {smoke.status for smoke in found.layers.values()} == {"passed"}
    assert found.smoke.permutations is not None
    assert found.smoke.permutations.number == found.smoke.permutations.best_number == 1


def test_an_overflow_is_fp16s_fault() -> None:
    """The overflowing module is named, and the modules to keep in fp32, with which it is right."""
    found = smoked(Overflowing, SHAPE)
    assert (found.smoke.status, verdict(found)) == ("passed_with_findings",) * 2
    assert {fault.blame for fault in found.faults} == {"dtype"}
    assert found.smoke.first_wrong is not None
    assert found.smoke.first_wrong.module == "second"
    (activation,) = (a for a in found.smoke.activations if a.module == "second")
    assert activation.overflow > 0
    assert activation.headroom is not None
    assert activation.headroom < 1
    kept = found.smoke.kept_in_float32
    assert kept is not None
    assert kept.helps
    assert "second" in kept.modules
    (overflow,) = told(found, "fp16-overflow")
    assert overflow.layer == "second"
    (inaccurate,) = told(found, "fp16-inaccurate")
    assert "first module that goes wrong is second (Conv3d)" in inaccurate.message
    assert "bfloat16 would work" in inaccurate.message


def test_a_large_variance_is_found_though_all_is_finite() -> None:
    """A model without NaN or infinity is found inaccurate by the comparison with fp32."""
    found = smoked(LargeVariance, SHAPE)
    dtype = found.smoke.parity[0]
    assert (dtype.pair, dtype.nan, dtype.inf, dtype.passed) == ("dtype", 0, 0, False)
    assert found.smoke.first_wrong is not None
    assert (found.smoke.first_wrong.module, found.smoke.first_wrong.kind) == ("norm", "BatchNorm3d")
    kept = found.smoke.kept_in_float32
    assert kept is not None
    assert (kept.modules, kept.helps) == (["norm"], True)
    assert verdict(found) == "passed_with_findings"
    (finding,) = told(found, "fp16-inaccurate")
    assert "with norm kept in float32" in finding.message


def test_a_view_fails_and_says_where() -> None:
    """A failing view is reported once, with operator, line and cure, though several runs raise."""
    found = smoked(Viewing, SHAPE)
    assert (found.smoke.status, verdict(found)) == ("failed", "failed")
    (finding,) = told(found, "layout-error")
    assert "aten::view" in finding.message
    assert "test_planted_faults.py:" in finding.message
    assert "x.view(x.size(0), -1)" in finding.message
    assert ".flatten(1)" in finding.message
    assert "with one sample" not in finding.message


def test_a_view_that_fails_with_two_samples_alone_is_found() -> None:
    """A fault that needs two samples is found, and the finding says that one sample passes."""
    found = smoked(MergingSamples, SHAPE)
    assert (found.smoke.status, verdict(found)) == ("failed", "failed")
    (finding,) = told(found, "layout-error")
    assert "aten::view" in finding.message
    assert "(with one sample it does not)" in finding.message
    (alone,) = (p for p in found.smoke.parity if p.pair == "layout" and p.samples == 1)
    assert alone.passed


def test_it_does_not_fail_where_one_sample_was_asked_for() -> None:
    """If one sample was asked for, a fault that needs two is only a warning."""
    found = smoked(MergingSamples, SHAPE, Request(samples=1))
    assert (found.smoke.status, verdict(found)) == ("passed_with_findings",) * 2
    assert told(found, "layout-breaks-batches")


class OneSample(nn.Module):
    """Takes one sample alone."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv3d(3, 8, 3, padding=1), nn.Conv3d(8, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        return cast(Tensor, self.last(self.first(x).reshape(1, 8, *x.shape[2:])))


def test_a_model_for_one_sample_is_run_with_one() -> None:
    """If several samples raise in fp32 too, one is run, and the report says why."""
    found = smoked(OneSample, SHAPE)
    assert (found.smoke.status, verdict(found)) == ("passed", "passed")
    assert found.smoke.input_shape == [1, *SHAPE]
    assert {parity.samples for parity in found.smoke.parity} == {1}
    assert "one sample was run, since 2 samples raise: RuntimeError" in str(found.smoke.reason)


def test_one_sample_is_run_where_one_is_asked_for() -> None:
    """The input is the one that was asked for; two samples are tried only for their layout."""
    found = smoked(OneSample, SHAPE, Request(samples=1))
    assert (found.smoke.status, found.smoke.reason) == ("passed", None)
    assert found.smoke.input_shape == [1, *SHAPE]
    found = smoked(Sound, SHAPE, Request(samples=1))
    assert {(p.pair, p.samples) for p in found.smoke.parity} >= {("layout", 1), ("layout", 2)}


def test_one_sample_is_not_run_where_several_are_asked_for() -> None:
    """Then the model does not run on what was asked for."""
    found = smoked(OneSample, SHAPE, Request(takes_one=False))
    assert (found.smoke.status, found.smoke.permutations) == ("skipped", None)


def test_without_time_nothing_is_claimed() -> None:
    """The report lists what was not run."""
    found = smoked(Sound, SHAPE, Request(limit=TimeLimit.of(1e-9)))
    assert (found.smoke.status, found.smoke.parity, found.smoke.permutations) == (
        "skipped", [], None,
    )  # fmt: skip
    (finding,) = told(found, "smoke-cut-short")
    assert finding.severity == "warning"
    for words in ("float32", "autocast", "float16", "one sample", "a channels-last input"):
        assert words in finding.message
    assert "smoke_seconds" in str(found.smoke.reason)


def test_what_matters_most_is_run_first() -> None:
    """With little time the two layouts are compared in fp16, and the rest is left out."""

    class Scarce(TimeLimit):
        def remaining_s(self) -> float:
            return 1e-9

    found = smoked(Sound, SHAPE, Request(limit=Scarce(seconds=60)))
    assert [parity.pair for parity in found.smoke.parity] == ["dtype", "layout"]
    assert found.left_out == ["autocast", "one sample", "a channels-last input"]
    assert found.smoke.status == "passed"


def test_a_corrupting_layout_fails_and_names_its_layer() -> None:
    """A layer that depends on the layout is to blame, not fp16, and it is named."""
    found = smoked(Corrupted, SHAPE)
    assert (found.smoke.status, verdict(found)) == ("failed", "failed")
    assert found.smoke.parity[0].passed
    (finding,) = told(found, "layout-error")
    assert finding.layer == "second"
    assert "the first module that does is second (Corrupting)" in finding.message
    layout = next(p for p in found.layers["second.weight"].parity if p.pair == "layout")
    assert not layout.passed


def test_a_flip_in_the_middle_is_named_with_its_cost() -> None:
    """The module that breaks the chain is named, and the one that permutes back."""
    found = smoked(Flipping, SHAPE)
    assert found.smoke.status == "passed"
    breaks, returns = found.smoke.flips
    moved = 2 * 8 * 6**3 * 2
    assert (breaks.module, breaks.kind, breaks.cause) == ("flip", "Contiguous", None)
    assert (breaks.output_memory_format, breaks.bytes) == ("contiguous_format", moved)
    assert (returns.module, returns.cause, returns.bytes) == ("second", "flip", moved)
    assert found.smoke.permutations is not None
    assert (found.smoke.permutations.number, found.smoke.permutations.best_number) == (3, 1)
    (finding,) = told(found, "layout-broken")
    assert finding.layer == "flip"


def test_a_corrupting_layout_is_found_where_fp16_is_broken_as_well() -> None:
    """If fp16 breaks the model, the layout is judged in fp32."""

    class Both(LargeVariance):
        """Both faults at once."""

        def __init__(self) -> None:
            super().__init__()
            self.second = Corrupting(8, 8, 3, padding=1)

    found = smoked(Both, SHAPE)
    assert found.smoke.status == "failed"
    assert {"layout", "dtype"} <= {fault.blame for fault in found.faults}
    (parity,) = (p for p in found.smoke.parity if p.pair == "layout_float32")
    assert not parity.passed


def test_a_model_that_does_not_run_is_skipped_with_the_reason() -> None:
    """A model that raises in any precision is skipped, and the conversion is not to blame."""

    class Raising(Sound):
        """Raises in any precision."""

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            raise ValueError("no such mode")

    found = smoked(Raising, SHAPE)
    assert found.smoke.status == "skipped"
    assert "no such mode" in str(found.smoke.reason)
    assert verdict(found) == "passed_with_findings"


def test_only_a_channels_last_input_at_fault_does_not_fail() -> None:
    """A model that fails only on a channels-last input gets a warning."""

    class Picky(Sound):
        """Views its input."""

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            return super().forward(x.view(x.size(0), -1).view(x.shape))

    found = smoked(Picky, SHAPE)
    assert verdict(found) == "passed_with_findings"
    assert told(found, "channels-last-input")


def test_memory_that_runs_out_makes_the_input_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """If memory runs out, the input gets smaller, and the report says so."""

    class Hungry(Sound):
        """Has room only for small inputs."""

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            if x.shape[2] > 3:
                raise RuntimeError("CUDA out of memory, or nearly")
            return super().forward(x)

    found = smoked(Hungry, SHAPE)
    assert (found.smoke.status, found.halvings) == ("passed", 1)
    assert found.smoke.input_shape == [2, 3, 3, 3, 3]
    assert told(found, "smoke-shrunk")


def test_a_model_that_mixes_its_samples_is_run_with_one() -> None:
    """A model whose outputs depend on the whole batch is not blamed for it."""

    class Mixing(Sound):
        """Subtracts the mean over the samples."""

        def forward(self, x: Tensor) -> Tensor:
            """Run."""
            x = super().forward(x)
            return x - x.mean(0, keepdim=True) / 2

    found = smoked(Mixing, SHAPE)
    assert (found.smoke.status, found.faults) == ("passed", [])
