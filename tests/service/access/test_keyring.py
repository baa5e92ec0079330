from __future__ import annotations

import itertools
import os
import re
from pathlib import Path, PosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.access.keyfile import ANONYMOUS, KeyFileError
from service.access.keyring import SETTLE_S, Keyring, share_of
from service.errors import UnauthorizedError
from service.settings import Settings, SettingsError
from tests.service.clock import Clock


def keyring(folder: Path, text: str, **more: object) -> Keyring:
    """Write a key file and read it."""
    path = folder / "keys"
    path.write_text(text)
    return Keyring.of(Settings.model_validate({"api_keys_file": path, **more}))


def watched(path: Path, text: str, clock: Clock) -> Keyring:
    """Write a key file and read it, with a clock that the test moves."""
    path.write_text(text)
    path.chmod(0o600)
    return Keyring(path, anonymous_allowed=False, clock=clock, time_of_day=clock.time_of_day)


def is_known(keys: Keyring, key: str) -> bool:
    """Return whether a key is accepted."""
    try:
        keys.owner(f"Bearer {key}")
    except UnauthorizedError:
        return False
    return True


@pytest.fixture
def clock() -> Clock:
    """Return a clock that is years behind that of file times."""
    return Clock()


def test_keys_have_owners(tmp_path: Path) -> None:
    """A named key belongs to its name, and a bare one to a name that does not reveal the key."""
    keys = keyring(tmp_path, "# comment\n\nalice:s3cret-key\nbare-key\n")
    assert keys.owner("Bearer s3cret-key") == "alice"
    assert keys.owner("bearer bare-key").startswith("key-")
    assert "bare-key" not in repr(keys)


@pytest.mark.parametrize(
    "authorization", [None, "Bearer wrong-key", "Basic s3cret-key", "Bearer ", "s3cret-key"]
)
def test_others_are_refused(tmp_path: Path, authorization: str | None) -> None:
    """A request without a known key is refused."""
    with pytest.raises(UnauthorizedError):
        keyring(tmp_path, "alice:s3cret-key\n").owner(authorization)


@pytest.mark.parametrize("authorization", [None, "Basic s3cret-key"])
def test_who_sends_no_bearer_key_is_told_how(tmp_path: Path, authorization: str | None) -> None:
    """The refusal says what to send."""
    with pytest.raises(UnauthorizedError, match="Bearer <key>"):
        keyring(tmp_path, "alice:s3cret-key\n").owner(authorization)


def test_anonymous_use_beside_keys_must_be_meant(tmp_path: Path) -> None:
    """With ALLOW_ANONYMOUS no key is needed, but a wrong one is refused."""
    keys = keyring(tmp_path, "alice:s3cret-key\n", allow_anonymous=True)
    assert keys.owner(None) == ANONYMOUS
    with pytest.raises(UnauthorizedError):
        keys.owner("Bearer wrong-key")


def test_a_file_without_a_key_stops_the_start(tmp_path: Path) -> None:
    """A file with comments only is refused."""
    with pytest.raises(SettingsError, match="holds no key"):
        keyring(tmp_path, "# nothing\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [("alice:s3cret-key", "line 1, .*: end it with a newline"), ("alice:s3cret\n", "8 characters")],
)
def test_a_start_without_a_usable_key_lets_nobody_in(
    tmp_path: Path, text: str, message: str
) -> None:
    """A file without a usable key does not stop the start, and every key is refused."""
    keys = keyring(tmp_path, text)
    assert keys.problem is not None
    assert re.search(f"{message}.* Every key is refused", keys.problem)
    for authorization in (None, "Bearer s3cret", "Bearer s3cret-key", "Bearer alice", "Bearer "):
        with pytest.raises(UnauthorizedError):
            keys.owner(authorization)


def test_a_key_that_is_written_after_the_start_is_known(tmp_path: Path, clock: Clock) -> None:
    """A secret that was half written at the start is accepted once it is complete."""
    path = tmp_path / "keys"
    keys = watched(path, "alice:first-sec", clock)
    path.write_text("alice:first-secret\n")
    clock.pass_by(SETTLE_S)
    assert not is_known(keys, "first-sec")
    clock.pass_by(SETTLE_S)
    assert is_known(keys, "first-secret")
    assert keys.problem is None


