"""The HTTP/1.1 parser of a connection, which ignores offers of another protocol."""

from __future__ import annotations

from array import array

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class HttpParser(httptools.HttpRequestParser):
    """A parser for a server that speaks HTTP/1.1 and nothing else.

    A server may ignore an offer of another protocol, such as the `Upgrade: h2c` of Java's client
    (RFC 9110, section 7.8). But httptools stops after the head of such a request and would read its
    body as the next request. So a second parser takes over and reads the head again, without the
    offer.
    """

    def __init__(self, protocol: HttpToolsProtocol) -> None:
        """Prepare the parser.

        Args:
            protocol: The connection whose bytes are parsed; its `parser` is replaced when a second
                one takes over.
        """
        super().__init__(protocol)
        self._protocol = protocol
        self.set_dangerous_leniencies(lenient_data_after_close=True)  # as in uvicorn

    @property
    def offers_upgrade(self) -> bool:
        """Whether the current request offers to continue in another protocol."""
        # `should_upgrade` is true of CONNECT as well, which is no offer and is refused elsewhere.
        return self.should_upgrade() and self.get_method() != b"CONNECT"

    def feed_data(self, data: bytes | bytearray | memoryview[int] | array[int]) -> None:
        """Parse the next bytes of the connection."""
        parser, left = self, memoryview(data)
        while left:
            try:
                super(HttpParser, parser).feed_data(left)
            except httptools.HttpParserUpgrade as offer:
                if not parser.offers_upgrade:
                    raise
                left = left[offer.args[0] :]
                head = parser._head_without_offer()
                parser = self._protocol.parser = HttpParser(self._protocol)
                super(HttpParser, parser).feed_data(head)
            else:
                return

    def _head_without_offer(self) -> bytes:
        """Write the head of the request again, without its `Upgrade` field."""
        method, version = self.get_method(), self.get_http_version().encode()
        headers = self._protocol.headers
        lines = [b"%b: %b" % field for field in headers if field[0] != b"upgrade"]
        return b"\r\n".join(
            [b"%b %b HTTP/%b" % (method, self._protocol.url, version), *lines, b"", b""]
        )
