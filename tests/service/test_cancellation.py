from __future__ import annotations

import asyncio

import pytest

from service.cancellation import Aside, completed


def test_what_the_work_gives_is_given() -> None:
    """The result or the error of the work is passed on."""

    async def fine() -> int:
        return 3

    async def broken() -> int:
        raise ValueError("broken")

    assert asyncio.run(completed(fine())) == 3
    with pytest.raises(ValueError, match="broken"):
        asyncio.run(completed(broken()))


@pytest.mark.parametrize("times", [1, 3])
def test_the_work_is_done_before_the_waiter_is_stopped(times: int) -> None:
    """However often the waiter is cancelled, it ends as cancelled, after the work."""

    async def main() -> list[str]:
        happened: list[str] = []
        may_end = asyncio.Event()

        async def work() -> None:
            await may_end.wait()
            happened.append("done")

        waiter = asyncio.ensure_future(completed(work()))
        for _ in range(times):
            await asyncio.sleep(0)
            waiter.cancel()
        await asyncio.sleep(0)
        assert not waiter.done()
        may_end.set()
        await asyncio.wait({waiter})
        assert waiter.cancelled()
        return happened

    assert asyncio.run(main()) == ["done"]


def test_work_that_breaks_while_the_waiter_is_cancelled() -> None:
    """An error of the work is not hidden by the cancellation."""

    async def main() -> None:
        async def work() -> None:
            await asyncio.sleep(0.01)
            raise ValueError("broken")

        waiter = asyncio.ensure_future(completed(work()))
        await asyncio.sleep(0)
        waiter.cancel()
        await waiter

    with pytest.raises(ValueError, match="broken"):
        asyncio.run(main())


def test_what_is_done_aside_is_awaited_in_the_end() -> None:
    """Also what begins meanwhile, and what fails hinders nothing."""

    async def main() -> list[str]:
        happened: list[str] = []
        aside = Aside()

        async def fail() -> None:
            raise ValueError("broken")

        async def last() -> None:
            happened.append("last")

        async def first() -> None:
            await asyncio.sleep(0)
            aside.do(last())
            happened.append("first")

        aside.do(fail())
        aside.do(first())
        assert happened == []
        await aside.done()
        return happened

    assert asyncio.run(main()) == ["first", "last"]
