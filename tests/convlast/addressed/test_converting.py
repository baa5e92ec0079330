from __future__ import annotations

import hashlib
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import convlast
from convlast.addressed import convert, converting, delivering
from convlast.addressed.early import EarlyUpload
from convlast.conversion import file as file_conversion
from convlast.errors import (
    OptionError,
    SourceNotFoundError,
    StoreUnavailableError,
    VerificationError,
)
from convlast.options import Options
from convlast.progress import Progress
from convlast.proving.proof import Proven, prove
from convlast.report import Report
from convlast.report.reading import read
from convlast.stores.address import Address
from convlast.stores.opening import StoreOptions
from convlast.stores.writing import put
from tests.convlast.folders import building

QUIET = Options(smoke="none")
SMALL_PARTS = StoreOptions(part_bytes=1 << 16)
"""With these an upload begins before the artifact is whole."""

NAME = "model.channels_last_3d"
BESIDE = {f"{NAME}.report.html", f"{NAME}.report.json", f"{NAME}.sha256"}


def files_in(folder: Path) -> set[str]:
    """Return the names of all that is in a folder, what is being uploaded too."""
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def made(store: Path) -> Path:
    """The folder of the store into which artifacts go."""
    folder = store / "made"
    folder.mkdir()
    return folder


@pytest.fixture
def expected(checkpoint: Path, tmp_path: Path) -> bytes:
    """What a conversion of the same file on this machine makes."""
    convlast.convert(checkpoint, tmp_path / f"{NAME}.pt", QUIET)
    return (tmp_path / f"{NAME}.pt").read_bytes()


@pytest.mark.parametrize("stores", [None, SMALL_PARTS], ids=["at once", "in parts"])
def test_from_store_to_store(
    checkpoint: Path, made: Path, expected: bytes, stores: StoreOptions | None
) -> None:
    """The artifact is that of a conversion here, with its report and its digest beside it."""
    report = convert(checkpoint.as_uri(), f"{made.as_uri()}/", QUIET, stores=stores)
    assert files_in(made) == {f"{NAME}.pt", *BESIDE}
    assert (made / f"{NAME}.pt").read_bytes() == expected
    assert read((made / f"{NAME}.report.json").read_bytes()) == report
    assert report.artifact is not None
    assert report.artifact.sha256 == hashlib.sha256(expected).hexdigest()
    assert report.input.sha256 == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    subprocess.run(["sha256sum", "--check", f"{NAME}.sha256"], cwd=made, check=True)


def test_from_here_to_a_store_under_another_name(
    checkpoint: Path, made: Path, expected: bytes
) -> None:
    """A target without a slash is the file itself, and the names beside it follow."""
    convert(checkpoint, f"{made.as_uri()}/mine.pt", QUIET)
    beside = {name.replace(NAME, "mine") for name in BESIDE}
    assert files_in(made) == {"mine.pt", *beside}
    assert (made / "mine.pt").read_bytes() == expected


def test_from_a_store_to_here(checkpoint: Path, tmp_path: Path, expected: bytes) -> None:
    """On this machine there is the artifact alone, as ever."""
    (tmp_path / "here").mkdir()
    convert(checkpoint.as_uri(), tmp_path / "here", QUIET)
    assert files_in(tmp_path / "here") == {f"{NAME}.pt"}
    assert (tmp_path / "here" / f"{NAME}.pt").read_bytes() == expected


def test_a_model_folder(store: Path, made: Path, tmp_path: Path) -> None:
    """A prefix becomes a prefix, of the files that a folder of this machine becomes."""
    given = building.model_folder(store / "vae")
    report = convert(f"{given.as_uri()}/", f"{made.as_uri()}/vae", QUIET)
    convlast.convert(given, tmp_path / "here", QUIET)
    assert building.files_in(made / "vae") == building.files_in(tmp_path / "here")
    assert read((made / "vae.report.json").read_bytes()) == report
    subprocess.run(["sha256sum", "--check", "vae.sha256"], cwd=made, check=True)
    listed = (made / "vae.sha256").read_text().splitlines()
    assert len(listed) == len(building.files_in(made / "vae"))


