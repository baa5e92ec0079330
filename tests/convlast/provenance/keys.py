"""Keys for the tests, made anew in each run: PEM files as openssl writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)


class KeyFiles(NamedTuple):
    """A pair of keys.

    Attributes:
        private: The file of the private key, closed to others.
        public: The file of the public key.
    """

    private: Path
    public: Path


KINDS: dict[str, Callable[[], Any]] = {
    "ed25519": ed25519.Ed25519PrivateKey.generate,
    "p-256": lambda: ec.generate_private_key(ec.SECP256R1()),
}
REFUSED: dict[str, Callable[[], Any]] = {
    "p-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "rsa": lambda: rsa.generate_private_key(public_exponent=65537, key_size=2048),
}


def write_keys(folder: Path, kind: str = "ed25519", *, password: bytes | None = None) -> KeyFiles:
    """Make a pair of keys, and write it."""
    key = {**KINDS, **REFUSED}[kind]()
    closed = BestAvailableEncryption(password) if password else NoEncryption()
    files = KeyFiles(folder / f"{kind}.pem", folder / f"{kind}.pub")
    files.private.touch(0o600)
    files.private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, closed))
    files.public.write_bytes(
        key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return files
