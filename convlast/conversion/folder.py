"""A model folder: every checkpoint in it converted, one after the other, and all else as it was.

look through · for each file: open, plan, write, prove, smoke · report · rename

One file is open at a time, so that memory does not grow with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path, PurePosixPath

import torch

from convlast.architectures import SpecsBeside
from convlast.bytes.reclaiming import Leftovers
from convlast.containers import container_of
from convlast.conversion.fastest import refuse_unmeasurable
from convlast.conversion.file import FileConversion, refuse_failed
from convlast.conversion.folder_digests import add_roots
from convlast.conversion.folder_report import (
    Sections,
    artifact_of_folder,
    input_of_folder,
    unchanged,
)
from convlast.conversion.job import JobSettings, Source
from convlast.devices import environment_of, resolve, unused_gpu
from convlast.errors import CheckpointError, NoConv3dWeightsError, OptionError
from convlast.findings import smoke as smoke_findings
from convlast.findings.advice import advise_on_folder, advise_on_shard
from convlast.folders import Folder, open_folder
from convlast.folders.contents import Contents, Found
from convlast.folders.notes import refuse_other_folder
from convlast.folders.output import FolderOutput, PlainOutput, TarOutput, ZipOutput
from convlast.options import Options
from convlast.places.target import place_of
from convlast.places.workplace import (
    refuse_nested,
    refuse_same_file,
    replace_folder,
    workplace_beside,
)
from convlast.planning.selection import Selection
from convlast.progress import Stages
from convlast.report import Report, Survival

_OUTPUTS: dict[str, Callable[[Path], FolderOutput]] = {
    "zip-folder": ZipOutput,
    "tar-folder": TarOutput,
}
"""What is written for an archive; for all else it is a folder."""


@dataclass
class FolderConversion:
    """One conversion of a folder, and what has been found on the way."""

    source: Source
    options: Options
    settings: JobSettings
    sections: Sections = field(default_factory=Sections)

    def run(self, place: Callable[[str], Path]) -> tuple[Report, Path]:
        """Convert the folder; files that hold code stay as they are unless programs are allowed.

        Args:
            place: Tells where the artifact goes, given the kind of folder.

        Returns:
            The report, and the artifact.

        Raises:
            ConvlastError: One of its kinds; its `details` have the file that is at fault.
        """
        refuse_for_folders(self.options)
        settings, path = self.settings, self.source.path
        device = resolve(settings.device)
        self.sections.findings += smoke_findings.of_troubles(unused_gpu(settings.device))
        refuse_unmeasurable(self.options, device)
        kind = container_of(path)
        named = place(kind)
        target = place_of(named)
        refuse_same_file(path, target)
        if kind == "folder":
            refuse_nested(path, target)
        with (
            workplace_beside(
                target, for_folder=kind not in _OUTPUTS, may_replace=settings.overwrite
            ) as workplace,
            open_folder(path, workplace, settings.limits, settings.progress) as folder,
        ):
            is_replaced = kind not in _OUTPUTS and target.is_dir() and any(target.iterdir())
            if is_replaced:
                refuse_other_folder(target, folder.members, settings.limits)
            with closing(_OUTPUTS.get(kind, PlainOutput)(workplace / "made")) as output:
                for name in folder.bare:
                    output.add_bare(name)
                base = self.source.loaded_as or ("" if kind in _OUTPUTS else named.name)
                converting = _Files(self, folder, output, device, workplace / "one", base)
                converting.convert_all()
            report = self._report(folder, kind, output.path, named.name, device)
            if self.options.tensor_digests:
                add_roots(report, folder, output.path, workplace, self.settings.allow_programs)
            refuse_failed(report)
            if is_replaced:
                refuse_other_folder(target, folder.members, settings.limits)  # it may have changed
                replace_folder(output.path, target)
            else:
                output.path.replace(target)
        return report, named

    def _report(
        self, folder: Folder, kind: str, made: Path, filename: str, device: torch.device
    ) -> Report:
        sections, unpacked = self.sections, self.source.loaded_as
        written = "folder" if kind == "sharded" or unpacked else kind
        filename = unpacked or filename
        return sections.report(
            input_of_folder(folder, self.source, sections),
            artifact_of_folder(made, filename, written, sections.artifacts),
            self.options,
            environment_of(device),
            advise_on_folder(
                sections.files, sections.layers, sections.findings, filename, self.options
            ),
        )


@dataclass
class _Files:
    """The files of a folder on their way to another one."""

    job: FolderConversion
    folder: Folder
    output: FolderOutput
    device: torch.device
    workplace: Path
    place: str
    """The folder that the artifact is; empty for an archive, which is unpacked somewhere."""
    routes: list[Survival] = field(default_factory=list)
    misfits: list[OptionError] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.specs = SpecsBeside(partial(_read_small, self.folder))
        self.stages = Stages(self.job.settings.progress)  # those of one file

    def convert_all(self) -> None:
        """Convert each checkpoint, and copy all else.

        Raises:
            CheckpointError: If nothing in the folder can be converted.
            OptionError: If a pattern matches none of the layers, or `input_shape` fits no model.
        """
        self.workplace.mkdir()
        contents = Contents(self.folder, self.job.options)
        self.job.sections.findings += contents.passed_on.of_folder()
        selection = Selection(self.job.options.select)
        settings = self.job.settings
        done, total, leftovers = 0, self.folder.nbytes, Leftovers()
        for name, member in self.folder.members.items():
            settings.progress("files", done, total)
            with contents.found(name, settings.allow_programs) as found:
                if found is None or not self._tried(found, contents, selection):
                    self._copy(name, found, contents)
            if found is not None and not found.is_closed:
                leftovers.add(member.nbytes)
            done += member.nbytes
        contents.refuse_without_layers(has_layers=bool(self.job.sections.layers))
        selection.refuse_unmatched()
        self._refuse_misfit()
        settings.progress("files", done, total)

    def _tried(self, found: Found, contents: Contents, selection: Selection) -> bool:
        """Convert a checkpoint; say whether that was done, and it was not to be passed on."""
        try:
            is_converted = self._convert(found, contents, selection)
        except CheckpointError as error:
            contents.pass_on(found.name, error)
            is_converted = False
        self.stages.end()
        return is_converted

    def _convert(self, found: Found, contents: Contents, selection: Selection) -> bool:
        """Convert a checkpoint; say whether there was anything to convert in it."""
        if found.is_closed:
            return False
        filename = PurePosixPath(found.name).name
        job = FileConversion(
            Source(found.path, filename, loaded_as=self._path_of(found.name)),
            self.job.options.model_copy(
                update={"on_failure": "report", "tensor_digests": False}  # of all files at once
            ),
            # A closed one does not come here.
            replace(self.job.settings, allow_programs=True, progress=self.stages, grown=None),
            keeps_kind=True,  # other files name it
            routes=self.routes,
            # A shard has a part of the state dict, which no model fits.
            spec=None if found.index else self.specs.of(found.name),
        )
        checkpoint = job.open()
        job.findings += contents.check_shard(found, checkpoint)
        try:
            plan = job.plan(checkpoint, selection, contents.beside(found))
        except NoConv3dWeightsError:
            contents.passed_on.note_unconvertible(found.name, job.findings)
            return False
        report, made = job.convert(checkpoint, plan, self.device, self.workplace / filename)
        self.routes = job.routes
        self.misfits += [job.misfit] if job.misfit else []
        if found.index is not None and report.advice is not None:
            index = self._path_of(found.index.name)
            report.advice = advise_on_shard(report.advice, index)
        self.job.sections.add(found.name, report)
        self.output.add(found.name, made)
        made.unlink(missing_ok=True)
        return True

    def _path_of(self, name: str) -> str:
        """Return the path by which a file is loaded from the artifact, once that is unpacked."""
        return str(PurePosixPath(self.place, name))

    def _refuse_misfit(self) -> None:
        smokes = [file.smoke for file in self.job.sections.files if file.smoke]
        if self.misfits and not any(smoke.scope == "model" for smoke in smokes):
            raise self.misfits[0]

    def _copy(self, name: str, found: Found | None, contents: Contents) -> None:
        """Pass a file on as it is."""
        given = contents.describe(name, found, self.output.copy(self.folder, name))
        noted = contents.passed_on.of_file(name)
        role = contents.role_of(name, found)
        self.job.sections.add_other(name, role, given, noted, unchanged(given))


def _read_small(folder: Folder, name: str) -> bytes | None:
    """Read a small file that may say what a model is."""
    member = folder.members.get(name)
    is_read = member is not None and member.nbytes <= folder.limits.max_header_bytes
    return folder.read(name) if is_read else None


def refuse_for_folders(options: Options) -> None:
    """Refuse what makes no sense for several files that name each other.

    Raises:
        OptionError: If something of that kind is asked for.
    """
    if options.container != "auto" or options.dtype != "keep":
        option = "container" if options.container != "auto" else "dtype"
        raise OptionError(
            option,
            "In a model folder each file keeps its kind and its dtypes: its configuration and its "
            "index name them.",
            remedy="Leave it out, or convert the one file that is meant.",
        )
