from __future__ import annotations

import base64
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from hypothesis import given
from hypothesis import strategies as st
from securesystemslib.dsse import Envelope as TheirEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from convlast.errors import OptionError, SignatureError
from convlast.provenance.envelope import STATEMENT, Envelope, Signature, pae
from convlast.provenance.reading import read_file
from convlast.provenance.signing import PrivateKey, PublicKey, read_private_key, read_public_key
from tests.convlast.provenance.keys import KINDS, REFUSED, write_keys

PAYLOAD = b'{"_type": "https://in-toto.io/Statement/v1"}'


@pytest.fixture(scope="module", params=KINDS)
def pair(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PrivateKey, PublicKey]:
    """A pair of keys of each kind."""
    files = write_keys(tmp_path_factory.mktemp("keys"), request.param)
    return read_private_key(files.private), read_public_key(files.public)


@given(kind=st.text(max_size=40), payload=st.binary(max_size=200))
def test_what_is_signed_is_that_of_others(kind: str, payload: bytes) -> None:
    """The encoding is that of an independent implementation, for all types and payloads."""
    theirs = TheirEnvelope(payload=payload, payload_type=kind, signatures={})
    assert pae(kind, payload) == theirs.pae()


@given(st.tuples(st.text(max_size=9), st.binary(max_size=9)), st.data())
def test_two_statements_are_never_signed_as_one(
    one: tuple[str, bytes], data: st.DataObject
) -> None:
    """No type and payload have the encoding of another pair."""
    other = data.draw(st.tuples(st.text(max_size=9), st.binary(max_size=9)))
    assert (pae(*one) == pae(*other)) == (one == other)


def test_what_was_signed_is_found_to_be(pair: tuple[PrivateKey, PublicKey]) -> None:
    """Both kinds of key sign, and both halves of a pair have one id."""
    private, public = pair
    envelope = private.sign(PAYLOAD)
    public.require_signed(envelope)
    assert envelope.payload == PAYLOAD
    assert envelope.signatures[0].keyid == private.keyid == public.keyid
    assert len(public.keyid) == 64


@given(at=st.integers(0, len(PAYLOAD) - 1), bit=st.integers(0, 7))
def test_a_changed_statement_is_refused(
    pair: tuple[PrivateKey, PublicKey], at: int, bit: int
) -> None:
    """Whichever bit of it is changed."""
    private, public = pair
    changed = bytearray(PAYLOAD)
    changed[at] ^= 1 << bit
    with pytest.raises(SignatureError):
        public.require_signed(replace(private.sign(PAYLOAD), payload=bytes(changed)))


@given(at=st.integers(0, 63), bit=st.integers(0, 7))
def test_a_changed_signature_is_refused(
    pair: tuple[PrivateKey, PublicKey], at: int, bit: int
) -> None:
    """Whichever bit of it is changed, and whatever is cut off."""
    private, public = pair
    value = bytearray(private.sign(PAYLOAD).signatures[0].value)
    value[at] ^= 1 << bit
    for odd in (bytes(value), bytes(value[:at]), b""):
        assert not public.has_signed(Envelope(PAYLOAD, (Signature(public.keyid, odd),)))


def test_another_key_is_refused(tmp_path: Path, pair: tuple[PrivateKey, PublicKey]) -> None:
    """Its id in the envelope helps nobody: the id is a hint."""
    other = read_public_key(write_keys(tmp_path).public)
    signed = pair[0].sign(PAYLOAD)
    claimed = Envelope(PAYLOAD, (Signature(other.keyid, signed.signatures[0].value),))
    for envelope in (signed, claimed):
        with pytest.raises(SignatureError) as refused:
            other.require_signed(envelope)
        assert refused.value.details["keyid"] == other.keyid


def test_one_good_signature_of_several_is_enough(pair: tuple[PrivateKey, PublicKey]) -> None:
    """Others may have signed too, and before, and say nothing of their keys."""
    private, public = pair
    good = private.sign(PAYLOAD).signatures[0]
    envelope = Envelope(PAYLOAD, (Signature("", b"another"), Signature("", good.value)))
    public.require_signed(envelope)


