"""One file: from a checkpoint to an artifact and a report.

    open · plan · write · prove · smoke · report · rename

The artifact is made in a hidden folder beside its place, and moved there when all is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

import torch

from convlast.architectures import Case, Spec
from convlast.bytes.digest import Digesting
from convlast.checkpoints.checkpoint import Checkpoint
from convlast.checkpoints.programs.torchscript import TorchScript
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.checkpoints.tree import walk
from convlast.containers import WritableContainer, open_checkpoint
from convlast.containers.artifact import write_artifact
from convlast.containers.naming import refuse_misleading_name, target_container
from convlast.conversion.fastest import narrow_to_fastest, refuse_unmeasurable
from convlast.conversion.file_report import Made, report_of
from convlast.conversion.inference import Inference, infer
from convlast.conversion.job import JobSettings, Source
from convlast.devices import device_errors_translated, resolve, unused_gpu
from convlast.digests.listing import Digests
from convlast.digests.of_file import tensor_digests
from convlast.errors import OptionError, VerificationError
from convlast.findings import smoke as smoke_findings
from convlast.options import Options
from convlast.places.target import place_of
from convlast.places.workplace import refuse_same_file, workplace_beside
from convlast.planning.applying import apply_plan
from convlast.planning.plan import Plan, make_plan
from convlast.planning.selection import Selection
from convlast.progress import IN_BYTES, Stages, TimedStage
from convlast.proving.program_runs import ScriptTrial, require_same_results, try_script
from convlast.proving.proof import Proven, prove
from convlast.proving.survival import try_routes
from convlast.report import Finding, Report, Survival
from convlast.report.smoke import Choice
from convlast.writing.request import Follow, WriteRequest, Written


@dataclass
class FileConversion:
    """One conversion, and what is known before it begins."""

    source: Source
    options: Options
    settings: JobSettings
    keeps_kind: bool = False
    """Whether the artifact is of the input's kind if it can, strides or not."""
    routes: list[Survival] = field(default_factory=list)
    """What was found on ways of loading, which treat all files of a folder alike."""
    spec: Spec | None = None
    """What the files beside the source say of its model."""
    findings: list[Finding] = field(default_factory=list)
    """What was found before the conversion."""
    misfit: OptionError | None = None
    """Why the model of one of several files does not run on the given input."""
    seconds: dict[str, float] = field(default_factory=dict)
    stages: Stages = field(init=False)
    """The progress."""

    def __post_init__(self) -> None:
        self.stages = Stages(self.settings.progress)

    def run(self, place: Callable[[str], Path]) -> tuple[Report, Path]:
        """Convert the file.

        Args:
            place: Tells where the artifact goes, given the container of the file.

        Returns:
            The report, and the artifact.

        Raises:
            ConvlastError: One of its kinds.
        """
        device = resolve(self.settings.device)
        self.findings += smoke_findings.of_troubles(unused_gpu(self.settings.device))
        refuse_unmeasurable(self.options, device)
        checkpoint = self.open()
        selection = Selection(self.options.select)
        plan = self.plan(checkpoint, selection)
        selection.refuse_unmatched()
        return self.convert(checkpoint, plan, device, place(checkpoint.container))

    def open(self) -> Checkpoint:
        """Open the source.

        Raises:
            CheckpointError: If it cannot be opened, or must not be.
        """
        settings = self.settings
        with self._timed("read", ends=False):  # `plan` ends it
            return open_checkpoint(
                self.source.path, limits=settings.limits, allow_programs=settings.allow_programs
            )

    def plan(
        self,
        checkpoint: Checkpoint,
        selection: Selection,
        beside: Mapping[str, torch.Tensor] | None = None,
    ) -> Plan:
        """Decide what will be done.

        Args:
            checkpoint: The source, opened.
            selection: Which layers are converted.
            beside: Tensors of other shards, as for `make_plan`.

        Raises:
            NoConv3dWeightsError: If there is nothing to convert.
        """
        memory_format, limits = self.options.memory_format, self.settings.limits
        with self._timed("read"):
            return make_plan(checkpoint, memory_format, selection, limits, beside)

    def convert(
        self, checkpoint: Checkpoint, plan: Plan, device: torch.device, target: Path
    ) -> tuple[Report, Path]:
        """Do what was decided; as `run` for the rest."""
        container = target_container(self.options, checkpoint.container, keeps_kind=self.keeps_kind)
        place = place_of(target)
        refuse_same_file(self.source.path, place)
        if not self.keeps_kind:  # in a folder the name is the input's own
            refuse_misleading_name(target, container)
        with workplace_beside(place) as folder, device_errors_translated(device):
            case, choice = self._chosen(self._case(checkpoint, plan, device))
            made = self._make(case, container, folder, choice)
            report = report_of(self.source, made, target.name, self.findings, self.seconds)
            refuse_failed(report)
            made.written.path.replace(place)
        return report, target

    def _case(self, checkpoint: Checkpoint, plan: Plan, device: torch.device) -> Case:
        settings = self.settings
        return Case(
            checkpoint,
            plan,
            self.options,
            device,
            self.stages,
            prefixes=settings.architecture_prefixes,
            spec=self.spec,
            is_member=self.keeps_kind,
        )

    def _chosen(self, case: Case) -> tuple[Case, Choice | None]:
        """Narrow the plan to the fastest layers, if that is asked for."""
        if self.options.select != ("fastest",):
            return case, None
        with self._timed("choose"):
            plan, choice = narrow_to_fastest(case)
        return replace(case, plan=plan), choice

    def _make(
        self, case: Case, container: WritableContainer, folder: Path, choice: Choice | None
    ) -> Made:
        """Write the artifact, prove it, and run it."""
        with ThreadPoolExecutor(2) as pool:
            input_digest, digests = (
                pool.submit(self.source.sha256),
                Digesting(pool, self.settings.grown),
            )
            with self._timed("write"):
                plan = apply_plan(case.checkpoint, case.plan, self.options.dtype)
                case = replace(case, plan=plan)
                written = self._write(case, container, folder, digests.begin)
                trial = self._try_program(case, written)
            proven = self._prove(case, written, container)
            roots = self._roots(case, proven)
            # Before the smoke: a damaged input is refused here, at the latest.
            sha256, crc32 = digests.result()
            inference = self._infer(case, proven, choice)
            survival = self._try_routes(case, container, proven, folder)
        return Made(
            case=case,
            container=container,
            written=written,
            trial=trial,
            proven=proven,
            inference=inference,
            survival=survival,
            input_sha256=input_digest.result(),
            sha256=sha256,
            crc32=crc32,
            roots=roots,
        )

    def _write(
        self, case: Case, container: WritableContainer, folder: Path, follow: Follow
    ) -> Written:
        request = WriteRequest(case.checkpoint, case.plan, folder, case.device, self.stages, follow)
        return write_artifact(request, container)

    def _try_program(self, case: Case, written: Written) -> ScriptTrial | None:
        """Run a program before and after, as far as its inputs are known."""
        program = case.checkpoint
        if written.is_unchanged or not isinstance(program, ZippedProgram):
            return None
        if isinstance(program, TorchScript):
            return try_script(program, written.path, self.options.input_shape)
        require_same_results(program.path, written.path)
        return None

    def _prove(self, case: Case, written: Written, container: WritableContainer) -> Proven:
        with self._timed("prove"):
            return prove(case.checkpoint, case.plan, written, container, self.settings.limits)

    def _roots(self, case: Case, proven: Proven) -> tuple[str | None, str | None]:
        """Return the roots of the digests of all tensors, before and after, if they are wanted."""
        if not self.options.tensor_digests:
            return None, None
        limits, artifact = self.settings.limits, proven.artifact
        with self._timed("prove"):
            before = tensor_digests(case.checkpoint, case.plan.entries, limits)
            after = tensor_digests(artifact, walk(artifact.root, limits), limits)
        return Digests.of(before).root, Digests.of(after).root

    def _infer(self, case: Case, proven: Proven, choice: Choice | None) -> Inference:
        with self._timed("smoke", is_told=self.options.smoke != "none"):
            found = infer(case, proven.read_converted, choice)
        self.misfit = found.misfit
        return found

    def _try_routes(
        self, case: Case, container: WritableContainer, proven: Proven, workplace: Path
    ) -> list[Survival]:
        """Say what ways of loading do to the layout; some are tried on the smallest weight."""
        if not case.plan.has_layout:
            return []
        converted = [d for d in case.plan.decisions if d.status in {"converted", "already"}]
        sample = min(converted, key=lambda d: d.original.numel())
        # A program has one route, which the proof has tried.
        if self.options.smoke == "none" or container.holds_code or not sample.original.numel():
            return [proven.survival]
        if not self.routes:
            with self._timed("survival"):
                weight = proven.read_converted(sample)
                self.routes = try_routes(weight, sample.candidate.kind, workplace)
        return [proven.survival, *self.routes]

    @contextmanager
    def _timed(
        self, stage: TimedStage, *, is_told: bool = True, ends: bool = True
    ) -> Iterator[None]:
        """Measure a stage, or a part of one; begin it, and end it if this is its last part."""
        start = perf_counter()
        if is_told and stage not in IN_BYTES:  # those begin when their size is known
            self.stages.begin(stage)
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0) + perf_counter() - start, 6)
        if ends:
            self.stages.end(stage)


def refuse_failed(report: Report) -> None:
    """Refuse what did not pass, unless `on_failure` lets it; its report then has no artifact.

    Raises:
        VerificationError: If it is refused.
    """
    if report.verdict != "failed" or report.options.on_failure == "report":
        return
    errors = [finding for finding in report.findings if finding.severity == "error"]
    more = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    report.artifact = None
    for section in report.files:
        section.artifact = None
    raise VerificationError(
        f"The converted checkpoint did not pass: {errors[0].message}{more}",
        report=report,
        remedy="The report says where. on_failure=report gives the artifact all the same.",
    )
