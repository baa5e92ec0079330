"""No input takes longer to read than its length is worth, whatever its reader's grammar allows.

The inputs are drawn as `benchmarks/fuzz/growth.py` draws them, which tries more, and larger ones.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.growing.readers import READERS

NBYTES = 1 << 16
"""So many that all of it, read again for each of its bytes, takes longer than is allowed."""

TRIES = 3
"""Times that an input is read before it counts: the collector may come in between."""

a_law = settings(
    max_examples=25,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
lots = st.randoms(use_true_random=False)


@pytest.mark.parametrize("reader", READERS)
def test_nothing_takes_longer_than_it_is_long(reader: str) -> None:
    """Each input is read or refused within what is allowed for it, by this process's own clock."""
    of = READERS[reader]

    @a_law
    @given(lots)
    def is_kept(lot: random.Random) -> None:
        program = of.draw(lot)
        data = program.grown(min(NBYTES, of.most_bytes))
        for _ in range(TRIES):
            with tempfile.TemporaryDirectory() as folder:
                seconds = of.seconds_for(data, Path(folder))
            if of.allowance.share_of_time(seconds, len(data)) < 1:
                return
        pytest.fail(f"{seconds:.1f} s: {program.told}")

    is_kept()


@pytest.mark.parametrize("reader", READERS)
def test_programs_are_as_long_as_they_are_wanted(reader: str) -> None:
    """Else the law above would prove nothing."""
    programs = [READERS[reader].program(number) for number in range(20)]
    lengths = [[len(each.grown(nbytes)) for nbytes in (4096, NBYTES)] for each in programs]
    assert sum(long >= NBYTES / 2 for _, long in lengths) >= 16
    assert sum(long > short for short, long in lengths) >= 10


@pytest.mark.parametrize("reader", READERS)
def test_a_program_is_the_same_each_time(reader: str) -> None:
    """A number is enough to draw it again."""
    one, other = (READERS[reader].program(7) for _ in range(2))
    assert (one.told, one.grown(5000)) == (other.told, other.grown(5000))
