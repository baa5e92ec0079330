"""Whether traces are sent to a collector, as OpenTelemetry's own variables ask for.

OpenTelemetry's SDK is imported only if an endpoint is set, see `service.telemetry.spans`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from importlib.util import find_spec

import structlog

from service.telemetry.traces import Traces

_DISABLED = "OTEL_SDK_DISABLED"
_EXPORTER = "OTEL_TRACES_EXPORTER"
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_PROTOCOL = "http/protobuf"
_MODULES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_log = structlog.get_logger()


def from_environment(environment: Mapping[str, str]) -> Traces:
    """Return the traces that OpenTelemetry's own variables ask for.

    A collector is never needed: if the variables cannot be followed, a warning says why, and the
    service starts without traces.

    Args:
        environment: The variables. The SDK reads the rest of them from the process's environment,
            which therefore must still be whole.
    """
    if _is_off(environment):
        return Traces()
    protocol = _first(environment, _PROTOCOLS) or _PROTOCOL
    exporter = environment.get(_EXPORTER) or "otlp"
    if exporter != "otlp":
        return _without(f"{_EXPORTER} must be otlp or none.")
    if protocol != _PROTOCOL:
        return _without(f"Only the protocol {_PROTOCOL} is spoken.")
    if not is_installed():
        return _without("The packages of the extra otel are not installed.")
    from service.telemetry import spans

    try:
        return spans.exported()
    except Exception as error:
        # The text of a foreign error may quote a variable, which may hold a key.
        return _without(f"OpenTelemetry refuses its variables: {type(error).__name__}.")


def _is_off(environment: Mapping[str, str]) -> bool:
    is_disabled = environment.get(_DISABLED, "").strip().lower() == "true"
    return (
        is_disabled or environment.get(_EXPORTER) == "none" or not _first(environment, _ENDPOINTS)
    )


def _first(environment: Mapping[str, str], names: Collection[str]) -> str | None:
    """Return the first of these variables that is not empty."""
    return next((value for name in names if (value := environment.get(name, "").strip())), None)


def is_installed() -> bool:
    """Return whether the packages of the extra `otel` are there."""
    try:
        return all(find_spec(module) is not None for module in _MODULES)
    except ModuleNotFoundError:
        return False


def _without(problem: str) -> Traces:
    _log.warning("no traces are sent", problem=problem)
    return Traces()
