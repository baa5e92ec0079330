"""Layers are chosen by their names, and a pattern that is a slip of the pen is told."""

from __future__ import annotations

import pytest

from convlast.errors import OptionError
from convlast.planning.selection import Selection


@pytest.mark.parametrize(
    ("patterns", "chosen"),
    [
        (("all",), {"0.weight", "2.conv.weight"}),
        (("fastest",), {"0.weight", "2.conv.weight"}),
        (("*.conv.weight",), {"2.conv.weight"}),
        (("[01].*", "2.*"), {"0.weight", "2.conv.weight"}),
        (("weight",), set()),
    ],
)
def test_patterns_are_matched_against_whole_names(
    patterns: tuple[str, ...], chosen: set[str]
) -> None:
    """They are fnmatch's; what is fastest is chosen later, from all."""
    assert Selection(patterns).choose(["0.weight", "2.conv.weight"]) == chosen


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    """Also beside one that matches; the names that there are are listed."""
    selection = Selection(("conv*", "nothing*"))
    selection.choose(["conv.weight"])
    with pytest.raises(OptionError, match=r"'nothing\*' matches none of the 1 ") as refusal:
        selection.refuse_unmatched()
    assert refusal.value.option == "select"
    assert "conv.weight" in refusal.value.remedy


def test_over_several_files_a_pattern_has_to_match_once() -> None:
    """What matches in one of them is no slip."""
    selection = Selection(("encoder.*",))
    selection.choose(["decoder.weight"])
    selection.choose(["encoder.weight"])
    selection.refuse_unmatched()
