"""When traces are recorded, and what is imported for them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.telemetry import collecting
from service.telemetry.traces import Traces

ROOT = Path(__file__).parents[3]
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COLLECTOR = {ENDPOINT: "http://127.0.0.1:9"}


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {ENDPOINT: ""},
        {**COLLECTOR, "OTEL_SDK_DISABLED": "TRUE"},
        {**COLLECTOR, "OTEL_TRACES_EXPORTER": "none"},
    ],
)
def test_nothing_is_recorded_unless_an_endpoint_is_set(environment: dict[str, str]) -> None:
    """Nothing is said about it either."""
    with capture_logs() as log:
        assert type(collecting.from_environment(environment)) is Traces
    assert log == []


@pytest.mark.parametrize(
    ("environment", "problem"),
    [
        ({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER must be otlp or none."),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "Only the protocol http/protobuf is spoken."),
    ],
)
def test_what_cannot_be_followed_is_a_warning(environment: dict[str, str], problem: str) -> None:
    """The service starts without traces, and says why."""
    with capture_logs() as log:
        assert type(collecting.from_environment({**COLLECTOR, **environment})) is Traces
    assert [(line["log_level"], line["problem"]) for line in log] == [("warning", problem)]


def test_without_the_extra_the_service_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint that a whole cluster sets does not keep it from starting."""
    monkeypatch.setattr(collecting, "_MODULES", ("opentelemetry.nowhere.sdk",))
    with capture_logs() as log:
        assert type(collecting.from_environment(COLLECTOR)) is Traces
    assert "extra otel" in log[0]["problem"]


def test_a_bad_variable_of_the_sdk_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its error may hold a key."""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "-1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=secret")
    with capture_logs() as log:
        assert type(collecting.from_environment(COLLECTOR)) is Traces
    assert [line["event"] for line in log] == ["no traces are sent"]
    assert "secret" not in str(log)


@pytest.mark.parametrize("variables", [{}, {**COLLECTOR, "OTEL_SDK_DISABLED": "true"}])
def test_without_an_endpoint_the_sdk_is_not_imported(variables: dict[str, str]) -> None:
    """It costs memory and time."""
    program = (
        "import os, sys; from service import app; from service.telemetry import collecting; "
        "collecting.from_environment(os.environ); print('opentelemetry.sdk' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PATH": "", **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