def test_keys_change_without_a_restart(tmp_path: Path, clock: Clock) -> None:
    """Once the file has settled, an added key is accepted and a removed one refused."""
    path = tmp_path / "keys"
    keys = watched(path, "alice:old-secret\n", clock)
    path.write_text("alice:old-secret\nalice:new-secret\n")
    assert not is_known(keys, "new-secret")
    clock.pass_by(SETTLE_S)
    assert keys.owner("Bearer old-secret") == keys.owner("Bearer new-secret") == "alice"
    path.write_text("alice:new-secret\n")
    assert is_known(keys, "old-secret")
    clock.pass_by(SETTLE_S)
    assert not is_known(keys, "old-secret")


def test_a_file_that_is_being_written_is_left_alone(tmp_path: Path, clock: Clock) -> None:
    """Each change restarts the waiting time."""
    path = tmp_path / "keys"
    keys = watched(path, "alice:old-secret\n", clock)
    for text in ("", "alice:new-secret\n", "alice:new-secret\nbob:", "alice:new-secret\nbob:a-key"):
        path.write_text(text)
        assert is_known(keys, "old-secret")
        clock.pass_by(SETTLE_S * 0.9)
        assert is_known(keys, "old-secret")
    clock.pass_by(SETTLE_S * 0.2)
    assert is_known(keys, "new-secret")
    assert not is_known(keys, "old-secret")
    assert not is_known(keys, "a-key")
    assert keys.problem
    assert "end it with a newline" in keys.problem


def test_a_key_taken_out_long_ago_does_not_open_once_more(tmp_path: Path, clock: Clock) -> None:
    """After a long silence the first request already uses the current keys."""
    path = tmp_path / "keys"
    keys = watched(path, "alice:old-secret\n", clock)
    path.write_text("alice:new-secret\n")
    clock.set_time_of_day(path.stat().st_ctime + SETTLE_S * 0.9)
    assert is_known(keys, "old-secret")
    keys = watched(path, "alice:old-secret\n", clock)
    path.write_text("alice:new-secret\n")
    clock.set_time_of_day(path.stat().st_ctime + SETTLE_S * 1.1)
    assert not is_known(keys, "old-secret")


def test_an_old_date_does_not_make_a_file_rest(tmp_path: Path, clock: Clock) -> None:
    """An old mtime, as `cp -p` and `tar` set it, does not make a new file settled."""
    path = tmp_path / "keys"
    keys = watched(path, "alice:old-secret\n", clock)
    path.write_text("alice:new-secret\n")
    os.utime(path, (0, 0))
    clock.set_time_of_day(path.stat().st_ctime)
    assert is_known(keys, "old-secret")


def test_a_file_that_was_moved_there_is_read(tmp_path: Path, clock: Clock) -> None:
    """A new file with the same name counts as a change."""
    path, other = tmp_path / "keys", tmp_path / "new"
    keys = watched(path, "alice:old-secret\n", clock)
    other.write_text("alice:new-secret\n")
    other.rename(path)
    assert is_known(keys, "old-secret")
    clock.pass_by(SETTLE_S)
    assert is_known(keys, "new-secret")


