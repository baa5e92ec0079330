"""Signs statements, and checks signatures: Ed25519, and ECDSA on P-256 with SHA-256.

Keys are PEM files, as `openssl genpkey` and `openssl pkey -pubout` write them.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from convlast.errors import OptionError, SignatureError
from convlast.provenance.envelope import STATEMENT, Envelope, Signature, pae

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )
    from cryptography.hazmat.primitives.asymmetric.ed25519 import (
        Ed25519PrivateKey,
        Ed25519PublicKey,
    )

T = TypeVar("T")

MAX_KEY_BYTES = 16 << 10
"""The largest key file; one of these keys has 300 bytes."""

_KINDS = "an Ed25519 key, or an ECDSA key on the curve P-256"
_MAKE, _HALVE = "openssl genpkey -algorithm ed25519", "openssl pkey -in KEY -pubout"


@dataclass(frozen=True)
class PublicKey:
    """A key that checks signatures.

    Attributes:
        keyid: The SHA-256 of the key in DER (SubjectPublicKeyInfo), in hexadecimal.
    """

    keyid: str
    _key: Ed25519PublicKey | EllipticCurvePublicKey

    def has_signed(self, envelope: Envelope) -> bool:
        """Return whether one of the signatures is by this key, whatever they say of their keys."""
        return any(self._fits(each.value, envelope.signed) for each in envelope.signatures)

    def require_signed(self, envelope: Envelope) -> None:
        """Refuse an envelope that this key has not signed.

        Raises:
            SignatureError: If it has not.
        """
        if not self.has_signed(envelope):
            raise SignatureError(
                "The statement is not signed with this key, or was changed since.",
                keyid=self.keyid,
                remedy="Take the statement from where it was made, and the key from its signer.",
            )

    def _fits(self, signature: bytes, content: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
        from cryptography.hazmat.primitives.hashes import SHA256

        try:
            if isinstance(self._key, Ed25519PublicKey):
                self._key.verify(signature, content)
            else:
                self._key.verify(signature, content, _ecdsa(SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class PrivateKey:
    """A key that signs.

    Attributes:
        keyid: That of its public key.
    """

    keyid: str
    _key: Ed25519PrivateKey | EllipticCurvePrivateKey

    def __repr__(self) -> str:
        """Show which key it is, and nothing of it."""
        return f"<PrivateKey {self.keyid}>"

    def sign(self, statement: bytes) -> Envelope:
        """Return a statement in an envelope, signed."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256

        content = pae(STATEMENT, statement)
        if isinstance(self._key, Ed25519PrivateKey):
            value = self._key.sign(content)
        else:
            value = self._key.sign(content, _ecdsa(SHA256()))
        return Envelope(statement, (Signature(self.keyid, value),))


def read_private_key(path: Path, option: str = "signing_key") -> PrivateKey:
    """Read a private key: PEM, PKCS #8, not encrypted, and closed to others.

    Args:
        path: The file.
        option: The option or setting that names it.

    Raises:
        OptionError: If it cannot be used, or the extra `signing` is missing.
    """
    content = _content(path, option, is_private=True)
    if b"ENCRYPTED" in content:
        raise OptionError(
            option,
            f"The key in {str(path)!r} is encrypted.",
            remedy="Decrypt it into a file that only its owner can read: openssl pkey -in KEY.",
        )
    if b"-----BEGIN PRIVATE KEY-----" not in content:
        raise _no_key(path, option, "private key in PKCS #8", _MAKE)
    return _loaded(content, path, option, _private_key, f"Make one: {_MAKE}.")


def read_public_key(path: Path, option: str = "key") -> PublicKey:
    """Read a public key: PEM, as `openssl pkey -pubout` writes it.

    Args:
        path: The file.
        option: The option that names it.

    Raises:
        OptionError: If it cannot be used, or the extra `signing` is missing.
    """
    content = _content(path, option, is_private=False)
    if b"-----BEGIN PUBLIC KEY-----" not in content or b"PRIVATE" in content:
        raise _no_key(path, option, "public key", _HALVE)
    remedy = f"Name the public half of the key that has signed: {_HALVE}."
    return _loaded(content, path, option, _public_key, remedy)


def _content(path: Path, option: str, *, is_private: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            content = file.read(MAX_KEY_BYTES + 1)
    except OSError as error:
        raise OptionError(option, f"{str(path)!r} cannot be read: {error.strerror}.") from None
    if len(content) > MAX_KEY_BYTES:
        raise OptionError(option, f"{str(path)!r} is larger than a key.")
    # Its group may read it: Kubernetes mounts a secret like this.
    if is_private and mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise OptionError(
            option,
            f"Others than its owner can use the key in {str(path)!r}: its mode is {mode:04o}.",
            remedy="chmod 0400 closes it. If others may have read it, make a new one.",
        )
    return content


def _loaded(
    content: bytes, path: Path, option: str, load: Callable[[bytes], T | None], remedy: str
) -> T:
    try:
        key = load(content)
    except ModuleNotFoundError:
        raise OptionError(
            option, "Signatures need the extra signing.", remedy="pip install cryptography"
        ) from None
    # An OpenSSL without an algorithm raises errors of its own kinds.
    except Exception:
        raise OptionError(option, f"The key in {str(path)!r} is damaged.", remedy=remedy) from None
    if key is None:
        raise OptionError(option, f"The key in {str(path)!r} is not {_KINDS}.", remedy=remedy)
    return key


def _private_key(content: bytes) -> PrivateKey | None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(content, password=None)
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and key.curve.name == "secp256r1"
    ):
        return PrivateKey(_keyid(key.public_key()), key)
    return None


def _public_key(content: bytes) -> PublicKey | None:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    key = load_pem_public_key(content)
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    ):
        return PublicKey(_keyid(key), key)
    return None


def _keyid(key: Ed25519PublicKey | EllipticCurvePublicKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def _ecdsa(algorithm: Any) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA

    return ECDSA(algorithm)


def _no_key(path: Path, option: str, kind: str, command: str) -> OptionError:
    return OptionError(
        option, f"{str(path)!r} holds no {kind} in PEM.", remedy=f"Make one: {command}."
    )
