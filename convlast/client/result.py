"""Where an artifact is written, and its name in the report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePath

from convlast.errors import OptionError
from convlast.jobs import JobStatus
from convlast.places.target import place_of
from convlast.places.workplace import (
    refuse_folder,
    refuse_same_file,
    workplace_beside,
    workplace_in,
)
from convlast.report import Report
from convlast.writing.naming import OF_FOLDERS, converted_folder_name, converted_name


class Place:
    """Where an artifact will be: a file, or a folder in which it gets a name."""

    def __init__(self, target: Path, source: Path | None = None, *, overwrite: bool = True) -> None:
        """Choose a place.

        Args:
            target: The file to write, or the folder for it.
            source: A file that must not be replaced.
            overwrite: Whether another file that is there may be replaced.

        Raises:
            OptionError: If the source, or a file that must stay, is there.
        """
        self._source, self._overwrite = source, overwrite
        self._path = place_of(target)
        self._is_folder = self._path.is_dir()
        if not self._is_folder:
            self._refuse(self._path)

    @contextmanager
    def workplace(self) -> Iterator[Path]:
        """Make a folder for as long as the download takes; leave nothing of it.

        Raises:
            OptionError: If nothing can be written there.
            StorageFullError: If the file system fills up.
        """
        chosen = workplace_in if self._is_folder else workplace_beside
        with chosen(self._path) as folder:
            yield folder

    def settle(self, arrived: Path, job: JobStatus, report: Report) -> Report:
        """Move a whole artifact to its place; return the report with the name that it got.

        Raises:
            OptionError: If the source, a folder, or a file that must stay is there.
        """
        path = self._path
        if self._is_folder:
            filename = self._source.name if self._source else PurePath(job.input.filename).name
            path = place_of(path / _name_for(filename or "artifact", report))
            self._refuse(path)
            refuse_folder(path)
        arrived.replace(path)
        return _named(report, path.name)

    def _refuse(self, path: Path) -> None:
        if self._source is not None:
            refuse_same_file(self._source, path)
        if not self._overwrite and path.exists():
            raise OptionError(
                "output",
                f"{str(path)!r} is there already.",
                remedy="Name another place, or allow to replace it: overwrite=True (--force).",
            )


def refuse_delivery(target: str | None) -> None:
    """Refuse to have the artifact of a file of this machine delivered to a store.

    Raises:
        OptionError: If there is a target.
    """
    if target is not None:
        raise OptionError(
            "output",
            "The service sends the artifact of a file of this machine back, and delivers it to no "
            "store.",
            remedy="Name a place of this machine; or put the file into a store, and name its "
            "address.",
        )


def _name_for(filename: str, report: Report) -> str:
    """Return the artifact's name: the service decides no more of it than the extension."""
    given, made, memory_format = report.input, report.artifact, report.options.memory_format
    if made is not None and made.container in OF_FOLDERS:  # a folder in a store becomes a tar
        return converted_folder_name(filename, memory_format, made.container)
    if given.container in OF_FOLDERS or made is None:
        return converted_folder_name(filename, memory_format, given.container)
    extension = PurePath(made.filename).suffix
    if extension == PurePath(given.filename).suffix:
        extension = PurePath(filename).suffix
    return converted_name(filename, memory_format, extension)


def _named(report: Report, filename: str) -> Report:
    """Return a report in which the artifact has the name that it got here."""
    artifact, advice = report.artifact, report.advice
    if artifact is None or artifact.filename == filename:
        return report
    if advice is not None:
        load = advice.load.replace(repr(artifact.filename), repr(filename))
        advice = advice.model_copy(update={"load": load})
    artifact = artifact.model_copy(update={"filename": filename})
    return report.model_copy(update={"artifact": artifact, "advice": advice})
