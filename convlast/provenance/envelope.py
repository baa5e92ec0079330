"""The envelope of a signed statement: DSSE, version 1.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md and envelope.md
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass
from typing import Any

from convlast.errors import StatementError

STATEMENT = "application/vnd.in-toto+json"
"""The media type of a statement, which is the payload."""

ENVELOPE = "application/vnd.dsse.envelope.v1+json"
"""The media type of an envelope as JSON."""

MOST_SIGNATURES = 16
"""An envelope with more is refused: each may be tried."""

_LONGEST_SIGNATURE_CHARS = 1024


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return what is signed: the type and the payload, each behind its length.

    >>> pae("http://example.com/HelloWorld", b"hello world")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True)
class Signature:
    """One signature of an envelope.

    Attributes:
        keyid: What the signer calls its key: a hint, which nothing is decided by.
        value: The signature.
    """

    keyid: str
    value: bytes


@dataclass(frozen=True)
class Envelope:
    """A statement with its signatures.

    Attributes:
        payload: The statement, as it was signed.
        signatures: The signatures.
    """

    payload: bytes
    signatures: tuple[Signature, ...]

    @property
    def signed(self) -> bytes:
        """What the signatures are of."""
        return pae(STATEMENT, self.payload)

    def text(self) -> bytes:
        """Return it as JSON."""
        members = {
            "payloadType": STATEMENT,
            "payload": _encoded(self.payload),
            "signatures": [
                {"keyid": each.keyid, "sig": _encoded(each.value)} for each in self.signatures
            ],
        }
        return json.dumps(members, indent=2).encode() + b"\n"

    @classmethod
    def of(cls, members: dict[str, Any]) -> Envelope:
        """Read an envelope from the members of a JSON object.

        Raises:
            StatementError: If it is none, of another kind of payload, or has more than that.
        """
        _refuse_unknown(members, "payloadType", "payload", "signatures")
        if members.get("payloadType") != STATEMENT:
            raise StatementError(f"The payload of the envelope is not {STATEMENT}.")
        signatures = members.get("signatures")
        if not isinstance(signatures, list) or not 0 < len(signatures) <= MOST_SIGNATURES:
            raise StatementError(f"The envelope has not 1 to {MOST_SIGNATURES} signatures.")
        return cls(
            _decoded(members.get("payload"), "payload"), tuple(_signature(x) for x in signatures)
        )


def _signature(given: Any) -> Signature:
    if not isinstance(given, dict) or not isinstance(given.get("keyid", ""), str):
        raise StatementError("A signature of the envelope is not an object with keyid and sig.")
    _refuse_unknown(given, "keyid", "sig")
    text = given.get("sig")
    if isinstance(text, str) and len(text) > _LONGEST_SIGNATURE_CHARS:
        raise StatementError("A signature of the envelope is too long.")
    return Signature(given.get("keyid", ""), _decoded(text, "sig"))


def _refuse_unknown(members: dict[str, Any], *known: str) -> None:
    """Refuse what no signature covers; DSSE would let a reader ignore it."""
    if odd := sorted(members.keys() - set(known)):
        raise StatementError(
            f"The envelope has a member that nobody has signed: {odd[0][:100]!r}.",
            remedy="Give the envelope as its signer has made it.",
        )


def _encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _decoded(text: Any, member: str) -> bytes:
    """Decode base64 of the standard or the URL-safe alphabet, which DSSE both allows.

    Nothing else is: the same bytes have one text in each alphabet.
    """
    if isinstance(text, str) and text.isascii():
        is_url_safe = re.search("[-_]", text) is not None
        try:
            content = base64.b64decode(text, altchars=b"-_" if is_url_safe else None, validate=True)
        except binascii.Error:
            content = b""
        again = base64.urlsafe_b64encode(content) if is_url_safe else base64.b64encode(content)
        if content and again.decode() == text:
            return content
    raise StatementError(f"The member {member} of the envelope is not base64.")
