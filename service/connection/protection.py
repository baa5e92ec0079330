"""Protects the service from pages in a browser, and the browser from what the service answers."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convlast.report.rendering import assets
from service.errors import UnauthorizedError

ANY_HOST = "*"
_RESERVED = (".localhost", ".internal")
"""Domains that nobody can register. Source: RFC 6761, and ICANN's board on .INTERNAL."""
_HOST = re.compile(
    r"(?:\[(?P<ipv6>[0-9a-f:.]{2,45})\]|(?P<name>[^\[\]:@/]{0,254}))(?::[0-9]{0,5})?"
)
"""An address or a name, and a port, each bounded in length."""

CSP = "Content-Security-Policy"


def policy(style: str | None = None, script: str | None = None) -> str:
    """Return a content security policy: nothing may be loaded, run, sent or framed.

    Args:
        style: The source of styles that are allowed, if the answer is a page.
        script: The source of scripts that are allowed, if the page has one.
    """
    styles = f" style-src {style};" if style else ""
    scripts = f" script-src {script};" if script else ""
    return (
        f"default-src 'none';{styles}{scripts} base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


REPORT_POLICY = {
    CSP: policy(assets.source_of(assets.STYLE), assets.source_of(assets.SCRIPT))
    + "; sandbox allow-scripts"
}
"""For the page of a report, which has its style and its script inline. Names from the checkpoint
are escaped, but a compromised worker can write any page. Only our own script may run, and
`sandbox` gives the page an origin of its own and keeps it from redirecting the reader."""

FIELDS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    CSP: policy(),
}
"""Fields of every answer, unless the answer sets them itself."""


def refuse_pages(headers: Headers, *, hosts: Collection[str], origins: Collection[str]) -> None:
    """Refuse a request without a key that a foreign page has sent through a browser.

    Browsers let any page send a form to this machine; its `Origin` shows where it comes from. A
    page whose own name was made to resolve to this machine (DNS rebinding) has our origin and could
    read the answers too; its `Host` shows that name.

    Args:
        headers: The headers of the request.
        hosts: Names that are trusted beside addresses and names that nobody can register; `*`
            trusts any.
        origins: The origins whose pages may call.

    Raises:
        UnauthorizedError: If a foreign page has sent it.
    """
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_trusted(host, hosts):
        raise UnauthorizedError(
            "Requests without a key must name this service by an IP address or as localhost.",
            remedy="Do so, or add its name to CONVLAST_TRUSTED_HOSTS.",
        )
    if origin is not None and origin not in origins and origin.partition("://")[2] != host:
        raise UnauthorizedError(
            "A page of another origin may not call without a key.",
            remedy="Add its origin to CONVLAST_CORS_ORIGINS if it may.",
        )


def is_trusted(host: str, hosts: Collection[str]) -> bool:
    """Return whether nobody else can make this `Host` resolve to this machine.

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
    """Middleware that adds `FIELDS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and add the fields to its answer."""
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
