from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convlast.bytes.digest import FilePart
from convlast.writing import ordered_output as parts_module
from convlast.writing.ordered_output import Parts

TEN = 10


def take(parts: Parts) -> list[FilePart]:
    """Read to the end."""
    return list(parts)


@given(st.permutations(range(6)), st.sets(st.integers(0, 5)), st.integers(1, 40))
def test_parts_come_in_order_whatever_the_order_they_are_made_in(
    order: list[int], claimed: set[int], step_bytes: int
) -> None:
    """The reader gets every byte once, and each claim with the part that it is of."""
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as pool:
        patch.setattr(parts_module, "_STEP_BYTES", step_bytes)
        parts = Parts(range(5, 65, TEN))
        with parts:
            reading = pool.submit(take, parts)
            for index in order:
                claim = FilePart(8, index, str(index)) if index in claimed else None
                parts.add(5 + index * TEN, 8, claim)
        found = reading.result()
    assert found.pop() == FilePart(None)
    position = 0
    for part in found:
        if part.crc is not None:
            assert position == 5 + part.crc * TEN
        position += part.nbytes or 0
    assert position <= 63  # the rest belongs to the last part
    assert {part.crc for part in found if part.crc is not None} == claimed


def test_nothing_is_read_before_it_is_final() -> None:
    """A part that is missing holds back all that lies behind it."""
    parts = Parts([0, 8 << 20])
    first: list[FilePart] = []
    reader = threading.Thread(target=lambda: first.extend(parts))
    with parts:
        reader.start()
        parts.add(8 << 20, 8 << 20)
        reader.join(0.1)
        assert reader.is_alive()
        assert not first
        parts.add(0, 8 << 20)
    reader.join(10)
    assert not reader.is_alive()


def test_a_reader_is_let_go_when_the_writer_gives_up() -> None:
    """An error does not leave a thread waiting for ever."""
    parts = Parts([0])
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(take, parts)
        with pytest.raises(OSError, match="full"), parts:
            raise OSError("full")
        assert reading.result(10) == []


def test_nothing_is_final_twice() -> None:
    """What was called final may have been read, so that a change of it would go unseen."""
    parts = Parts([0, 10])
    parts.add(0, 5)
    for start in (0, 3):
        with pytest.raises(ValueError, match=f"no part that begins at {start} is open"):
            parts.add(start, 5)


def test_no_part_is_forgotten() -> None:
    """Nor what is claimed of those behind it: the writer fails, and the reader stops short."""
    parts = Parts([0, 10])
    with pytest.raises(ValueError, match="1 parts were never called final"), parts:
        parts.add(10, 5, FilePart(5, 123, "member"))
    assert take(parts) == []


def test_a_file_without_parts_is_read_at_its_end() -> None:
    """When all of it is final."""
    with Parts([]) as parts:
        pass
    assert take(parts) == [FilePart(None)]
