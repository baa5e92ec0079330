from __future__ import annotations

import pytest

from convlast.options import Options
from convlast.report import (
    Environment,
    Finding,
    InputFile,
    Layer,
    LayerSmoke,
    Parity,
    Proof,
    Range,
    Report,
    Smoke,
    Survival,
    Timing,
)
from convlast.report.rendering import claims, html, summary

PROOF = Proof(tensors=1, values="identical", strides="exact", structure="identical")
KEPT = Survival(route="kept()", survives=True, message="")
LOST = Survival(route="lost()", survives=False, message="")
NEVER = Survival(route="never()", survives=False, always_lost=True, message="")
UNTRIED = Survival(route="untried()", survives=None, message="")
SMOKE = Smoke(scope="model", dtype="float16", device="cuda:0", status="passed")
TIMING = Timing(contiguous_s=0.4, converted_s=0.2, speedup=2.0, spread=0.05, representative=True)


def report_of(**parts: object) -> Report:
    """Build a report from these parts."""
    return Report(
        verdict="passed",
        input=InputFile(filename="a.pt", sha256="0" * 64, bytes=1, container="torch"),
        options=Options(),
        environment=Environment(
            convlast="0", python="3", torch="2", device="cpu", platform="Linux"
        ),
        layers=[],
    ).model_copy(update=parts)


def layer_of(smoke: LayerSmoke | None = None) -> Layer:
    """Build a layer."""
    return Layer(
        name="conv.weight",
        kind="Conv3d",
        evidence="",
        shape=[1, 1, 1, 1, 1],
        dtype="float32",
        stride_before=[1] * 5,
        stride_after=[1] * 5,
        status="converted",
        bytes=4,
        smoke=smoke,
    )


@pytest.mark.parametrize(
    ("parts", "states"),
    [
        ({}, ["unknown", "unknown", "unknown", "unknown"]),
        ({"survival": [KEPT, NEVER]}, ["unknown", "good", "unknown", "unknown"]),
        ({"survival": [NEVER]}, ["unknown"] * 4),
        (
            {
                "proof": PROOF,
                "survival": [KEPT, UNTRIED],
                "smoke": SMOKE.model_copy(update={"timing": TIMING}),
            },
            ["good", "good", "good", "good"],
        ),
        (
            {
                "proof": PROOF.model_copy(update={"values": "cast"}),
                "survival": [KEPT, LOST],
                "smoke": SMOKE.model_copy(
                    update={
                        "status": "passed_with_findings",
                        "timing": TIMING.model_copy(update={"speedup": 0.9}),
                    }
                ),
            },
            ["good", "caution", "caution", "caution"],
        ),
        (
            {
                "proof": PROOF.model_copy(update={"strides": "wrong"}),
                "survival": [LOST],
                "smoke": SMOKE.model_copy(
                    update={
                        "status": "failed",
                        "timing": TIMING.model_copy(update={"representative": False}),
                    }
                ),
            },
            ["bad", "bad", "bad", "unknown"],
        ),
        (
            {
                "proof": PROOF.model_copy(update={"values": "different"}),
                "survival": [UNTRIED],
                "smoke": SMOKE.model_copy(update={"status": "skipped"}),
            },
            ["bad", "unknown", "unknown", "unknown"],
        ),
        (
            {"proof": PROOF.model_copy(update={"structure": "different"})},
            ["bad", "unknown", "unknown", "unknown"],
        ),
    ],
)
def test_claims_stand_as_far_as_they_are_proved(
    parts: dict[str, object], states: list[str]
) -> None:
    """Nothing is claimed that was not checked, and nothing broken is called good."""
    assert [claim.state for claim in claims.of_report(report_of(**parts))] == states


