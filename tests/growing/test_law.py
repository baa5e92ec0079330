"""No input takes longer to read than its length is worth, whatever the grammar of its reader allows.

The inputs are drawn as `benchmarks/fuzz/growth.py` draws them, which tries many more, and larger ones.
"""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.growing.readers import FILES, READERS, TEXTS

NBYTES = 1 << 15
"""So many that all of it, read again for each of its bytes, takes longer than is allowed."""

lots = st.randoms(use_true_random=False)
quietly = pytest.mark.filterwarnings("ignore")


def law(examples: int) -> settings:
    """Return the settings of a law: the same examples each time."""
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=examples, derandomize=True, database=None, suppress_health_check=checks
    )


@pytest.mark.parametrize("reader", FILES)
def test_no_file_takes_longer_than_it_is_long(reader: str) -> None:
    """Each is read or refused within what is allowed for its bytes, by this process's own clock."""
    check(reader, 15)


@pytest.mark.parametrize("reader", TEXTS)
def test_no_text_takes_longer_than_it_is_long(reader: str) -> None:
    """Nor does what clients send beside files."""
    check(reader, 15)


def check(reader: str, examples: int) -> None:
    """Try some inputs of a reader."""
    of = READERS[reader]

    @law(examples)
    @given(lots)
    def is_kept(lot: random.Random) -> None:
        program = of.draw(lot)
        data = program.grown(min(NBYTES, of.most_bytes))
        with tempfile.TemporaryDirectory() as folder:
            seconds = of.seconds_for(data, Path(folder))
        assert of.allowance.share_of_time(seconds, len(data)) < 1, (
            f"{seconds:.1f} s: {program.told}"
        )

    is_kept()


@pytest.mark.parametrize("reader", READERS)
def test_programs_are_as_long_as_they_are_wanted(reader: str) -> None:
    """Else the laws above would prove nothing."""
    lengths = [
        [
            len(READERS[reader].draw(random.Random(number)).grown(nbytes))
            for nbytes in (4096, NBYTES)
        ]
        for number in range(20)
    ]
    assert sum(long >= NBYTES / 2 for _, long in lengths) >= 16
    assert sum(long > 2 * short for short, long in lengths) >= 10


@pytest.mark.parametrize("reader", FILES)
def test_a_program_is_the_same_each_time(reader: str) -> None:
    """A number is enough to draw it again."""
    one, other = (READERS[reader].draw(random.Random(7)) for _ in range(2))
    assert (one.told, one.grown(5000)) == (other.told, other.grown(5000))
