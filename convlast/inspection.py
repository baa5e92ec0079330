"""`inspect`: what a conversion would do, without doing it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Unpack

import torch

from convlast.checkpoints.checkpoint import Checkpoint
from convlast.containers import container_of, is_folder, open_checkpoint
from convlast.containers.naming import artifact_filename, target_container
from convlast.conversion.file_report import input_of
from convlast.conversion.folder import refuse_for_folders
from convlast.conversion.folder_report import Sections, input_of_folder
from convlast.conversion.job import JobSettings, PathLike, Source
from convlast.devices import environment_of, on_the_cpu
from convlast.errors import CheckpointError, ConvlastError, NoConv3dWeightsError
from convlast.findings import conversion as findings
from convlast.folders import Folder, open_folder
from convlast.folders.contents import Contents, Found
from convlast.options import Limits, Options
from convlast.options.keywords import INSPECTED, InspectionKeywords
from convlast.places.workplace import temporary_folder
from convlast.planning.applying import apply_plan
from convlast.planning.plan import make_plan
from convlast.planning.selection import Selection
from convlast.progress import Portions, Progress, silent
from convlast.report import Report, verdict_of
from convlast.report.clock import now

_LIMITS = Limits()
_ARCHIVES = {"zip-folder", "tar-folder"}


@on_the_cpu()
def inspect(
    source: PathLike | Source,
    options: Options | None = None,
    *,
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    progress: Progress | None = None,
    **keywords: Unpack[InspectionKeywords],
) -> Report:
    """Report the convolution weights of a checkpoint; convert nothing, and need no GPU.

    Args:
        source: The checkpoint, or model folder.
        options: What a conversion would be asked for; `memory_format` and `select` count.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.
        progress: Called as `progress(stage, done, total)`, in bytes; the stage is `digest`, or
            `files` for a model folder.
        **keywords: Options by name, such as `select="encoder.*"`; they replace those in `options`.

    Returns:
        A report whose layers are `convertible`, `already`, `kept` or `skipped`.

    Raises:
        OptionError: If an option is unknown, bad, or does not fit the checkpoint.
        ConvlastError: Another of its kinds; see `convlast.errors`.
        OSError: If the source cannot be read.
    """
    given = Source.of(source)
    others = JobSettings.__annotations__
    options = Options.combined(options, keywords, names=INSPECTED, others=others)
    Limits.require(limits, "limits")
    advance = progress or silent
    inspection = _Inspection(options, Selection(options.select), limits)
    if is_folder(given.path):
        with (
            temporary_folder() as workplace,
            open_folder(given.path, workplace, limits, advance) as folder,
        ):
            return inspection.of_folder(folder, given, allow_programs, advance)
    checkpoint = open_checkpoint(given.path, limits=limits, allow_programs=allow_programs)
    report = inspection.of_file(checkpoint, given, progress=advance)
    inspection.selection.refuse_unmatched()
    return report


@on_the_cpu()
def inspect_if_unchanged(
    source: PathLike,
    options: Options,
    *,
    limits: Limits = _LIMITS,
    allow_programs: bool = False,
    progress: Progress = silent,
) -> Report | None:
    """Report on a checkpoint, or model folder, in which a conversion would change nothing.

    Args:
        source: The checkpoint, or model folder.
        options: What a conversion would be asked for.
        limits: What the file may cost.
        allow_programs: Whether files that hold code may be opened.
        progress: As for `inspect`.

    Returns:
        The report, with the finding `nothing-to-change`. None if something would change; if only a
        measurement tells (`select=fastest`, `min_speedup`); or if the source or an option is
        refused, as the conversion will say.
    """
    if options.select == ("fastest",) or options.min_speedup is not None:
        return None
    try:
        if _would_change(Path(source), options, limits, allow_programs=allow_programs):
            return None
        report = inspect(
            source, options, limits=limits, allow_programs=allow_programs, progress=progress
        )
    except ConvlastError:  # also a temporary folder that is full, which a conversion does not use
        return None
    report.findings.append(findings.nothing_to_change())
    return report


def _would_change(path: Path, options: Options, limits: Limits, *, allow_programs: bool) -> bool:
    """Return whether a conversion would change anything; no data is read.

    Raises:
        CheckpointError: If the file cannot be opened, or nothing in it can be converted.
        OptionError: If an option does not fit.
    """
    if not is_folder(path):
        checkpoint = open_checkpoint(path, limits=limits, allow_programs=allow_programs)
        selection = Selection(options.select)
        is_other = _would_change_file(checkpoint, options, selection, limits)
        selection.refuse_unmatched()
        return is_other
    refuse_for_folders(options)
    kind = container_of(path)
    if kind in _ARCHIVES and path.name != artifact_filename(path.name, options, kind):
        return True  # it is unpacked to look only if its name says that it is converted
    selection = Selection(options.select)
    with temporary_folder() as workplace, open_folder(path, workplace, limits) as folder:
        contents = Contents(folder, options)
        for name in folder.members:
            with contents.found(name, allow_programs) as found:
                if found is None or found.is_closed:
                    continue
                try:
                    checkpoint = open_checkpoint(found.path, limits=limits, allow_programs=True)
                    beside = contents.beside(found)
                    if _would_change_file(checkpoint, options, selection, limits, beside):
                        return True
                except CheckpointError:
                    continue  # it is passed on as it is
    selection.refuse_unmatched()
    return False


def _would_change_file(
    checkpoint: Checkpoint,
    options: Options,
    selection: Selection,
    limits: Limits,
    beside: Mapping[str, torch.Tensor] | None = None,
) -> bool:
    """Return whether a conversion would change a checkpoint; `beside` is given in a folder."""
    plan = make_plan(checkpoint, options.memory_format, selection, limits, beside)
    plan = apply_plan(checkpoint, plan, options.dtype)
    container = target_container(options, checkpoint.container, keeps_kind=beside is not None)
    return plan.changes_bytes or container.name != checkpoint.container


@dataclass(frozen=True)
class _Inspection:
    """What is asked for, of a file or of all of a folder."""

    options: Options
    selection: Selection
    limits: Limits

    def of_file(
        self,
        checkpoint: Checkpoint,
        source: Source,
        beside: Mapping[str, torch.Tensor] | None = None,
        progress: Progress = silent,
    ) -> Report:
        """Report on one checkpoint."""
        memory_format = self.options.memory_format
        plan = make_plan(checkpoint, memory_format, self.selection, self.limits, beside)
        layers = plan.layers()
        for layer in layers:
            if layer.status == "converted":
                layer.status = "convertible"
        found = [*findings.of_plan(plan), *findings.of_left_out(checkpoint.left_out)]
        return Report(
            made_at=now(),
            verdict=verdict_of(found),
            findings=found,
            input=input_of(checkpoint, plan, source.name, source.sha256(progress)),
            options=self.options,
            environment=environment_of(torch.device("cpu")),
            layers=layers,
        )

    def of_folder(
        self, folder: Folder, source: Source, allow_programs: bool, progress: Progress
    ) -> Report:
        """Report on each checkpoint of a folder, and on what stands beside them."""
        contents, sections = Contents(folder, self.options), Sections()
        sections.findings += contents.passed_on.of_folder()
        portions = Portions(progress, "files", folder.nbytes)
        for path, member in folder.members.items():
            with contents.found(path, allow_programs) as found:
                report = self._tried(found, contents) if found else None
                if report is not None:
                    sections.add(path, report)
                else:
                    given = contents.describe(path, found, folder.digest(path))
                    noted = contents.passed_on.of_file(path)
                    sections.add_other(path, contents.role_of(path, found), given, noted, None)
            portions.add(member.nbytes)
        contents.refuse_without_layers(has_layers=bool(sections.layers))
        self.selection.refuse_unmatched()
        given = input_of_folder(folder, source, sections)
        environment = environment_of(torch.device("cpu"))
        return sections.report(given, None, self.options, environment)

    def _tried(self, found: Found, contents: Contents) -> Report | None:
        """Report on a checkpoint; none as for `_of_member`, or if it cannot be opened."""
        try:
            return self._of_member(found, contents)
        except CheckpointError as error:
            contents.pass_on(found.name, error)
            return None

    def _of_member(self, found: Found, contents: Contents) -> Report | None:
        """Report on a checkpoint; none where nothing in it is to be converted, or it is closed."""
        if found.is_closed:
            return None
        checkpoint = open_checkpoint(found.path, limits=self.limits, allow_programs=True)
        noted = list(contents.check_shard(found, checkpoint))
        try:
            source = Source(found.path, PurePosixPath(found.name).name)
            report = self.of_file(checkpoint, source, contents.beside(found))
        except NoConv3dWeightsError:
            contents.passed_on.note_unconvertible(found.name, noted)
            return None
        report.findings += noted
        return report
