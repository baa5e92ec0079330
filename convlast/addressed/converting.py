"""`convert`, from an address or to one, with what can go on side by side.

Torch is imported while the source arrives, which is hashed on its way. The artifact is sent while
it is written, proven and run. A conversion begins when all of its source is there: the directory of
a checkpoint is at its end.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from convlast.addressed.background import Background
from convlast.addressed.fetching import Fetched, fetched, scratch
from convlast.addressed.places import address_of, place_in, refuse_file, refuse_taken, refuse_within
from convlast.containers import container_of
from convlast.options import Limits, Options
from convlast.progress import Progress, silent
from convlast.report import Report
from convlast.stores.address import Address, is_address

if TYPE_CHECKING:
    from convlast.conversion import JobSettings
    from convlast.stores.opening import StoreOptions

_OPTIONS = Options()
_LIMITS = Limits()


def convert(  # noqa: PLR0913  # the face of convlast.convert, and how stores are asked
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    options: Options = _OPTIONS,
    *,
    device: str = "auto",
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    architecture_prefixes: Sequence[str] | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    stores: StoreOptions | None = None,
) -> Report:
    """Convert a checkpoint's Conv3d weights as `convlast.convert` does, from or to a store.

    In a store the artifact appears whole or not at all, after its report (`.report.json`,
    `.report.html`) and its digest (`.sha256`), which lie beside it. The files of a model folder
    appear one by one; its report comes last, and says that all are there.

    Args:
        source: A path, or an address; that of a model folder ends with a slash.
        target: A path, or an address: of the file, or, with a slash at its end, of the folder for
            it. For a model folder it is the folder to make.
        options: What to convert, and how.
        device: `auto`, `cpu`, `cuda` or `cuda:1`.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.
        architecture_prefixes: The modules that an architecture may come from; None for the
            default ones.
        progress: Called as `progress(stage, done, total)`; beside the stages of a conversion
            there are `download` and `upload`.
        overwrite: Whether an artifact that is there may be replaced. A folder in a store never is.
        stores: How stores are asked.

    Returns:
        The report.

    Raises:
        OptionError: If an option does not fit, or something is at the target.
        StoreError: If the source cannot be fetched, or the artifact cannot be put.
        ConvlastError: Another of its kinds; see `convlast.errors`.
    """
    given, target = os.fsdecode(source), os.fsdecode(target)
    there = Address.parse(target) if is_address(target) else None
    told = progress or silent
    if not overwrite:
        _refuse_early(there or Path(target), stores)
    with fetched(
        given, limits=limits, progress=told, stores=stores, meanwhile=_import_torch
    ) as found:
        from convlast.containers.naming import artifact_place
        from convlast.conversion import JobSettings, convert_to

        settings = JobSettings(
            device, limits, allow_programs, architecture_prefixes, told, overwrite
        )
        if there is None:
            kind = container_of(found.path)
            place = artifact_place(Path(target), found.path.name, options, kind)
            refuse_within(address_of(str(place)), given)
            if not overwrite:
                refuse_file(place)
            return convert_to(found.as_source(), target, options, settings)
        return _convert_into_store(given, found, there, options, settings, stores)


def _convert_into_store(
    given: str,
    found: Fetched,
    target: Address,
    options: Options,
    settings: JobSettings,
    stores: StoreOptions | None,
) -> Report:
    from convlast.addressed.delivering import put_folder, put_report
    from convlast.addressed.early import EarlyUpload
    from convlast.containers.naming import artifact_filename, becomes_a_folder
    from convlast.conversion import convert_to
    from convlast.stores.opening import StoreOptions

    stores = stores or StoreOptions()
    kind = container_of(found.path)
    filename = artifact_filename(found.path.name, options, kind)
    place = place_in(target, filename, is_folder=becomes_a_folder(kind))
    refuse_within(place, given)
    with scratch() as folder, Background() as background:
        if not settings.overwrite or place.is_folder:
            background.run(refuse_taken(place, stores))
        made = folder / place.name
        about_bytes = found.path.stat().st_size
        with EarlyUpload(background, place, about_bytes, stores) as upload:
            report = convert_to(
                found.as_source(), made, options, replace(settings, grown=upload.grown)
            )
            if place.is_folder:
                background.run(put_folder(made, place, stores, settings.progress))
            background.run(put_report(report, place, stores, folder))
            if not place.is_folder:
                upload.finish(made, settings.progress)
    return report


def _refuse_early(target: Address | Path, stores: StoreOptions | None) -> None:
    """Refuse a target that is there before anything is fetched, if it is known by its name.

    Raises:
        OptionError: If it is there.
        StoreError: If the store does not say.
    """
    if isinstance(target, Path):
        refuse_file(target)
    elif not target.is_folder:
        with Background() as background:
            background.run(refuse_taken(target, stores))


def _import_torch() -> None:
    import convlast.conversion  # noqa: F401  # it takes seconds
