"""The chain of layouts, on the page and in the terminal."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from convlast.report import Report
from convlast.report.rendering import html, terminal
from convlast.report.rendering.chain import links_of
from convlast.report.smoke import (
    Activation,
    Choice,
    Dispatch,
    FirstWrong,
    KeptInFloat32,
    OperatorTime,
    Parity,
    Permutations,
    Smoke,
    Timing,
    TraceStep,
)

HERE = Path(__file__).parent
LAST, FIRST = "channels_last_3d", "contiguous_format"


def step(module: str, before: str, after: str, kind: str = "Conv3d") -> TraceStep:
    """Return one step."""
    return TraceStep(
        module=module, kind=kind, input_memory_format=before, output_memory_format=after,
        permutes=before != after,
    )  # fmt: skip


CHAIN = [
    step("stem", FIRST, LAST),
    step("norm", LAST, LAST, "BatchNorm3d"),
    step("act", LAST, LAST, "ReLU"),
    step("<b>pool</b>", LAST, FIRST, "AvgPool3d"),
    step("head", FIRST, LAST),
]
PERMUTATIONS = Permutations(number=3, bytes=3_000_000, best_number=1, best_bytes=1_000_000)


def report_with(smoke: Smoke) -> Report:
    """Return a recorded report with this smoke."""
    report = Report.model_validate_json((HERE / "report.json").read_text())
    return report.model_copy(update={"smoke": smoke})


def whole_smoke() -> Smoke:
    """Return a smoke that has something in every field."""
    parity = Parity(
        pair="kept_in_float32", samples=2, max_abs=0.1, mean_abs=0.01, relative=0.004,
        quantiles={"0.99": 0.002}, cosine=0.99999, threshold=0.02, passed=True,
    )  # fmt: skip
    ran = Dispatch(
        layer="stem", weights="converted", route="slow", kernels=["vol2col"], seconds=0.002
    )
    norm = OperatorTime(
        operator="aten::native_batch_norm", weights="converted", number=2, seconds=0.003
    )
    timing = Timing(
        contiguous_s=0.02, converted_s=0.01, speedup=2.0, spread=0.1, representative=True,
        stable=False, cudnn_benchmark=True, input_shape=[2, 1, 8, 8, 8], rounds=9,
        contiguous_peak_bytes=10_000, converted_peak_bytes=20_000,
    )  # fmt: skip
    activation = Activation(
        module="norm", kind="BatchNorm3d", absmax=70_000.0, headroom=0.9, overflow=3,
        underflow_share=0.25, relative=None,
    )  # fmt: skip
    return Smoke(
        scope="model", dtype="float16", device="cuda:0", status="passed_with_findings",
        model="nets.Net", origin="architecture option", entry="forward",
        input_shape=[2, 1, 8, 8, 8], parity=[parity], activations=[activation] * 30,
        first_wrong=FirstWrong(module="norm", kind="BatchNorm3d", message="off by 90%"),
        kept_in_float32=KeptInFloat32(modules=["norm"], parity=parity, helps=True),
        trace=CHAIN, permutations=PERMUTATIONS, dispatch=[ran], operators=[norm],
        timings=[timing], timing=timing,
        choice=Choice(chosen="some", layers=["stem"], seconds={}, speedup=1.2, spread=0.01),
    )  # fmt: skip


def test_a_chain_is_cut_where_it_permutes() -> None:
    """A chain is cut where it permutes; consecutive modules that keep the layout are one link."""
    links = links_of(CHAIN)
    assert [(link.layout, len(link.steps), link.permutes) for link in links] == [
        (LAST, 3, True),
        (FIRST, 1, True),
        (LAST, 1, True),
    ]
    assert links[0].rest == "and 2 more modules, to act"


def test_what_is_not_5_d_is_a_link_of_its_own() -> None:
    """A chain is cut where 5-D ends; a 5-D output without an order of its own starts a new link."""
    chain = [step("a", LAST, LAST), step("b", LAST, "4d"), step("c", "4d", "both")]
    assert [link.layout for link in links_of(chain)] == [LAST, "4d", "both"]


def test_the_page_has_every_part_of_the_smoke() -> None:
    """The page has parity, the chain, times, kernels and activations."""
    page = html.render(report_with(whole_smoke()))
    for words in (
        "The whole model in fp16",
        "fp16 with some modules in fp32, against fp32",
        "Keeping norm in fp32 helps.",
        "3 permutations of 3.0 MB in a forward; at best 1 of 1.0 MB.",
        "slow fallback",
        "aten::native_batch_norm",
        "2.00 ± 0.10",
        "unstable",
        "0.9 ×",
        "10 more modules close to a limit",
        "select=fastest converts some.",
    ):
        assert words in page, words
    assert page.count("<script") == 1


def test_the_terminal_draws_the_chain_in_lines() -> None:
    """The terminal shows a line for each link, with a mark if it permutes."""
    console = Console(width=80, file=None, record=True, color_system=None)
    with console.capture() as capture:
        console.print(terminal.render(report_with(whole_smoke()), verbose=True), crop=False)
    printed = capture.get()
    assert "The layout through the model" in printed
    assert "⇄ channels-last stem (Conv3d) and 2 more modules, to act" in printed
    assert "⇄ contiguous    <b>pool</b> (AvgPool3d)" in printed