def test_an_index_comes_after_its_shards(
    store: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the report after both: who sees it sees all."""
    order: list[str] = []

    async def noted(path: Path, address: Address, *arguments: Any, **keywords: Any) -> None:
        await put(path, address, *arguments, **keywords)
        order.append(address.name)

    monkeypatch.setattr(delivering, "put", noted)
    building.sharded(store / "vae")
    convert(f"{(store / 'vae').as_uri()}/", f"{made.as_uri()}/vae/", QUIET)
    assert order[-4:] == [
        *("m.safetensors.index.json", "vae.sha256", "vae.report.html", "vae.report.json")
    ]


def test_an_archive_of_a_model_folder_stays_one_file(store: Path, made: Path) -> None:
    """It is put as a file, with one digest."""
    archive = building.packed_zip(building.model_folder(store / "vae"))
    convert(archive.as_uri(), f"{made.as_uri()}/", QUIET, stores=SMALL_PARTS)
    assert f"{archive.stem}.channels_last_3d.zip" in files_in(made)
    subprocess.run("sha256sum --check *.sha256", shell=True, cwd=made, check=True)  # noqa: S602


def test_progress_has_a_download_and_an_upload(checkpoint: Path, made: Path) -> None:
    """Both are told in bytes, and end with their totals."""
    told: list[tuple[str, int, int]] = []
    convert(
        checkpoint.as_uri(), f"{made.as_uri()}/", QUIET,
        progress=lambda *each: told.append(each), stores=SMALL_PARTS,
    )  # fmt: skip
    sizes = {"download": checkpoint, "upload": made / f"{NAME}.pt"}
    for stage, path in sizes.items():
        steps = [(done, total) for name, done, total in told if name == stage]
        size = path.stat().st_size
        assert {total for _, total in steps} == {size}
        assert [done for done, _ in steps] == sorted(done for done, _ in steps)
        assert steps[-1] == (size, size)


def begun(folder: Path) -> bool:
    """Wait until something is uploaded to a folder; say whether that happened."""
    until = time.monotonic() + 60
    while not (there := list(folder.iterdir())) and time.monotonic() < until:
        time.sleep(0.01)
    return bool(there)


def prove_after(action: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have something happen before the artifact is proven."""

    def proven(*arguments: Any) -> Proven:
        action()
        return prove(*arguments)

    monkeypatch.setattr(file_conversion, "prove", proven)


def test_the_upload_begins_before_the_proof(
    checkpoint: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are on their way while the artifact is proven; it is not visible."""
    seen: list[bool] = []

    def look() -> None:
        seen.extend((begun(made), (made / f"{NAME}.pt").exists()))

    prove_after(look, monkeypatch)
    convert(checkpoint.as_uri(), f"{made.as_uri()}/", QUIET, stores=SMALL_PARTS)
    assert seen == [True, False]


def test_the_artifact_appears_last(
    checkpoint: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever sees it finds its report beside it."""
    seen: list[set[str]] = []
    finish = EarlyUpload.finish

    def finished(self: EarlyUpload, made_here: Path, progress: Progress) -> None:
        seen.append({name for name in files_in(made) if "#" not in name})
        finish(self, made_here, progress)

    monkeypatch.setattr(EarlyUpload, "finish", finished)
    convert(checkpoint.as_uri(), f"{made.as_uri()}/", QUIET, stores=SMALL_PARTS)
    assert seen == [BESIDE]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_what_ends_the_work_leaves_nothing(
    checkpoint: Path, made: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    """An upload that has begun is given up, and its parts are removed."""

    def end() -> None:
        assert begun(made)
        raise kind

    prove_after(end, monkeypatch)
    with pytest.raises(kind):
        convert(checkpoint.as_uri(), f"{made.as_uri()}/", QUIET, stores=SMALL_PARTS)
    assert files_in(made) == set()


def test_what_did_not_pass_is_not_put(
    checkpoint: Path, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failed conversion has a report, and nothing in the store."""

    def refuse(report: Report) -> None:
        raise VerificationError("It did not pass.", report=report)

    monkeypatch.setattr(file_conversion, "refuse_failed", refuse)
    with pytest.raises(VerificationError):
        convert(checkpoint.as_uri(), f"{made.as_uri()}/", QUIET, stores=SMALL_PARTS)
    assert files_in(made) == set()


def test_a_store_that_takes_nothing_ends_the_work(checkpoint: Path, tmp_path: Path) -> None:
    """The conversion is not carried on for an artifact that has no place."""
    (tmp_path / "file").write_bytes(b"")
    target = (tmp_path / "file").as_uri() + "/below.pt"
    with pytest.raises(StoreUnavailableError):
        convert(checkpoint.as_uri(), target, QUIET, stores=SMALL_PARTS, overwrite=True)
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.parametrize("where", ["a store", "here"])
def test_what_is_there_is_kept_unless_it_may_be_replaced(
    checkpoint: Path, made: Path, expected: bytes, where: str
) -> None:
    """Without `overwrite` an artifact is refused that would replace a file."""
    taken = made / f"{NAME}.pt"
    taken.write_bytes(b"mine")
    target = f"{made.as_uri()}/" if where == "a store" else str(made)
    with pytest.raises(OptionError, match="there already"):
        convert(checkpoint.as_uri(), target, QUIET)
    assert taken.read_bytes() == b"mine"
    convert(checkpoint.as_uri(), target, QUIET, overwrite=True)
    assert taken.read_bytes() == expected


@pytest.mark.parametrize("where", ["a store", "here"])
def test_a_file_that_is_there_is_refused_before_anything_is_fetched(
    checkpoint: Path, made: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for a download to be told that."""
    monkeypatch.delattr(converting, "fetched")
    (made / "mine.pt").write_bytes(b"mine")
    target = (made / "mine.pt").as_uri() if where == "a store" else made / "mine.pt"
    with pytest.raises(OptionError, match="there already"):
        convert(checkpoint.as_uri(), target, QUIET)


def test_a_folder_in_a_store_is_never_replaced(store: Path, made: Path) -> None:
    """The files of two conversions would be mixed."""
    given = building.model_folder(store / "vae")
    (made / "vae").mkdir()
    (made / "vae" / "other.txt").write_text("mine")
    with pytest.raises(OptionError, match="there already"):
        convert(f"{given.as_uri()}/", f"{made.as_uri()}/vae/", QUIET, overwrite=True)
    assert files_in(made / "vae") == {"other.txt"}


@pytest.mark.parametrize("as_text", [Path.as_uri, str])
def test_the_input_is_never_replaced(checkpoint: Path, as_text: Callable[[Path], str]) -> None:
    """Not even with `overwrite`, and by neither of its names."""
    before = checkpoint.read_bytes()
    with pytest.raises(OptionError, match="the input"):
        convert(checkpoint.as_uri(), as_text(checkpoint), QUIET, overwrite=True)
    assert checkpoint.read_bytes() == before


def test_a_source_that_is_not_there(store: Path, made: Path) -> None:
    """The error names the address, and nothing is written."""
    with pytest.raises(SourceNotFoundError, match=r"absent\.pt"):
        convert(f"{store.as_uri()}/absent.pt", f"{made.as_uri()}/", QUIET)
    assert files_in(made) == set()


@pytest.mark.parametrize("verb", [convert, partial(convlast.convert, overwrite=True)])
def test_paths_alone_are_converted_as_ever(
    checkpoint: Path, tmp_path: Path, expected: bytes, verb: Callable[..., Report]
) -> None:
    """The verb takes two paths too."""
    verb(checkpoint, tmp_path / "made.pt", QUIET)
    assert (tmp_path / "made.pt").read_bytes() == expected
