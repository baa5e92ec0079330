"""Which kernels belong to which convolution: marks of a real forward, kernels put in by hand."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.profiler import record_function

from convlast.report.smoke import Flip, Smoke
from convlast.smoke.model import dispatch, measuring
from convlast.smoke.model.dispatch import FORWARD, Mark, Marker, profile, read
from convlast.smoke.model.measuring import look_at_kernels
from convlast.smoke.model.specimen import Specimen, Way
from convlast.smoke.model.trace import Permutation, Trace
from tests.subjects import CPU, converted_of, subject_of

NHWC = "sm80_xmma_nhwckrsc_nhwc"
SHAPE = (4, 6, 8, 8)
LAST, FIRST = "channels_last_3d", "contiguous_format"


class Mixed(nn.Module):
    """A 2-D convolution between two 3-D ones, and copies of either kind."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv3d(4, 8, 3, padding=1)
        self.flat = nn.Conv2d(8, 8, 3, padding=1)
        self.b = nn.Conv3d(8, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Run."""
        x = self.a(x)
        n, c, d, h, w = x.shape
        x = self.flat(x.transpose(1, 2).reshape(n * d, c, h, w))
        x = x.reshape(n, d, c, h, w).transpose(1, 2).contiguous()
        x = x.clone()
        x = x.to(memory_format=torch.channels_last_3d)
        return self.b(x.contiguous())  # type: ignore[no-any-return]


@dataclass
class Event:
    """One event, as the profiler has it; times are in microseconds."""

    name: str
    kernels: list[Any] = field(default_factory=list)
    cpu_children: list[Event] = field(default_factory=list)
    start: float = 0.0
    elapsed: float = 0.0
    device_type: str = "DeviceType.CPU"
    is_user_annotation: bool = False

    @property
    def time_range(self) -> Any:
        """When it ran."""
        return SimpleNamespace(start=self.start, elapsed_us=lambda: self.elapsed)


def on_device(elapsed: float, start: float = 10.0, *, is_mark: bool = False) -> Event:
    """Return what the device did."""
    return Event("a kernel", [], [], start, elapsed, "DeviceType.CUDA", is_mark)


def marked(number: int, *operators: str, kernel: str = NHWC) -> Event:
    """Return a mark with operators in it, the last of which launched one kernel of 10 µs."""
    event = Event(operators[-1], [SimpleNamespace(name=kernel, duration=10.0)])
    for name in reversed(operators[:-1]):
        event = Event(name, cpu_children=[event])
    return Event(f"convlast operator {number}", cpu_children=[event])


CUDNN = ("aten::convolution", "aten::_convolution", "aten::cudnn_convolution")


def test_marks_name_each_3d_convolution_and_each_copy_that_permutes() -> None:
    """A 2-D convolution has none, a clone in the same order has none, and names are the layers'."""
    specimen = Specimen(subject_of(Mixed, SHAPE), {}, CPU)
    marker = Marker(specimen.module, takes_hooks=True, weights="contiguous")
    with marker:
        specimen.call(specimen.inputs(Way(2)), Way(2))
    marks = [mark for _, mark in sorted(marker.marks.items())]
    assert [mark.layer for mark in marks] == ["a", None, None, "b"]


def test_a_converted_convolution_is_known_by_its_output() -> None:
    """A convolution that stays contiguous in the same model is not taken for a converted one."""
    subject = subject_of(Mixed, SHAPE)
    specimen = Specimen(subject, converted_of(subject), CPU)
    specimen.lay_out(["a.weight"])
    marker = Marker(specimen.module, takes_hooks=True, weights="converted")
    with marker:
        specimen.call(specimen.inputs(Way(2)), Way(2))
    found = {mark.layer: mark.is_channels_last for mark in marker.marks.values() if mark.layer}
    assert found == {"a": True, "b": False}


def test_convolutions_of_a_program_are_named_by_their_weights() -> None:
    """A program takes no hooks, so the weight shows which module a convolution belongs to."""

    def make() -> nn.Module:
        return nn.Sequential(nn.Conv3d(4, 8, 3), nn.AvgPool3d(2), nn.Conv3d(8, 8, 1)).eval()

    def script() -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates it, and files of it are there
            return cast(nn.Module, torch.jit.script(make()))

    program = replace(subject_of(make, SHAPE), make_module=script, takes_hooks=False)
    specimen = Specimen(program, {}, CPU)
    marker = Marker(specimen.module, takes_hooks=False, weights="contiguous")
    with marker:
        specimen.call(specimen.inputs(Way(2)), Way(2))
    assert [mark.layer for _, mark in sorted(marker.marks.items())] == ["0", "2"]


def test_the_profiler_sees_the_operators_within_their_marks() -> None:
    """In PyTorch's own profile each mark contains the convolution that it was put around."""
    specimen = Specimen(subject_of(Mixed, SHAPE), {}, CPU)
    marker = Marker(specimen.module, takes_hooks=True, weights="contiguous")
    with torch.profiler.profile(acc_events=True) as profiler, record_function(FORWARD), marker:
        specimen.call(specimen.inputs(Way(2)), Way(2))
    events = {event.name: event for event in profiler.events() or ()}
    assert FORWARD in events
    for number, mark in marker.marks.items():
        inside = {event.name for event in events[f"convlast operator {number}"].cpu_children}
        assert inside & ({"aten::convolution"} if mark.layer else {"aten::clone", "aten::_to_copy"})


def test_kernels_belong_to_the_convolution_in_whose_mark_they_ran() -> None:
    """The kernels of a 2-D convolution between two 3-D ones belong to neither."""
    events = [
        Event(FORWARD),
        marked(1, *CUDNN, kernel="first_nhwc"),
        marked(2, *CUDNN, kernel="of_two_dimensions"),
        marked(3, *CUDNN, kernel="last_nhwc"),
        on_device(100.0),
    ]
    found = read(events, {3: Mark("b", True), 1: Mark("a", True)}, "converted")
    assert [(d.layer, d.kernels, d.route) for d in found.dispatches] == [
        ("a", ["first_nhwc"], "cudnn-ndhwc"),
        ("b", ["last_nhwc"], "cudnn-ndhwc"),
    ]
    assert found.reason is None


def test_the_longest_kernel_stands_first_and_times_are_added_up() -> None:
    """A kernel that ran twice is named once."""
    mark = marked(1, *CUDNN, kernel="short")
    mark.cpu_children += [
        Event("aten::one", [SimpleNamespace(name="long_nhwc", duration=30.0)]),
        Event("aten::two", [SimpleNamespace(name="short", duration=10.0)]),
    ]
    found = read([Event(FORWARD), mark, on_device(50.0)], {1: Mark("conv")}, "contiguous")
    assert found.dispatches[0].kernels == ["long_nhwc", "short"]
    assert found.dispatches[0].seconds == pytest.approx(50e-6)


def test_what_hangs_on_the_runtimes_own_events_is_not_counted() -> None:
    """Kernels of `cudaLaunchKernel` are ignored: they are repeated, or another operator's."""
    mark = marked(1, *CUDNN)
    launch = Event("cudaLaunchKernel", [SimpleNamespace(name="foreign", duration=99.0)])
    mark.cpu_children[0].cpu_children.append(launch)
    found = read([Event(FORWARD), mark, on_device(10.0)], {1: Mark("conv")}, "contiguous")
    assert found.dispatches[0].seconds == pytest.approx(10e-6)


def test_the_total_is_the_devices_own_without_marks_and_what_ran_before() -> None:
    """Marks on the device, and small kernels before the forward, do not count as its time."""
    events = [
        Event(FORWARD, start=5.0),
        marked(1, "aten::clone", "aten::copy_"),
        on_device(40.0),
        on_device(500.0, is_mark=True),
        on_device(700.0, start=1.0),
    ]
    found = read(events, {1: Mark()}, "converted")
    assert found.permuting is not None
    assert found.permuting.share == pytest.approx(0.25)


def test_cudnns_own_permuting_and_pytorchs_inside_a_convolution_are_added_up() -> None:
    """Permuting kernels are recognised by their names, and by the operator that copies."""
    events = [
        Event(FORWARD),
        marked(1, *CUDNN, kernel="void cudnn::ops::nchwToNhwcKernel<half>"),
        marked(2, *CUDNN, "aten::contiguous", "aten::copy_", kernel="elementwise_kernel"),
        marked(3, *CUDNN),
        on_device(40.0),
    ]
    marks = {number: Mark(f"conv{number}") for number in (1, 2, 3)}
    found = read(events, marks, "contiguous").permuting
    assert found is not None
    assert found.number == 2
    assert found.share == pytest.approx(0.5)


def test_nothing_is_told_where_the_profiler_lost_an_operator() -> None:
    """If marks are lost, no kernels are reported rather than those of another layer."""
    found = read(
        [Event(FORWARD), marked(1, *CUDNN), on_device(9.0)],
        {1: Mark("a"), 2: Mark("b")},
        "converted",
    )
    assert (found.dispatches, found.permuting) == ([], None)
    assert found.reason == "PyTorch's profiler lost 1 of 2 operators."


def test_a_profiler_that_sees_no_kernels_is_not_reported_as_seen() -> None:
    """Without kernels, as on a CPU or in a container that hides the GPU's counters, it says so."""
    specimen = Specimen(subject_of(Mixed, SHAPE), {}, CPU)
    found = profile(specimen, Way(2), "contiguous")
    assert (found.dispatches, found.permuting) == ([], None)
    assert found.reason == "PyTorch's profiler saw no kernels."


def test_small_kernels_run_ahead_of_the_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small kernels run first, because the profiler loses the first ones of a session."""
    seen: list[Any] = []
    monkeypatch.setattr(dispatch, "read", lambda events, *_: seen.extend(events))
    profile(Specimen(subject_of(Mixed, SHAPE), {}, CPU), Way(2), "contiguous")
    (forward,) = (event for event in seen if event.name == FORWARD)
    ahead = [
        e for e in seen if e.name == "aten::zeros" and e.time_range.start < forward.time_range.start
    ]
    assert len(ahead) == dispatch.LOST == 64


def blind() -> dispatch.Profile:
    """See nothing."""
    return dispatch.Profile(reason="PyTorch's profiler saw no kernels.")


def refused() -> dispatch.Profile:
    """Be refused."""
    raise RuntimeError("CUPTI_ERROR_INSUFFICIENT_PRIVILEGES")


@pytest.mark.parametrize(
    ("see", "reason"),
    [
        (blind, "PyTorch's profiler saw no kernels."),
        (refused, "PyTorch's profiler failed: RuntimeError: CUPTI_ERROR_INSUFFICIENT_PRIVILEGES"),
    ],
)
def test_the_report_says_why_no_kernels_are_told(
    monkeypatch: pytest.MonkeyPatch, see: Callable[[], dispatch.Profile], reason: str
) -> None:
    """The report says why there are no kernels, if the profiler sees none or may not be used."""
    monkeypatch.setattr(measuring, "profile", lambda *_: see())
    subject = subject_of(Mixed, SHAPE)
    smoke = Smoke(scope="model", dtype="float16", device="cuda:0", status="passed")
    look_at_kernels(partial(Specimen, subject, converted_of(subject), CPU), 2, smoke)
    assert (smoke.dispatch, smoke.layout_kernels) == ([], [])
    assert smoke.dispatch_reason == reason


def test_each_permutation_has_the_time_of_its_kernels() -> None:
    """Of a convolution only the kernels that permute count; both runs of an operator are added."""
    back = Permutation("conv", "aten::convolution", FIRST, LAST)
    copied = Permutation("net", "aten::clone", LAST, FIRST)
    permuting = marked(1, *CUDNN, kernel="void cudnn::ops::nchwToNhwcKernel<half>")
    permuting.cpu_children += marked(1, *CUDNN).cpu_children
    copies = [marked(number, "aten::clone", "aten::copy_") for number in (2, 3)]
    found = read(
        [Event(FORWARD), permuting, *copies, marked(4, *CUDNN), on_device(90.0)],
        {
            1: Mark("conv", permutation=back),
            2: Mark(permutation=copied),
            3: Mark(permutation=copied),
            4: Mark("other", permutation=back._replace(module="other")),
        },
        "converted",
    )
    assert found.permuting_s == {back: pytest.approx(10e-6), copied: pytest.approx(20e-6)}


def test_a_flip_of_the_report_has_the_time_of_its_permutation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The profiler's marks and the trace name a permutation alike; without kernels it has none."""
    subject = subject_of(Mixed, SHAPE)
    make = partial(Specimen, subject, converted_of(subject), CPU)
    specimen, trace = make(), Trace()
    specimen.lay_out()
    specimen.run(Way(2, on_operation=trace.note_operation, on_turn=trace.note_turn))
    marker = Marker(specimen.module, takes_hooks=True, weights="converted")
    with marker:
        specimen.call(specimen.inputs(Way(2)), Way(2))
    times = {mark.permutation: 0.5 for mark in marker.marks.values() if mark.permutation}
    seen = dispatch.Profile(permuting_s=times)
    monkeypatch.setattr(measuring, "profile", lambda *_: seen)
    smoke = Smoke(scope="model", dtype="float16", device="cuda:0", status="passed")
    smoke.flips = [
        *trace.flips(),
        Flip(module="?", input_memory_format="", output_memory_format=""),
    ]
    look_at_kernels(make, 2, smoke)
    assert [flip.seconds for flip in smoke.flips] == [0.5] * len(trace.flips()) + [None]
    assert len(trace.flips()) >= 2


def test_operators_outside_the_convolutions_have_their_own_times() -> None:
    """Each operator that is no 3-D convolution is listed once, the one that took longest first."""
    events = [
        Event(FORWARD),
        marked(1, *CUDNN),
        marked(2, "aten::native_batch_norm", kernel="norm"),
        marked(3, "aten::add", kernel="sum"),
        marked(4, "aten::native_batch_norm", kernel="norm"),
        marked(5, *CUDNN, kernel="of_two_dimensions"),
        on_device(50.0),
    ]
    found = read(events, {1: Mark("conv")}, "converted")
    assert [(each.operator, each.number) for each in found.operators] == [
        ("aten::native_batch_norm", 2),
        ("aten::add", 1),
        ("aten::convolution", 1),
    ]
    assert found.operators[0].seconds == pytest.approx(20e-6)
    assert {each.weights for each in found.operators} == {"converted"}
