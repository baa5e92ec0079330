from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from convlast.addressed import fetched
from convlast.conversion import Source
from convlast.errors import LimitExceededError, MalformedCheckpointError, SourceNotFoundError
from convlast.options import Limits
from tests.convlast.folders import building


def test_a_path_is_here_already(checkpoint: Path) -> None:
    """Nothing is copied, and the verbs get the path itself."""
    with fetched(checkpoint) as found:
        assert found.path == checkpoint
        assert found.as_source() == checkpoint


def test_a_file_is_fetched_with_its_name_and_its_digest(checkpoint: Path, temporary: Path) -> None:
    """Its copy is the same file, and its digest need not be computed again."""
    content = checkpoint.read_bytes()
    with fetched(checkpoint.as_uri()) as found:
        assert found.path.is_relative_to(temporary)
        assert (found.path.name, found.path.read_bytes()) == ("model.pt", content)
        source = found.as_source()
        assert isinstance(source, Source)
        assert source.known_sha256 == hashlib.sha256(content).hexdigest()


def test_a_prefix_is_fetched_as_a_folder(store: Path) -> None:
    """All files under it are there, under its name, and progress tells of all their bytes."""
    given = building.model_folder(store / "vae")
    told: list[tuple[str, int, int]] = []
    with fetched(f"{given.as_uri()}/", progress=lambda *each: told.append(each)) as found:
        assert found.path.name == "vae"
        assert building.files_in(found.path) == building.files_in(given)
    total = sum(path.stat().st_size for path in given.rglob("*") if path.is_file())
    assert told[0] == ("download", 0, total)
    assert told[-1] == ("download", total, total)


def test_something_can_be_done_meanwhile(checkpoint: Path) -> None:
    """What takes time anyway is done while the bytes arrive."""
    done: list[str] = []
    with fetched(checkpoint.as_uri(), meanwhile=lambda: done.append("it")):
        assert done == ["it"]


def test_nothing_under_a_prefix_is_an_error(store: Path) -> None:
    """An empty folder is no model folder."""
    with pytest.raises(SourceNotFoundError, match="no file under"), fetched(f"{store.as_uri()}/"):
        pass


def test_names_are_refused_that_no_folder_can_have_everywhere(store: Path) -> None:
    """Two names that a file system takes for one would replace each other."""
    for name in ("a.pt", "A.pt"):
        (store / name).write_bytes(b"1")
    with pytest.raises(MalformedCheckpointError, match="case"), fetched(f"{store.as_uri()}/"):
        pass


def test_a_folder_may_have_only_so_many_files(store: Path) -> None:
    """A bucket with millions of objects is not fetched by mistake."""
    for number in range(3):
        (store / f"{number}.pt").write_bytes(b"1")
    with (
        pytest.raises(LimitExceededError, match="max_files"),
        fetched(f"{store.as_uri()}/", limits=Limits(max_files=2)),
    ):
        pass
