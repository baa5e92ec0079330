"""`Prefer`: whether to answer at once, or how long to wait (RFC 7240)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.datastructures import Headers

from service.headers.fields import as_list

MOST_WAIT_S = 3600
"""The longest wait that is kept to."""


@dataclass(frozen=True)
class Preference:
    """How long a client wants to wait for the end of a job.

    Attributes:
        wait_s: Seconds to wait; none: until the end.
        applied: What `Preference-Applied` tells.
    """

    wait_s: int | None = None
    applied: str = ""

    @property
    def is_asynchronous(self) -> bool:
        """Whether the client may be answered before the job has ended."""
        return self.wait_s is not None

    @classmethod
    def of(cls, headers: Headers) -> Preference:
        """Read the preference; one that cannot be read is ignored, as the standard wants it.

        >>> Preference.of(Headers({"Prefer": "respond-async"}))
        Preference(wait_s=0, applied='respond-async')
        >>> Preference.of(Headers({"Prefer": 'respond-async, wait="25"; x=1'}))
        Preference(wait_s=25, applied='respond-async, wait=25')
        >>> Preference.of(Headers({"Prefer": "return=minimal, wait=soon"}))
        Preference(wait_s=None, applied='')
        """
        given: dict[str, str] = {}
        for each in (as_list(headers, "prefer") or "").split(","):
            name, _, value = each.partition(";")[0].partition("=")
            given.setdefault(name.strip().lower(), value.strip().strip('"'))
        applied = ["respond-async"] if "respond-async" in given else []
        wait_s = 0 if applied else None
        if re.fullmatch("[0-9]{1,9}", given.get("wait", "")):
            wait_s = min(int(given["wait"]), MOST_WAIT_S)
            applied.append(f"wait={wait_s}")
        return cls(wait_s, ", ".join(applied))
