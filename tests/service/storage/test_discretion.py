"""What clients hear of the service's own store, and what its operator hears."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from structlog.testing import capture_logs

from convlast.errors import Reason, StoreError
from convlast.stores.address import Address
from convlast.stores.refusals import changed, not_found, unavailable
from service.problems import Problem
from service.storage import bucket as bucket_module
from service.storage.bucket import Bucket
from service.storage.discretion import as_own_store

ADDRESS = Address.parse("s3://hidden-bucket/hidden-prefix/jobs/ab/input")
ERRORS = [
    not_found(ADDRESS),
    changed(ADDRESS),
    *(unavailable(ADDRESS, reason) for reason in get_args(Reason)),
    unavailable(ADDRESS, "failing", 503),
]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_clients_do_not_hear_where_it_is(error: StoreError) -> None:
    """Neither in the text, nor in a member of the problem; its kind and its reason stay."""
    with pytest.raises(type(error)) as told, as_own_store():
        raise error
    body = Problem.of(told.value).body()
    assert "hidden" not in str(body)
    assert "ervice's store" in body["detail"]
    assert body["address"] == "the service's store"


def test_the_operator_hears_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure is logged with the address; what is not there is no failure."""

    async def is_away(address: Address, *_: object) -> None:
        raise unavailable(address, "away")

    own = Bucket(Address.parse(f"file://{tmp_path}/own/"))
    with capture_logs() as lines:
        assert own.read("none") is None
        monkeypatch.setattr(bucket_module, "listing", is_away)
        with pytest.raises(StoreError, match=r"^The service's store does not answer"):
            own.listed("jobs")
    assert [line["address"] for line in lines] == [f"file://{tmp_path}/own/jobs"]
