from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from convlast.report.matching import matched

NAMES = st.lists(st.sampled_from("aAbBc"), max_size=9)


@given(NAMES, NAMES)
def test_each_thing_is_in_a_pair_or_alone(before: list[str], after: list[str]) -> None:
    """Nothing is lost or matched twice, and a pair has one key."""
    both, went, came = matched(before, after, key=str.lower)
    assert Counter([old for old, _ in both] + went) == Counter(before)
    assert Counter([new for _, new in both] + came) == Counter(after)
    assert all(old.lower() == new.lower() for old, new in both)
    assert not {each.lower() for each in went} & {each.lower() for each in came}
