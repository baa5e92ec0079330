"""The fields that tell a browser to do nothing with an answer but show or save it."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = "Content-Security-Policy"


def policy(style: str | None = None) -> str:
    """Write a policy for contents: nothing is loaded, run, sent or framed.

    Args:
        style: The source of styles that are shown all the same, where the answer is a page.
    """
    styles = f" style-src {style};" if style else ""
    return (
        f"default-src 'none';{styles} base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )


REPORT_POLICY = {CSP: policy("'unsafe-inline'")}
"""For a report's page, whose style stands in it; what a file named is escaped there."""

FIELDS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    CSP: policy(),
}
"""On every answer, unless the answer says otherwise itself."""


class Protection:
    """Middleware that adds these fields to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and complete the head of its answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def protected(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in FIELDS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, protected)
