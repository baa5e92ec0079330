"""Model folders: reading a folder, a zip or a tar, finding its checkpoints, and writing a new one.

Nothing is ever extracted under a name from an archive: a member that is needed as a file is written
to a temporary folder, under a name of our own.
"""

from __future__ import annotations

from pathlib import Path

from convlast.containers import container_of
from convlast.folders.folder import Folder, FolderFile
from convlast.folders.index import IndexedFiles
from convlast.folders.plain import PlainFolder
from convlast.folders.tarred import TarFolder
from convlast.folders.zipped import ZipFolder
from convlast.options import Limits
from convlast.progress import Progress, silent

__all__ = ["Folder", "FolderFile", "open_folder"]


def open_folder(path: Path, workplace: Path, limits: Limits, progress: Progress = silent) -> Folder:
    """Open a model folder, an archive of one, or an index with the shards that it names.

    Args:
        path: Where it is.
        workplace: A folder for temporary files, which are deleted at the latest by `close`.
        limits: The limits to enforce.
        progress: Called with the number of bytes unpacked so far, before they are written.

    Raises:
        CheckpointError: If it cannot be read, is beyond a limit, or has a member that is not a
            plain file under a name that leads into the folder.
    """
    container = container_of(path)
    if container == "zip-folder":
        return ZipFolder(path, workplace, limits)
    if container == "tar-folder":
        return TarFolder(path, workplace, limits, progress)
    if container == "sharded":
        return IndexedFiles(path, limits)
    return PlainFolder(path, limits, workplace)