def test_claims_name_what_breaks_the_layout_and_how_far_fp16_is_off() -> None:
    """The texts have the lost route, the errors with their thresholds, and the times."""
    parity = Parity(
        pair="layout",
        max_abs=0.5,
        mean_abs=0.1,
        relative=0.25,
        cosine=0.9,
        threshold=1e-3,
        passed=False,
    )
    smoke = SMOKE.model_copy(update={"parity": [parity], "timing": TIMING})
    _, survival, run, speed = claims.of_report(report_of(survival=[KEPT, LOST], smoke=smoke))

    assert survival.text == "1 of 2 ways of loading keep the layout. Lost by: lost()."
    assert run.text == ("The whole model, on cuda:0. Error of the layout: 0.25 (at most 0.001).")
    assert speed.text == ("2.00 times as fast (± 0.05): 400.0 ms contiguous, 200.0 ms converted.")


def test_the_largest_input_of_the_layers_is_named() -> None:
    """If each layer was run alone, the claim says up to which shape; a whole model has its own."""
    smokes = [
        LayerSmoke(status="passed", input_shape=shape)
        for shape in ([1, 9, 8, 8, 8], [1, 2, 9, 9, 9])
    ]
    layers = [layer_of(smoke) for smoke in smokes]
    alone = SMOKE.model_copy(update={"scope": "layers"})
    whole = SMOKE.model_copy(update={"input_shape": [2, 3, 4, 5, 6]})

    texts = [
        claims.of_report(report_of(smoke=each, layers=layers))[2].text for each in (alone, whole)
    ]

    assert texts == [
        "Each convolution alone, inputs up to 1×9×8×8×8, on cuda:0.",
        "The whole model on 2×3×4×5×6, on cuda:0.",
    ]


def test_the_outcome_counts_layers_and_says_what_was_not_written() -> None:
    """The sentence after the verdict has the layers by status, and the time of all stages."""
    layers = [layer_of(), layer_of().model_copy(update={"status": "skipped"})]
    report = report_of(layers=layers, proof=PROOF, seconds={"read": 0.5, "smoke": 1.0})

    assert summary.outcome(report) == (
        "a.pt, 2 layers (1 converted, 1 skipped), nothing was written, in 1.50 s."
    )
    assert summary.outcome(report_of()) == "a.pt, no convolution weight."


def test_the_page_and_the_long_report_say_where_they_come_from() -> None:
    """Time, job, request and trace lead to the log; a report without them says nothing."""
    ids = {
        "made_at": "2026-01-31T23:59:59Z",
        "job_id": "ab12",
        "request_id": "cd34",
        "trace_id": "ef56",
    }
    said = "2026-01-31T23:59:59Z · job ab12 · request cd34 · trace ef56"

    assert summary.origin(report_of()) == ""
    assert summary.origin(report_of(**ids)) == said
    assert said in html.render(report_of(**ids))


@pytest.mark.parametrize(
    ("headroom", "share", "near"),
    [(None, 0.0, False), (1e6, 0.009, False), (3.9, 0.0, True), (1e6, 0.011, True)],
)
def test_only_what_is_near_a_limit_is_told(headroom: float, share: float, near: bool) -> None:
    """A million times the room, or one value of a thousand that vanishes, is no news."""
    found = Range(
        name="a",
        absmax=1.0,
        numel=1000,
        overflow=0,
        underflow=int(share * 1000),
        headroom=headroom,
        underflow_share=share,
    )
    assert summary.is_near_limit(found) is near


def test_value_beyond_fp16_is_no_clean_run() -> None:
    """A running variance beyond fp16 is reported even if each convolution passes alone."""
    wide = Range(name="norm.running_var", absmax=4.1e6, numel=15, overflow=11, underflow=0)
    small = Range(name="conv.weight", absmax=0.1, numel=15, overflow=0, underflow=2)
    claim = claims.of_report(report_of(smoke=SMOKE.model_copy(update={"range": [wide, small]})))[2]

    assert claim.state == "caution"
    assert claim.text.endswith("Beyond the range of fp16: 1 tensor.")


def test_finding_names_its_layer_once() -> None:
    """A layer that the message names is not named before it again."""
    said = Finding(code="c", severity="info", layer="a.weight", message="a.weight: broken.")
    unsaid = Finding(code="c", severity="info", layer="a.weight", message="Broken.")

    assert summary.subject_of(said) is None
    assert summary.subject_of(unsaid) == "a.weight"
