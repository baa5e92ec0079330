"""The place of a span in a trace, as the field `traceparent` of W3C Trace Context names it."""

from __future__ import annotations

import re
from dataclasses import dataclass

FIELD = "traceparent"

_FORM = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace_id>[0-9a-f]{32})"
    r"-(?P<span_id>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.{0,256})?"
)
"""Source: https://www.w3.org/TR/trace-context/#traceparent-header. Later versions may add parts."""
_SAMPLED = 1


@dataclass(frozen=True)
class Traceparent:
    """A span, in this process or in another.

    Attributes:
        trace_id: The trace, 32 hexadecimal digits.
        span_id: The span, 16 hexadecimal digits.
        is_sampled: Whether its own process records it.
    """

    trace_id: str
    span_id: str
    is_sampled: bool

    @classmethod
    def read(cls, *values: str | None) -> Traceparent | None:
        """Read the values of the field; none if there is not exactly one, or if it is malformed.

        >>> Traceparent.read("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").span_id
        'b7ad6b7169203331'
        >>> Traceparent.read("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01")
        """
        found = _FORM.fullmatch(values[0] or "") if len(values) == 1 else None
        if (
            found is None
            or found["version"] == "ff"
            or (found["version"] == "00" and found["more"])
        ):
            return None
        if not (found["trace_id"].strip("0") and found["span_id"].strip("0")):
            return None
        return cls(found["trace_id"], found["span_id"], bool(int(found["flags"], 16) & _SAMPLED))

    @property
    def ids(self) -> dict[str, str]:
        """The fields of a line in the log."""
        return {"trace_id": self.trace_id, "span_id": self.span_id}

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.is_sampled):02x}"
