from __future__ import annotations

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.errors import LimitExceededError, MalformedCheckpointError
from convlast.folders.member_names import Names
from convlast.options import Limits


@pytest.mark.parametrize(
    ("name", "path"),
    [("a.pt", "a.pt"), ("./a/b.pt", "a/b.pt"), ("././x", "x"), ("a b/ü.pt", "a b/ü.pt")],
)
def test_a_plain_name_is_taken(name: str, path: str) -> None:
    """A plain name only loses the `./` of the folder itself."""
    assert Names(Limits()).take(name, is_folder=False) == path


@pytest.mark.parametrize("name", ["./", ".", "a/", "./a/"])
def test_a_folder_is_taken_without_its_slash(name: str) -> None:
    """A folder's name loses its slash, and the root is an empty path."""
    assert Names(Limits()).take(name, is_folder=True) in {"", "a"}


@pytest.mark.parametrize(
    "name",
    [
        "", ".", "..", "../a", "a/../b", "a/..", "/a", "//a", "a//b", "a/./b", "a\\b", "C:a",
        "c:/a", "..\\a", "a/",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    """A name that leads elsewhere on any system is refused."""
    with pytest.raises(MalformedCheckpointError, match="leads elsewhere"):
        Names(Limits()).take(name, is_folder=False)


@pytest.mark.parametrize(
    "name", ["a\nb", "a\x1bb", "a\0b", "\udcff", "x" * 256, "/".join("x" * 33), "é" * 128]
)
def test_a_name_that_no_file_can_have_everywhere_is_refused(name: str) -> None:
    """A name that is too long, too deep, or cannot be printed is refused."""
    with pytest.raises(MalformedCheckpointError, match="no file can have"):
        Names(Limits()).take(name, is_folder=False)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a", "a"),
        ("a", "./a"),
        ("a", "A"),
        ("é", "e\u0301"),
        ("A/b", "a/c"),
        ("a", "a/b"),
        ("x/é/1", "x/e\u0301/2"),
        ("\u0390", "\u03aa\u0301"),
        ("straße", "STRASSE"),
    ],
)
@pytest.mark.parametrize("is_turned", [False, True])
def test_two_names_of_one_file_are_refused(first: str, second: str, is_turned: bool) -> None:
    """Two names that some system takes for one file are refused."""
    names = Names(Limits())
    pair = (second, first) if is_turned else (first, second)
    names.take(pair[0], is_folder=False)
    with pytest.raises(MalformedCheckpointError, match=r"there twice|case does not count"):
        names.take(pair[1], is_folder=False)


def test_a_folder_may_be_listed_with_what_is_in_it() -> None:
    """A folder may be listed before or after its contents, and more than once."""
    names = Names(Limits())
    names.take("a/b", is_folder=False)
    for name in ("a/", "a", "a/c"):
        names.take(name, is_folder=name != "a/c")


def test_the_number_of_names_is_bounded() -> None:
    """The number of names is limited, including those of folders."""
    names = Names(Limits(max_files=2))
    names.take("a/", is_folder=True)
    names.take("b", is_folder=False)
    with pytest.raises(LimitExceededError) as refusal:
        names.take("c", is_folder=False)
    assert refusal.value.limit == "max_files"


@given(st.text(max_size=40), st.booleans())
def test_what_is_taken_stays_below_the_folder(name: str, is_folder: bool) -> None:
    """Any name is refused, or is a path that stays in the folder."""
    try:
        path = Names(Limits()).take(name, is_folder=is_folder)
    except MalformedCheckpointError:
        return
    pure = PurePosixPath("root", path)
    assert ".." not in pure.parts
    assert not PurePosixPath(path).is_absolute()
    assert path.isprintable()
    assert path == pure.relative_to("root").as_posix() or (is_folder and path == "")