@pytest.mark.parametrize("kind", KINDS)
def test_others_accept_what_is_signed_here(tmp_path: Path, kind: str) -> None:
    """An independent implementation of DSSE finds the signature good."""
    files = write_keys(tmp_path, kind)
    envelope = read_private_key(files.private).sign(PAYLOAD)
    (tmp_path / "envelope").write_bytes(envelope.text())
    theirs = TheirEnvelope.from_dict(
        {
            "payload": base64.b64encode(envelope.payload).decode(),
            "payloadType": STATEMENT,
            "signatures": [
                {"keyid": each.keyid, "sig": base64.b64encode(each.value).decode()}
                for each in envelope.signatures
            ],
        }
    )
    key = load_pem_public_key(files.public.read_bytes())
    public = SSlibKey.from_crypto(key, keyid=envelope.signatures[0].keyid)
    assert theirs.verify([public], 1)


@pytest.mark.parametrize("kind", KINDS)
def test_what_others_sign_is_accepted_here(tmp_path: Path, kind: str) -> None:
    """The envelope of an independent implementation is read, and its signature found good."""
    files = write_keys(tmp_path, kind)
    signer = CryptoSigner(load_pem_private_key(files.private.read_bytes(), None))
    theirs = TheirEnvelope(payload=PAYLOAD, payload_type=STATEMENT, signatures={})
    theirs.sign(signer)
    path = tmp_path / "envelope.json"
    path.write_text(json.dumps(theirs.to_dict()))
    envelope = read_file(path)
    assert isinstance(envelope, Envelope)
    read_public_key(files.public).require_signed(envelope)


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_of_key_are_refused(tmp_path: Path, kind: str) -> None:
    """Each is named for what it is not, with the command for another; neither half is taken."""
    files = write_keys(tmp_path, kind)
    with pytest.raises(OptionError, match=r"Ed25519 key, or an ECDSA key.*openssl genpkey"):
        read_private_key(files.private)
    with pytest.raises(OptionError, match=r"Ed25519 key, or an ECDSA key.*openssl pkey"):
        read_public_key(files.public)


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    """Nobody is asked for a password; the message says how to decrypt it."""
    files = write_keys(tmp_path, password=b"secret")
    with pytest.raises(OptionError, match=r"is encrypted.*openssl pkey"):
        read_private_key(files.private)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o777])
def test_a_key_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    """Readable by others, or writable by its group: the message says how to close it."""
    files = write_keys(tmp_path)
    files.private.chmod(mode)
    with pytest.raises(OptionError, match=f"mode is {mode:04o}.*chmod"):
        read_private_key(files.private)


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640])
def test_a_closed_key_is_taken(tmp_path: Path, mode: int) -> None:
    """Its group may read it: so Kubernetes mounts a secret."""
    files = write_keys(tmp_path)
    files.private.chmod(mode)
    assert read_private_key(files.private).keyid == read_public_key(files.public).keyid


def test_the_halves_are_not_mixed_up(tmp_path: Path) -> None:
    """A public key does not sign, and a private key is not handed around to check with."""
    files = write_keys(tmp_path)
    files.public.chmod(0o600)
    with pytest.raises(OptionError, match="no private key"):
        read_private_key(files.public)
    with pytest.raises(OptionError, match="no public key"):
        read_public_key(files.private)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """Whatever it is, the error is one of the tree, and shows nothing of the content."""
    path = tmp_path / "key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(OptionError) as refused:
        read_private_key(path)
    assert "AAAA" not in str(refused.value)
    with pytest.raises(OptionError):
        read_public_key(path)
    path.write_bytes(b"x" * (17 << 10))
    with pytest.raises(OptionError, match="larger than a key"):
        read_public_key(path)
    with pytest.raises(OptionError, match="cannot be read"):
        read_public_key(tmp_path / "absent")


def test_a_key_shows_nothing_of_itself(tmp_path: Path) -> None:
    """In a traceback, or in a log, stands its id alone."""
    key = read_private_key(write_keys(tmp_path).private)
    assert repr(key) == str(key) == f"<PrivateKey {key.keyid}>"


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without cryptography the error says which extra brings it."""
    files = write_keys(tmp_path)
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(OptionError, match="extra signing"):
        read_private_key(files.private)
    with pytest.raises(OptionError, match="extra signing"):
        read_public_key(files.public)