class Coarse(PosixPath):
    """A file whose times never change."""

    first: os.stat_result | None = None

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Return the first status again."""
        self.first = self.first or super().stat(follow_symlinks=follow_symlinks)
        return self.first


def test_a_file_that_is_new_at_the_start_is_read_once_more(tmp_path: Path, clock: Clock) -> None:
    """A change right after the start is noticed even if the file times do not show it."""
    path = Coarse(tmp_path / "keys")
    path.touch(0o600)
    path.write_text("alice:old-secret\n")
    keys = Keyring(path, anonymous_allowed=False, clock=clock, time_of_day=clock.time_of_day)
    path.write_text("alice:new-secret\n")
    clock.pass_by(SETTLE_S)
    assert is_known(keys, "new-secret")
    path.write_text("alice:too-late-now\n")
    clock.pass_by(SETTLE_S)
    assert is_known(keys, "new-secret")


class Restless(PosixPath):
    """A file that may change whenever it is read."""

    is_written = True

    def read_bytes(self) -> bytes:
        """Read the file, and then let the writer change it."""
        content = super().read_bytes()
        if self.is_written:
            with self.open("ab") as file:
                file.write(b"bob:another-key\n")
        return content


def test_a_start_takes_no_file_that_changes(tmp_path: Path, clock: Clock) -> None:
    """A file that changes while it is read is refused at the start."""
    with pytest.raises(KeyFileError, match="changed while it was read"):
        watched(Restless(tmp_path / "keys"), "alice:old-secret\n", clock)


def test_what_changes_while_it_is_read_is_not_taken(tmp_path: Path, clock: Clock) -> None:
    """The old keys stay valid, and the reason is reported, until the file settles."""
    path = Restless(tmp_path / "keys")
    path.is_written = False
    keys = watched(path, "alice:old-secret\n", clock)
    path.write_text("alice:new-secret\n")
    assert is_known(keys, "old-secret")
    path.is_written = True
    clock.pass_by(SETTLE_S)
    assert is_known(keys, "old-secret")
    assert keys.problem
    assert "changed while it was read" in keys.problem
    path.is_written = False
    assert is_known(keys, "old-secret")
    clock.pass_by(SETTLE_S)
    assert is_known(keys, "new-secret")
    assert is_known(keys, "another-key")
    assert keys.problem is None


OLD = "alice:alices-old-key\nbob:bobs-only-key\n"
NEW = "# keys\nbob:bobs-only-key\nalice:alices-new-key\ndave-who-has-no-name\ncarol:short\n"
WHOLE = {"alices-old-key", "bobs-only-key", "alices-new-key", "dave-who-has-no-name"}
PARTS = {part.split("\n")[-1].rpartition(":")[2] for part in itertools.accumulate(NEW)} - WHOLE


@given(
    st.lists(st.tuples(st.integers(0, len(NEW)), st.sampled_from([0, 0.5, 1, 9])), max_size=5),
    st.booleans(),
)
def test_a_file_half_written_makes_no_keys(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, float]], by_date: bool
) -> None:
    """Wherever a writer pauses, only complete keys of the old or the new file are accepted."""
    path, clock = tmp_path_factory.mktemp("keys") / "keys", Clock()
    keys = watched(path, OLD, clock)
    for length, pause_s in steps:
        path.write_text(NEW[:length])
        if by_date:
            clock.set_time_of_day(path.stat().st_ctime + pause_s)
        clock.pass_by(pause_s)
        assert not [part for part in PARTS if is_known(keys, part)]
        assert [key for key in WHOLE if is_known(keys, key)]


@pytest.mark.parametrize("broken", ["", "alice:\n", "alice:s3cret-key", "alice:s3cret\n", None])
def test_a_broken_file_keeps_the_keys(tmp_path: Path, broken: str | None, clock: Clock) -> None:
    """If the file is emptied, damaged or removed, this is reported and the old keys stay valid."""
    path = tmp_path / "keys"
    keys = watched(path, "alice:old-secret\n", clock)
    path.unlink() if broken is None else path.write_text(broken)
    assert is_known(keys, "old-secret")
    clock.pass_by(SETTLE_S)
    assert keys.owner("Bearer old-secret") == "alice"
    assert keys.problem
    assert "The earlier keys stay valid." in keys.problem
    assert str(tmp_path) not in keys.problem
    assert "s3cret" not in keys.problem
    path.write_text("bob:another-key\n")
    path.chmod(0o600)
    assert is_known(keys, "old-secret")
    clock.pass_by(SETTLE_S)
    assert keys.owner("Bearer another-key") == "bob"
    assert keys.problem is None


def test_a_key_may_be_any_text(tmp_path: Path) -> None:
    """A key outside ASCII is compared by its bytes."""
    keys = keyring(tmp_path, "alice:schlüssel\N{NO-BREAK SPACE}\n")
    assert keys.owner("Bearer " + "schlüssel".encode().decode("latin-1")) == "alice"


@pytest.mark.parametrize(
    ("owner", "address", "share"),
    [
        ("alice", "10.0.0.7", "alice"),
        (ANONYMOUS, "10.0.0.7", "anonymous 10.0.0.7"),
        (ANONYMOUS, "::ffff:10.0.0.7", "anonymous 10.0.0.7"),
        (ANONYMOUS, "2001:db8:1:2:3::4", "anonymous 2001:db8:1:2::/64"),
        (ANONYMOUS, "fe80::1%eth0", "anonymous fe80::/64"),
        (ANONYMOUS, None, ANONYMOUS),
        (ANONYMOUS, "a socket", ANONYMOUS),
    ],
)
def test_shares(owner: str, address: str | None, share: str) -> None:
    """Each key has a share of its own; clients without one are distinguished by address."""
    assert share_of(owner, address) == share


def test_keys_are_read_again_when_asked(tmp_path: Path, clock: Clock) -> None:
    """A file that has just changed is then read at once; one that cannot be used changes no key."""
    path = tmp_path / "keys"
    keys = watched(path, "alice:the-first-key\n", clock)
    path.write_text("alice:the-second-key\n")
    keys.read_again()
    assert is_known(keys, "the-second-key")
    assert not is_known(keys, "the-first-key")
    path.write_text("alice:\n")
    keys.read_again()
    assert is_known(keys, "the-second-key")
    assert keys.problem is not None
    assert "The earlier keys stay valid." in keys.problem
