"""What keeps a browser from being used against the service, or an answer against a browser."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.errors import UnauthorizedError

ANY_HOST = "*"
_RESERVED = (".localhost", ".internal")
"""Ends of names that nobody can register. Source: RFC 6761, and ICANN's board on .INTERNAL."""
_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f:.]{2,45})\]|(?P<name>[^\[\]:@/]{0,254}))(?::[0-9]{0,5})?"
)
"""As long as an address, a name and a port can be."""


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


REPORT_POLICY = {CSP: policy("'unsafe-inline'") + "; sandbox"}
"""For a report's page, whose style stands in it. What a file named is escaped there; but a worker
that was taken over writes what it likes, and `sandbox` keeps that from leading the reader away."""

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


def refuse_pages(headers: Headers, *, hosts: Collection[str], origins: Collection[str]) -> None:
    """Refuse a request without a key that a page has had a browser send.

    A page is not asked by the browser whether it may send a form to this machine: its requests are
    known by `Origin`. One whose own name was made to lead here (DNS rebinding) is of our origin,
    and could read the answers too: it is known by that name, in `Host`.

    Args:
        headers: The request's.
        hosts: Names that are trusted beside addresses and names that are nobody's to register;
            `*`: any.
        origins: Those whose pages may call.

    Raises:
        UnauthorizedError: If it is one.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_trusted(host, hosts):
        raise UnauthorizedError(
            "Without a key this service is called by an address or as localhost.",
            remedy="Call it so, or set CONVLAST_TRUSTED_HOSTS to the name that it has.",
        )
    if origin is not None and origin not in origins and origin.partition("://")[2] != host:
        raise UnauthorizedError(
            "A page of another origin may not call without a key.",
            remedy="Set CONVLAST_CORS_ORIGINS to those that may.",
        )


def is_trusted(host: str, hosts: Collection[str]) -> bool:
    """Say whether a `Host` is one that no stranger can make lead here.

    >>> is_trusted("127.0.0.1:8000", ()), is_trusted("evil.example:8000", ())
    (True, False)
    """
    found = _HOST.fullmatch(host.lower())
    if found is None or ANY_HOST in hosts:
        return ANY_HOST in hosts
    name = found["ipv6"] or found["name"].rstrip(".")
    if "." not in name or name.endswith(_RESERVED) or name in hosts:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


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
