"""DELETE of a job at any moment."""

from __future__ import annotations

import time

from tests.service.running import Serve


def test_a_job_is_cancelled_or_removed_whenever_it_is_deleted(serve: Serve) -> None:
    """Even while its end is being written down: 200 is a cancelled job, 204 a removed one."""
    service = serve(workers=2)
    answers = []
    with service.client(headers={"Prefer": "respond-async"}) as client:
        for number in range(20):
            files = {"checkpoint": ("m.pt", b"sleeps 0.1 #%d" % number)}
            link = client.post("/convert", files=files).json()["links"]["self"]
            while client.get(link).json()["state"] == "queued":
                time.sleep(0.002)
            time.sleep(0.09 + 0.002 * number)
            answer = client.delete(link)
            answers.append(answer.status_code)
            if answer.status_code == 200:
                assert answer.json()["state"] == "cancelled"
            else:
                assert answer.status_code == 204
                assert client.get(link).status_code == 410
    assert len(answers) == 20
