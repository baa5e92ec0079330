"""A model folder in a zip archive."""

from __future__ import annotations

import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from convlast.checkpoints.guard.zip_directory import (
    ZipMember,
    find_member,
    open_zip,
    refuse_overlaps,
)
from convlast.containers.sniffing import FolderKind
from convlast.errors import (
    MalformedCheckpointError,
    UnsupportedContainerError,
)
from convlast.folders.folder import (
    CHUNK_BYTES,
    Folder,
    FolderFile,
    refuse_misfit,
    refuse_unpacked,
)
from convlast.folders.member_names import Names, refuse_number, shown
from convlast.options import Limits

_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_UNIX = 3
"""The system whose attributes have a Unix mode in their upper half."""

_MAX_EMPTY_BYTES = 16
"""The most bytes of a folder's entry: to deflate nothing gives two bytes, or a few more."""

_UTF_8 = 0x800
"""The flag of a member whose name is UTF-8."""


class ZipFolder(Folder):
    """A zip archive, read member by member, after checking that directory and headers agree."""

    kind: FolderKind = "zip-folder"

    def __init__(self, path: Path, workplace: Path, limits: Limits) -> None:
        super().__init__(path, workplace, limits)
        self._archive = open_zip(path)
        try:
            self._entries = dict(self._look_through())
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the bytes of a member in pieces; yield the last piece only if the CRC is right."""
        done = 0
        try:
            with self._archive.open(self._entries[name]) as file:
                while chunk := file.read(CHUNK_BYTES):
                    done += len(chunk)
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise MalformedCheckpointError(
                f"Member {shown(name)} is damaged: {error}.",
                remedy="Fetch the archive anew from where it came.",
            ) from error
        refuse_misfit(name, self.members[name].nbytes, done)

    def _look_through(self) -> Iterator[tuple[str, zipfile.ZipInfo]]:
        """Check each member, and yield the files."""
        entries = self._archive.infolist()
        refuse_number(len(entries), self.limits)
        refuse_unpacked(sum(entry.file_size for entry in entries), self.limits)
        names = Names(self.limits)
        stored: dict[str, ZipMember] = {}
        written = {entry: _written_name(entry) for entry in entries}
        separator = _separator_of(written.values())
        with self.path.open("rb") as file:
            for entry in entries:
                whole = written[entry].replace(separator, "/")
                is_folder = whole.endswith("/")
                name = names.take(whole, is_folder=is_folder)
                _refuse_other_than_file(entry, is_folder=is_folder)
                if is_folder:
                    self.bare += [name] if name else []
                    continue
                stored[name] = find_member(entry, file)
                self.members[name] = FolderFile(name, entry.file_size)
                yield name, entry
        refuse_overlaps(stored, end=self._archive.start_dir)


def _written_name(entry: zipfile.ZipInfo) -> str:
    """Return a member's name as its writer meant it.

    macOS and many others write UTF-8 and do not say so; the library then reads code page 437.
    """
    name = entry.orig_filename
    if entry.flag_bits & _UTF_8 or name.isascii():
        return name
    try:
        return name.encode("cp437").decode("utf-8")
    except UnicodeError:
        return name


def _separator_of(names: Iterable[str]) -> str:
    r"""Return what stands between the parts of the names: `\` in some archives of Windows.

    Source: .NET Framework until 4.6, and Windows PowerShell's Compress-Archive:
    https://learn.microsoft.com/dotnet/framework/migration-guide/mitigation-ziparchiveentry-fullname-path-separator

    Raises:
        MalformedCheckpointError: If some names have the one and some the other.
    """
    names = list(names)
    backslashed = next((name for name in names if "\\" in name), None)
    if backslashed is None:
        return "/"
    slashed = next((name for name in names if "/" in name), None)
    if slashed is not None:
        raise MalformedCheckpointError(
            f"Member {shown(backslashed)} has a name that leads elsewhere: it has a backslash, "
            f"where {shown(slashed)} has a slash, so that nobody knows which folder it is in.",
            remedy="Pack it anew with one of them, which is what zip -r, tar and 7-Zip do.",
        )
    return "\\"


def _refuse_other_than_file(entry: zipfile.ZipInfo, *, is_folder: bool) -> None:
    """Refuse links, devices, and members with unsupported compression."""
    name = shown(entry.orig_filename)
    mode = entry.external_attr >> 16 if entry.create_system == _UNIX else 0
    kind = stat.S_IFMT(mode)
    if kind not in {0, stat.S_IFDIR if is_folder else stat.S_IFREG}:
        what = "a link" if kind == stat.S_IFLNK else "neither a file nor a folder"
        raise MalformedCheckpointError(f"Member {name} is {what}.", remedy="Pack it anew without.")
    if is_folder and (entry.file_size or entry.compress_size > _MAX_EMPTY_BYTES):
        raise MalformedCheckpointError(f"Member {name} is a folder, and has bytes.")
    if entry.compress_type not in _METHODS:
        raise UnsupportedContainerError(
            f"Member {name} is compressed in an unusual way.",
            remedy="Pack it anew with zip, or with zip -0, which does not compress.",
        )
    if entry.compress_type == zipfile.ZIP_STORED and entry.compress_size != entry.file_size:
        raise MalformedCheckpointError(f"Member {name} has two sizes.")
