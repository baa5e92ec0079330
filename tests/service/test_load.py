from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.service.running import Serve, wait_for


def test_many_requests_leave_nothing_behind(serve: Serve) -> None:
    """Two hundred requests in sequence and sixteen at once leave no file and no process."""
    service = serve()
    processes = len(service.descendants())
    with service.client() as client:
        for number in range(200):
            files = {"checkpoint": ("m.pt", b"request %d" % number)}
            assert client.post("/convert", files=files).status_code == 200
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(service.convert, [b"at once %d" % each for each in range(16)]))
    assert [answer.status_code for answer in answers] == [200] * 16
    assert len({answer.content for answer in answers}) == 16
    wait_for(lambda: service.files() == set())
    wait_for(lambda: len(service.descendants()) == processes)


def test_the_queue_is_bounded(serve: Serve) -> None:
    """Jobs within the queue size run, beside the one in the lane, and others are refused."""
    service = serve(queue_size=2)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(service.convert, [b"sleeps 5"] * 8))
    codes = sorted(answer.status_code for answer in answers)
    assert codes == [200] * 3 + [503] * 5
    assert all("retry-after" in answer.headers for answer in answers if answer.status_code == 503)
