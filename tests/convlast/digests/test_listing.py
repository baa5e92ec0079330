"""Lists of digests: how a line is written and read, and what the root is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.digests.listing import Digests, TensorDigest, read_list
from convlast.errors import OptionError

A = "ab" * 32

names = st.text(st.characters(exclude_categories=["Cs"]))
tensors = st.builds(
    TensorDigest,
    digest=st.sampled_from([A, "0" * 64, "-"]),
    dtype=st.sampled_from(["F32", "F8_E4M3"]),
    shape=st.lists(st.integers(0, 1 << 40), max_size=3).map(tuple),
    name=names | st.sampled_from(["", " ", "a:b", "\\", "a\nb", "\x1b[2J", "é", "𝕏"]),
    file=st.none() | names,
)


@given(tensors)
def test_a_line_can_be_read_again(tensor: TensorDigest) -> None:
    """Whatever the name is, the line is one line of printable ASCII, and has all of it."""
    assert tensor.line.isascii()
    assert tensor.line.isprintable()
    assert TensorDigest.parse(tensor.line) == tensor


@given(st.lists(tensors, max_size=8).flatmap(lambda made: st.permutations(made).map(tuple)))
def test_the_order_is_that_of_the_names(made: tuple[TensorDigest, ...]) -> None:
    """However the tensors come, there is one list of them, and one root."""
    found = Digests.of(made)
    assert found == Digests.of(reversed(made))
    assert [tensor.label for tensor in found.tensors] == sorted(each.label for each in made)


def test_the_shell_gives_the_root(tmp_path: Path) -> None:
    """`LC_ALL=C sort -k4 | sha256sum` does, with spaces, empty names and equal ones among them."""
    names = ["", " ", "  a", "a", "a b", "a  b", "ab", "a.b", "B", "é", "a:b", "a\tb", "a"]
    made = [
        TensorDigest(digest=digest, dtype="F32", shape=(number % 2,), name=name, file=file)
        for number, name in enumerate(names)
        for digest in (A, "-", "0" * 64)
        for file in (None, "x y")
    ]
    path = tmp_path / "list"
    path.write_text("".join(f"{tensor.line}\n" for tensor in reversed(made)))
    shell = subprocess.run(
        ["/bin/sh", "-c", 'LC_ALL=C sort -k4 "$0" | sha256sum', str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert shell.stdout.split()[0] == Digests.of(made).root
    assert read_list(path) == Digests.of(made)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "words",
        f"{A} F32 [1]",
        f"{A[:-1]} F32 [1] a",
        f"{A.upper()} F32 [1] a",
        f"{A} f32 [1] a",
        f"{A} F32 [-1] a",
        f"{A} F32 [1, 2] a",
        f"{A} F32 {{}} a",
        f"{A} F32 [01] a",
        f"{A} F32 {'[' * 100_000} a",
        f"{A}  F32 [1] a",
        f"{A} F32 [1] a:b:c",
        f"{A} F32 [1] a\\",
        f'{A} F32 [1] a"b',
        f"{A} F32 [1] \\u00E9",
        f"{A} F32 [1] \\ud800",
        f"{A} F32 [1] é",
        f"{A} F32 [1] a\tb",
        f"{A}  model.pt",
    ],
)
def test_what_is_no_list_is_refused(line: str, tmp_path: Path) -> None:
    """The number of the line is named, and what a list is."""
    path = tmp_path / "list"
    path.write_text(f"{A} F32 [1] a\n{line}\n")
    with pytest.raises(OptionError, match="Line 2 of 'list'") as refusal:
        read_list(path)
    assert "convlast digest" in refusal.value.remedy


def test_a_list_is_read_without_torch() -> None:
    """Who compares two lists does not wait for torch."""
    program = "import sys, convlast.digests.checking; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
