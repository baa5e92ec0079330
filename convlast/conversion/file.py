"""One file: from a checkpoint to an artifact and a report.

    open · plan · write · prove · smoke · report · rename

The artifact is made in a hidden folder beside its place, and moved there when all is proven.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

import torch

from convlast.architectures import Case, Spec
from convlast.bytes.digest import Digesting, sha256_of
from convlast.checkpoints import PROGRAMS, Checkpoint, open_checkpoint
from convlast.checkpoints.programs.torchscript import TorchScript
from convlast.checkpoints.programs.zipped_program import ZippedProgram
from convlast.conversion.fastest import narrow_to_fastest, refuse_unmeasurable
from convlast.conversion.inference import Inference, infer
from convlast.devices import device_errors_translated, environment_of, resolve, unused_gpu
from convlast.errors import VerificationError
from convlast.findings import conversion as findings
from convlast.findings import smoke as smoke_findings
from convlast.findings.advice import advise, way_of_loading
from convlast.options import Limits, Options
from convlast.planning.plan import Plan, make_plan
from convlast.planning.selection import Selection
from convlast.progress import Progress, TimedStage
from convlast.proving.program_runs import difference_of_scripts, require_same_results
from convlast.proving.proof import Proven, prove
from convlast.proving.survival import try_routes
from convlast.report import (
    Artifact,
    Finding,
    InputFile,
    Report,
    Survival,
    verdict_of,
)
from convlast.report.smoke import Choice
from convlast.writing.artifact import Written, write_artifact
from convlast.writing.naming import target_container
from convlast.writing.torch_zip import Follow
from convlast.writing.workplace import refuse_misleading_name, refuse_same_file, workplace_beside


@dataclass
class FileConversion:
    """One conversion, and what has been found on the way."""

    source: Path
    options: Options
    limits: Limits
    progress: Progress
    name: str
    sha256: str | None = None
    """The digest of the source, where it is known."""
    routes: list[Survival] = field(default_factory=list)
    """What was found on ways of loading, which treat all files of a folder alike."""
    architecture_prefixes: Sequence[str] | None = None
    """The modules that an architecture may come from; None for the default ones."""
    spec: Spec | None = None
    """What the files beside the source say of its model."""
    choice: Choice | None = None
    """How `select=fastest` chose."""
    findings: list[Finding] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def run(
        self, device_name: str, allow_programs: bool, place: Callable[[str], Path]
    ) -> tuple[Report, Path]:
        """Convert the file.

        Args:
            device_name: Where: `auto`, `cpu`, `cuda` or `cuda:1`.
            allow_programs: Whether the file may hold code.
            place: Tells where the artifact goes, given the container of the file.

        Returns:
            The report, and the artifact.

        Raises:
            ConvlastError: One of its kinds.
        """
        device = resolve(device_name)
        self.findings += smoke_findings.of_troubles(unused_gpu(device_name))
        refuse_unmeasurable(self.options, device)
        checkpoint = self.open(allow_programs)
        selection = Selection(self.options.select)
        plan = self.plan(checkpoint, selection)
        selection.refuse_unmatched()
        return self.convert(checkpoint, plan, device, place(checkpoint.container))

    def open(self, allow_programs: bool) -> Checkpoint:
        """Open the source.

        Raises:
            CheckpointError: If it cannot be opened, or must not be.
        """
        with self._timed("read"):
            self.progress("read", 0, 1)
            return open_checkpoint(self.source, limits=self.limits, allow_programs=allow_programs)

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
        with self._timed("read"):
            return make_plan(checkpoint, self.options.memory_format, selection, self.limits, beside)

    def convert(
        self, checkpoint: Checkpoint, plan: Plan, device: torch.device, target: Path
    ) -> tuple[Report, Path]:
        """Do what was decided; as `run` for the rest."""
        refuse_same_file(self.source, target)
        refuse_misleading_name(target, target_container(self.options, checkpoint.container))
        self.findings += findings.of_plan(plan)
        with workplace_beside(target) as folder, device_errors_translated(device):
            if self.options.select == ("fastest",):
                with self._timed("choose"):
                    case = self._case(checkpoint, plan, device)
                    plan, self.choice = narrow_to_fastest(case)
            made, report = self._make(checkpoint, plan, folder, device, target.name)
            refuse_failed(report)
            made.replace(target)
        return report, target

    def _make(
        self, checkpoint: Checkpoint, plan: Plan, folder: Path, device: torch.device, filename: str
    ) -> tuple[Path, Report]:
        container = target_container(self.options, checkpoint.container)
        with ThreadPoolExecutor(2) as pool:
            input_digest, digests = pool.submit(self._digest), Digesting(pool)
            written = self._write(checkpoint, plan, folder, device, container, digests.begin)
            with self._timed("prove"):
                self.progress("prove", 0, 1)
                proven = prove(
                    checkpoint, plan, written.path, written.casts, self.limits, written.matches
                )
                self.findings += findings.of_comparison(proven.comparison)
                # Before the smoke: a damaged input is refused here, at the latest.
                sha256, crc = digests.result()
            is_cast = bool(written.casts.paths)
            inference = self._infer(checkpoint, plan, device, proven, is_cast=is_cast)
            survival = proven.survival + self._try_routes(plan, proven, folder)
        self.findings += findings.of_casts(written.casts)
        self.findings += findings.of_result(plan, container, unchanged=written.is_unchanged)
        layers = plan.layers()
        for layer in layers:
            layer.smoke = inference.layers.get(layer.name)
        report = Report(
            verdict=verdict_of(self.findings),
            findings=self.findings,
            input=self._input(checkpoint, plan, input_digest.result()),
            artifact=Artifact(
                filename=filename,
                sha256=sha256,
                crc32=crc,
                bytes=written.path.stat().st_size,
                container=container,
                unchanged=written.is_unchanged,
            ),
            options=self.options,
            environment=environment_of(device),
            layers=layers,
            proof=proven.proof,
            survival=survival,
            smoke=inference.smoke,
            advice=advise(
                self.findings,
                inference.smoke,
                filename=filename,
                way=way_of_loading(checkpoint, container),
                wrapper=plan.wrapper_path,
            ),
            seconds=self.seconds,
        )
        return written.path, report

    def _write(
        self,
        checkpoint: Checkpoint,
        plan: Plan,
        folder: Path,
        device: torch.device,
        container: str,
        follow: Follow,
    ) -> Written:
        with self._timed("write"):
            is_cast = self.options.dtype == "float16"
            written = write_artifact(
                checkpoint,
                plan,
                folder,
                device,
                self.progress,
                container=container,
                is_cast=is_cast,
                follow=follow,
            )
            if isinstance(checkpoint, ZippedProgram) and not written.is_unchanged:
                self._try_program(checkpoint, written.path)
            return written

    def _try_program(self, program: ZippedProgram, made: Path) -> None:
        if not isinstance(program, TorchScript):
            require_same_results(self.source, made)
            return
        shape, difference = self.options.input_shape, None
        if shape is not None:
            difference = difference_of_scripts(self.source, made, shape)
        self.findings += findings.of_script(
            was_run=shape is not None,
            difference=difference,
            calls_view=program.calls_view and self.options.memory_format == "channels_last_3d",
        )

    def _infer(
        self,
        checkpoint: Checkpoint,
        plan: Plan,
        device: torch.device,
        proven: Proven,
        *,
        is_cast: bool,
    ) -> Inference:
        case = self._case(checkpoint, plan, device)
        with self._timed("smoke"):
            inference = infer(case, proven.read_converted, is_cast=is_cast, choice=self.choice)
        if inference.smoke.scope == "model":  # which has found out what code alone only hints at
            self.findings = [f for f in self.findings if f.code != "view-in-program"]
        self.findings += inference.findings
        return inference

    def _case(self, checkpoint: Checkpoint, plan: Plan, device: torch.device) -> Case:
        return Case(
            checkpoint,
            plan,
            self.options,
            device,
            self.progress,
            prefixes=self.architecture_prefixes,
            spec=self.spec,
        )

    def _try_routes(self, plan: Plan, proven: Proven, workplace: Path) -> list[Survival]:
        """Try what becomes of the layout, on the smallest weight that has it."""
        converted = [d for d in plan.decisions if d.status in {"converted", "already"}]
        sample = min(converted, key=lambda d: d.original.numel(), default=None)
        is_program = proven.artifact.container in PROGRAMS  # its one route was tried
        if self.options.smoke == "none" or is_program or sample is None:
            return []
        if not sample.original.numel():
            return []
        if not self.routes:
            with self._timed("survival"):
                weight = proven.read_converted(sample)
                self.routes = try_routes(weight, sample.candidate.kind, workplace)
        return self.routes

    def _digest(self) -> str:
        return self.sha256 or sha256_of(self.source)

    def _input(self, checkpoint: Checkpoint, plan: Plan, sha256: str) -> InputFile:
        return InputFile(
            filename=self.name,
            sha256=sha256,
            bytes=self.source.stat().st_size,
            container=checkpoint.container,
            wrapper=plan.wrapper,
        )

    @contextmanager
    def _timed(self, stage: TimedStage) -> Iterator[None]:
        start = perf_counter()
        yield
        self.seconds[stage] = round(self.seconds.get(stage, 0) + perf_counter() - start, 6)


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
