from __future__ import annotations

from pathlib import Path

import pytest

from convlast.addressed.background import Background
from convlast.addressed.places import place_in, refuse_taken, refuse_within
from convlast.errors import OptionError
from convlast.stores.address import Address

BUCKET = Address.parse("s3://bucket/")


def test_a_file_goes_where_it_is_told() -> None:
    """A folder gives it its own name; a file is its place."""
    named = Address.parse("s3://bucket/made/x.pt")
    assert place_in(named, "m.pt", is_folder=False) == named
    assert place_in(BUCKET, "m.pt", is_folder=False).text == "s3://bucket/m.pt"


def test_a_model_folder_is_not_all_of_a_bucket() -> None:
    """Nothing could be put beside it."""
    with pytest.raises(OptionError, match="all of a bucket") as caught:
        place_in(BUCKET, "vae", is_folder=True)
    assert "s3://bucket/vae/" in caught.value.remedy


@pytest.mark.parametrize(
    ("place", "source"),
    [
        ("s3://bucket/m.pt", "s3://bucket/m.pt"),
        ("s3://bucket/vae/made/", "s3://bucket/vae/"),
        ("s3://bucket/made/", "s3://bucket/"),
    ],
)
def test_the_input_is_never_replaced(place: str, source: str) -> None:
    """An artifact is neither the input, nor in it."""
    with pytest.raises(OptionError, match="the input"):
        refuse_within(Address.parse(place), source)


def test_a_file_of_this_machine_is_known_by_both_of_its_names(tmp_path: Path) -> None:
    """A path and an address with file:// may mean the same file."""
    path = tmp_path / "my model.pt"
    with pytest.raises(OptionError, match="the input"):
        refuse_within(Address.parse(path.as_uri()), str(path))
    refuse_within(Address.parse((tmp_path / "other.pt").as_uri()), str(path))


def test_what_is_there_is_named(store: Path, checkpoint: Path) -> None:
    """A file that is there, and a folder with something in it, are refused; others are free."""
    with Background() as background:
        for taken in (checkpoint.as_uri(), f"{store.as_uri()}/"):
            with pytest.raises(OptionError, match="there already"):
                background.run(refuse_taken(Address.parse(taken)))
        for free in (f"{store.as_uri()}/other.pt", f"{store.as_uri()}/empty/"):
            background.run(refuse_taken(Address.parse(free)))
