from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

import service.errors
from convlast.errors import ConvlastError, ProvenanceError, UnsafeCheckpointError
from service.problems import MEDIA_TYPE, TABLE, Problem

# Base classes, and the error with which the client reports the code of a service.
WITHOUT_A_CODE = {
    "RemoteError",
    "ConvlastError",
    "CheckpointError",
    "ArchitectureError",
    "DeviceError",
    "StoreError",
    "ServiceError",
}


def kinds(base: type[ConvlastError]) -> Iterator[type[ConvlastError]]:
    """Yield every class of the tree below `base`; the service makes statements, checks none."""
    for kind in base.__subclasses__():
        if kind is ProvenanceError:
            continue
        yield kind
        yield from kinds(kind)


def test_every_error_has_a_row() -> None:
    """Each class of the tree has its own code, with a row in the table."""
    assert service.errors.__doc__
    for kind in kinds(ConvlastError):
        if kind.__name__ not in WITHOUT_A_CODE:
            assert "code" in vars(kind), kind
            assert kind.code in TABLE, kind


def test_every_row_has_an_error() -> None:
    """Each row of the table has a class with its code."""
    assert set(TABLE) == {kind.code for kind in kinds(ConvlastError)}


def test_rows_that_ask_for_patience_say_how_long() -> None:
    """Statuses 429, 502 and 503 always have Retry-After."""
    for code, row in TABLE.items():
        header = Problem(code, row.example).response().headers.get("retry-after")
        assert (header is not None) == (row.status in (429, 502, 503)), code


def test_details_are_members_and_cannot_replace_the_fixed_ones() -> None:
    """An error's details are members, but cannot replace `code` or another fixed one."""
    error = UnsafeCheckpointError("It asks for os.system.", names=["os.system"], remedy="Do not.")
    error.details["status"] = 200
    response = Problem.of(error).response()
    body = json.loads(bytes(response.body))
    assert response.media_type == MEDIA_TYPE
    assert response.status_code == body["status"] == 422
    assert body["code"] == "unsafe-checkpoint"
    assert body["names"] == ["os.system"]
    assert body["detail"] == "It asks for os.system. Do not."


def test_a_report_is_a_member() -> None:
    """The JSON text of a report becomes a member unchanged."""
    problem = Problem("verification-failed", "It failed.", report='{"verdict": "failed"}')
    assert json.loads(bytes(problem.response().body))["report"] == {"verdict": "failed"}


@pytest.mark.parametrize(
    "error", [ConvlastError("a secret"), service.errors.InternalError("secret")]
)
def test_internal_errors_keep_their_text(error: ConvlastError) -> None:
    """The text of an internal error is not sent to the client."""
    assert b"secret" not in bytes(Problem.of(error).response().body)
