from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.errors import ArtifactChangedError, StatementError
from convlast.provenance.checking import check, is_about
from convlast.provenance.reading import Statement, parse
from convlast.provenance.statement import TENSORS, text_of
from convlast.report import FileSection, Report
from tests.convlast.provenance.statements import on_files, on_report, recorded, write_files

FILES = {"config.json": b"{}", "unet/model.pt": b"weights", "vae/model.pt": b"other weights"}


def statement_on(files: dict[str, bytes]) -> Statement:
    """Return the statement on an artifact with these contents, as it is read."""
    return parse(text_of(on_files(files)))


def told_in(refused: pytest.ExceptionInfo[ArtifactChangedError]) -> list[str]:
    """Return the files that an error names."""
    files = refused.value.details["files"]
    assert isinstance(files, list)
    return files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artifact that is a folder."""
    return write_files(tmp_path / "made", FILES)


@given(st.binary(max_size=2000), st.data())
def test_a_file_holds_until_a_bit_is_changed(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    """Whatever is in it; a byte more is a change too."""
    path = tmp_path_factory.getbasetemp() / "checked"
    statement = statement_on({"checked": content})
    path.write_bytes(content)
    assert list(check(path, statement)) == ["checked"]
    changed = bytearray(content + b"\0")
    if content and data.draw(st.booleans()):
        changed = bytearray(content)
        changed[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    with pytest.raises(ArtifactChangedError, match="'checked'") as refused:
        check(path, statement)
    assert refused.value.details["files"] == ["checked"]


def test_a_file_may_be_renamed(tmp_path: Path) -> None:
    """Its bytes decide; if they are others, the message has both names."""
    path = tmp_path / "renamed.pt"
    path.write_bytes(b"weights")
    check(path, statement_on({"m.pt": b"weights"}))
    with pytest.raises(ArtifactChangedError, match=r"'renamed\.pt'.*calls 'm\.pt'"):
        check(path, statement_on({"m.pt": b"others"}))


def test_a_folder_holds(folder: Path) -> None:
    """Each file has the digest of its subject, and progress is told in bytes."""
    told: list[tuple[str, int, int]] = []
    found = check(folder, statement_on(FILES), progress=lambda *news: told.append(news))
    assert found.keys() == FILES.keys()
    size_bytes = sum(map(len, FILES.values()))
    assert told[0] == ("digest", 0, size_bytes)
    assert told[-1] == ("digest", size_bytes, size_bytes)


@pytest.mark.parametrize("name", FILES)
def test_each_change_in_a_folder_is_named(folder: Path, name: str) -> None:
    """A file that is changed, missing, or one that another has taken the place of."""
    statement = statement_on(FILES)
    (folder / name).write_bytes(b"changed")
    with pytest.raises(ArtifactChangedError, match=f"'{name}' is changed"):
        check(folder, statement)
    (folder / name).unlink()
    with pytest.raises(ArtifactChangedError, match=f"'{name}' is missing") as refused:
        check(folder, statement)
    assert refused.value.details["files"] == [name]


def test_swapped_files_are_both_named(folder: Path) -> None:
    """A file with the bytes of another subject is changed all the same."""
    (folder / "unet/model.pt").write_bytes(FILES["vae/model.pt"])
    (folder / "vae/model.pt").write_bytes(FILES["unet/model.pt"])
    with pytest.raises(ArtifactChangedError) as refused:
        check(folder, statement_on(FILES))
    assert refused.value.details["files"] == ["unet/model.pt", "vae/model.pt"]


@pytest.mark.parametrize("name", ["more.pt", "unet/.hidden", "a/b/c"])
def test_a_file_that_came_later_is_named(folder: Path, name: str) -> None:
    """Also a hidden one, and one in a new folder."""
    write_files(folder, {name: b""})
    with pytest.raises(ArtifactChangedError, match="no subject") as refused:
        check(folder, statement_on(FILES))
    assert refused.value.details["files"] == [name]


def test_the_statement_itself_may_lie_in_the_folder(folder: Path) -> None:
    """That file alone, by whatever name it was given."""
    own = folder / "provenance.json"
    own.write_bytes(text_of(on_files(FILES)))
    check(folder, statement_on(FILES), besides=Path(os.path.relpath(own)))
    with pytest.raises(ArtifactChangedError, match=r"'provenance\.json'"):
        check(folder, statement_on(FILES))


@pytest.mark.parametrize("link", [os.link, os.symlink])
@pytest.mark.parametrize("name", ["model.py", "unet/provenance.json"])
def test_another_link_to_the_statement_is_a_file_too_many(
    folder: Path, link: Callable[[Path, Path], None], name: str
) -> None:
    """A program may read what has that name; so only the path that was given may be there."""
    own = folder / "provenance.json"
    own.write_bytes(text_of(on_files(FILES)))
    link(own, folder / name)
    with pytest.raises(ArtifactChangedError, match="is no subject") as refused:
        check(folder, statement_on(FILES), besides=own)
    assert told_in(refused) == [name]


def test_the_statement_may_be_named_by_a_link(folder: Path, tmp_path: Path) -> None:
    """The path is what counts: a link in the folder, or a folder that is reached through one."""
    outside = tmp_path / "statement.json"
    outside.write_bytes(text_of(on_files(FILES)))
    (folder / "provenance.json").symlink_to(outside)
    (tmp_path / "linked").symlink_to(folder)
    for named in (folder, tmp_path / "linked"):
        check(folder, statement_on(FILES), besides=named / "provenance.json")
    with pytest.raises(ArtifactChangedError, match="is no subject"):
        check(folder, statement_on(FILES), besides=outside)


def test_links_lead_to_the_bytes_that_count(folder: Path, tmp_path: Path) -> None:
    """A link to a file is that file, as in a cache of models; one to a folder hides nothing."""
    outside = write_files(tmp_path / "blobs", {"blob": FILES["config.json"]})
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to(outside / "blob")
    check(folder, statement_on(FILES))
    (folder / "linked").symlink_to(outside)
    with pytest.raises(ArtifactChangedError, match="'linked' is no subject"):
        check(folder, statement_on(FILES))


def test_pipes_and_dangling_links_are_never_read(folder: Path) -> None:
    """Reading a pipe would never end."""
    for make in (os.mkfifo, lambda path: path.symlink_to("nowhere")):
        (folder / "config.json").unlink()
        make(folder / "config.json")
        with pytest.raises(ArtifactChangedError, match=r"'config\.json' is no file"):
            check(folder, statement_on(FILES))
        with pytest.raises(ArtifactChangedError, match="is no file"):
            check(folder / "config.json", statement_on({"config.json": b"{}"}))


def test_names_that_are_no_text_are_told(folder: Path) -> None:
    """Escaped as in reports; a subject of that text is another file, though it looks the same."""
    odd = folder / os.fsdecode(b"caf\xe9")
    odd.touch()
    with pytest.raises(ArtifactChangedError, match="no subject") as refused:
        check(folder, statement_on(FILES))
    assert refused.value.details["files"] == [r"caf\udce9"]
    both = statement_on({**FILES, r"caf\udce9": b""})
    with pytest.raises(ArtifactChangedError, match="is missing"):
        check(folder, both)
    (folder / r"caf\udce9").touch()
    with pytest.raises(ArtifactChangedError, match="no subject"):
        check(folder, both)
    odd.write_bytes(b"weights")
    assert check(odd, statement_on({"m.pt": b"weights"})).keys() == {r"caf\udce9"}


def test_a_subject_outside_the_folder_is_never_opened(folder: Path) -> None:
    """A hostile statement may name any path; only what is in the folder is looked at."""
    names = ["../secret", "/etc/passwd", "unet/../config.json", "unet\\model.pt"]
    with pytest.raises(ArtifactChangedError, match="are missing") as refused:
        check(folder, statement_on({**FILES, **dict.fromkeys(names, b"")}))
    assert {*told_in(refused)} == set(names)


def test_a_folder_is_not_checked_by_one_of_its_files(folder: Path) -> None:
    """A statement on several files needs all of them."""
    with pytest.raises(StatementError, match="Name the folder"):
        check(folder / "config.json", statement_on(FILES))


def test_many_names_are_shortened(folder: Path) -> None:
    """The message stays short; the data has all."""
    names = [f"more-{number}" for number in range(20)]
    write_files(folder, dict.fromkeys(names, b""))
    with pytest.raises(ArtifactChangedError, match="and 15 more are no subject") as refused:
        check(folder, statement_on(FILES))
    assert {*told_in(refused)} == set(names)


def test_a_statement_is_about_the_artifact_of_a_report() -> None:
    """That is known by the digests: of one file whatever its name, of a folder file by file."""
    found = recorded()
    assert found.artifact is not None
    assert is_about(parse(text_of(on_report(found))), found)
    renamed = found.model_copy(
        update={"artifact": found.artifact.model_copy(update={"filename": "mine.pt"})}
    )
    assert is_about(parse(text_of(on_report(found))), renamed)
    assert not is_about(statement_on({found.artifact.filename: b"another"}), found)
    assert not is_about(
        parse(text_of(on_report(found))), found.model_copy(update={"artifact": None})
    )


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_statement_on_a_folder_is_about_each_of_its_files(kind: str) -> None:
    """Those that the report has: not one more, less, or another, under the same names."""
    found = on_folder(FILES, kind)
    assert is_about(statement_on(FILES), found)
    first, *_ = FILES
    assert not is_about(statement_on({**FILES, "more.pt": b""}), found)
    assert not is_about(statement_on({**FILES, first: b"another"}), found)
    assert not is_about(statement_on({first: FILES[first]}), found)


def on_folder(files: dict[str, bytes], kind: str) -> Report:
    """Return a report on a model folder with these files, after the conversion."""
    found = recorded()
    assert found.artifact is not None
    sections = [
        FileSection(
            path=path,
            role="other",
            verdict="passed",
            input=found.input,
            artifact=found.artifact.model_copy(update={"sha256": sha256(content).hexdigest()}),
        )
        for path, content in files.items()
    ]
    made = found.artifact.model_copy(update={"container": kind, "sha256": "f" * 64})
    return found.model_copy(update={"files": sections, "artifact": made})


def test_who_has_digests_of_tensors_is_told_what_they_are_for(tmp_path: Path) -> None:
    """A list of them says which tensor has changed."""
    members = on_files({"m.pt": b"weights"})
    members["subject"][0]["annotations"] = {TENSORS: "0" * 64}
    path = tmp_path / "m.pt"
    path.write_bytes(b"changed")
    with pytest.raises(ArtifactChangedError, match="convlast digest --check"):
        check(path, parse(text_of(members)))
