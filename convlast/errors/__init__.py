"""All errors that this library raises on purpose, as one tree with one base.

    ConvlastError                    code, message, remedy, details
    ├─ OptionError                   invalid-option: an option is unknown, bad, or does not fit
    ├─ CheckpointError               the file is at fault; sending it again will not help
    │  ├─ NotACheckpointError        not-a-checkpoint: another kind of file
    │  ├─ MalformedCheckpointError   malformed-checkpoint: truncated or damaged
    │  ├─ UnsafeCheckpointError      unsafe-checkpoint: asks the unpickler for more than tensors
    │  ├─ ProgramNotAllowedError     program-not-allowed: contains code, which was not allowed
    │  ├─ UnsupportedContainerError  unsupported-container: a checkpoint that cannot be kept exactly
    │  ├─ LimitExceededError         limit-exceeded: larger than a limit, which it names
    │  └─ NoConv3dWeightsError       no-conv3d-weights: nothing to convert
    ├─ ArchitectureError
    │  ├─ ArchitectureNotAllowedError   architecture-not-allowed: outside the allowed modules
    │  └─ ArchitectureMismatchError     architecture-mismatch: the state dict does not fit
    ├─ VerificationError             verification-failed: the proof failed; the report says where
    ├─ StoreError                    address
    │  ├─ AddressError               invalid-address: it cannot be read, or does not fit
    │  ├─ AddressNotAllowedError     address-not-allowed: outside the allowed prefixes
    │  ├─ SourceNotFoundError        source-not-found: nothing is there
    │  ├─ SourceChangedError         source-changed: another object is there than before
    │  └─ StoreUnavailableError      store-unavailable: the store is away, fails, or refuses
    ├─ ProvenanceError
    │  ├─ StatementError             invalid-statement: no statement on an artifact, or damaged
    │  ├─ SignatureError             invalid-signature: not signed with the given key
    │  └─ ArtifactChangedError       artifact-changed: not what the statement is about
    ├─ RemoteError                   raised by the client, with the code of the service's problem
    ├─ StorageFullError              storage-full: no room for the artifact
    └─ DeviceError
       ├─ DeviceUnavailableError     not-ready: the requested device is absent or unusable
       ├─ DeviceLostError            device-lost: the device failed while it was in use
       └─ OutOfMemoryError           out-of-memory: host or device memory ran out

For example, `except convlast.ConvlastError as error: print(error.code, error)`.

A message says what is wrong and with which tensor or member; the remedy says what to do.
A convolution that fails in the smoke is not an error: it is a result, and is in the report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, TypeAlias

from convlast.byte_size import exact

Detail: TypeAlias = str | int | float | bool | list[str] | None


class ConvlastError(Exception):
    """The base of all errors raised on purpose.

    Attributes:
        code: A permanent name for programs to test; also the `code` of an HTTP problem.
        message: What is wrong, and with which tensor, member or option.
        remedy: What to do about it; empty if nothing can be done.
        details: The same facts as data, JSON-serialisable.
    """

    code: ClassVar[str] = "internal"

    def __init__(self, message: str, *, remedy: str = "", **details: Detail) -> None:
        self.message = message
        self.remedy = remedy
        self.details: dict[str, Detail] = details
        super().__init__(f"{message} {remedy}".strip())

    def locate(self, file: str) -> None:
        """Add which file of a model folder the error is about."""
        self.details["file"] = file
        self._say(f"{file!r}: {self.message}")

    def add(self, sentence: str) -> None:
        """Add a sentence to the message."""
        self._say(f"{self.message} {sentence}")

    def _say(self, message: str) -> None:
        self.message = message
        self.args = (f"{message} {self.remedy}".strip(),)


class OptionError(ConvlastError, ValueError):
    """An option has an unknown name, a bad value, or does not fit this checkpoint."""

    code = "invalid-option"

    def __init__(self, option: str, message: str, *, remedy: str = "") -> None:
        self.option = option
        super().__init__(message, remedy=remedy, option=option)


class CheckpointError(ConvlastError):
    """The file is at fault."""


class NotACheckpointError(CheckpointError):
    """The file is not a checkpoint, but another kind of file."""

    code = "not-a-checkpoint"


class MalformedCheckpointError(CheckpointError):
    """The file is a checkpoint, but truncated, damaged, or inconsistent."""

    code = "malformed-checkpoint"


class UnsafeCheckpointError(CheckpointError):
    """The file asks the unpickler for objects that are not tensors or plain containers.

    Attributes:
        names: The globals asked for, sorted, as `module.name`.
    """

    code = "unsafe-checkpoint"

    def __init__(self, message: str, *, names: Sequence[str], remedy: str = "") -> None:
        self.names = tuple(names)
        super().__init__(message, remedy=remedy, names=list(names))


class ProgramNotAllowedError(CheckpointError):
    """The file contains a program, and programs were not allowed."""

    code = "program-not-allowed"


class UnsupportedContainerError(CheckpointError):
    """The file is a checkpoint of a kind that cannot be kept exactly."""

    code = "unsupported-container"


class LimitExceededError(CheckpointError):
    """The file is larger than a limit allows.

    Attributes:
        limit: The name of the limit, a field of `convlast.Limits`.
        allowed: Its value.
        found: How much the file needs, in the same unit.
    """

    code = "limit-exceeded"

    def __init__(self, message: str, *, limit: str, allowed: int, found: int) -> None:
        self.limit, self.allowed, self.found = limit, allowed, found
        most = exact(allowed) if limit.endswith("_bytes") else f"{allowed:,}"
        super().__init__(
            f"{message}: {found:,}, where {limit} allows {most}.",
            remedy=f"Raise {limit} (setting CONVLAST_{limit.upper()}) if the file is trusted.",
            limit=limit,
            allowed=allowed,
            found=found,
        )


class NoConv3dWeightsError(CheckpointError):
    """The file has no Conv3d or ConvTranspose3d weight."""

    code = "no-conv3d-weights"


class ArchitectureError(ConvlastError):
    """The architecture that was named cannot be used."""


class ArchitectureNotAllowedError(ArchitectureError):
    """The name is outside the allowed modules."""

    code = "architecture-not-allowed"


class ArchitectureMismatchError(ArchitectureError):
    """The state dict does not fit the architecture."""

    code = "architecture-mismatch"


class VerificationError(ConvlastError):
    """The converted file did not pass its proof, and was not kept.

    Attributes:
        report: The whole report, a `convlast.report.Report`; its findings of severity `error` say
            what is wrong.
    """

    code = "verification-failed"

    # Not annotated with its type: reports contain options, and options import this module.
    def __init__(self, message: str, *, report: Any, remedy: str = "") -> None:
        self.report: Any = report
        super().__init__(message, remedy=remedy)


class StoreError(ConvlastError):
    """An object in a store cannot be read or written.

    Attributes:
        address: Where it is, without a query or a password.
    """

    def __init__(self, message: str, *, address: str, remedy: str = "", **details: Detail) -> None:
        self.address = address
        super().__init__(message, remedy=remedy, address=address, **details)


class AddressError(StoreError, ValueError):
    """The address cannot be read, or is of a kind that does not fit."""

    code = "invalid-address"


class AddressNotAllowedError(StoreError):
    """The address is outside the allowed prefixes."""

    code = "address-not-allowed"


class SourceNotFoundError(StoreError):
    """There is nothing at the address."""

    code = "source-not-found"


class SourceChangedError(StoreError):
    """There is another object at the address than when reading it began."""

    code = "source-changed"


Reason: TypeAlias = Literal["away", "failing", "credentials", "refused", "settings"]
"""Why a store is unavailable: it does not answer; its answers are 5xx, 429 or 408; it does not
accept the credentials; it refuses for another reason; the environment does not say where it is."""


class StoreUnavailableError(StoreError):
    """The store did not do what was asked, however often it was.

    Attributes:
        reason: Why.
    """

    code = "store-unavailable"

    def __init__(
        self, message: str, *, address: str, reason: Reason, remedy: str = "", **details: Detail
    ) -> None:
        self.reason = reason
        super().__init__(message, address=address, remedy=remedy, reason=reason, **details)


class ProvenanceError(ConvlastError):
    """A statement does not hold."""


class StatementError(ProvenanceError):
    """The file is not a statement on an artifact, or is damaged."""

    code = "invalid-statement"


class SignatureError(ProvenanceError):
    """The statement is not signed with the key that was given; `keyid` is in the details."""

    code = "invalid-signature"


class ArtifactChangedError(ProvenanceError):
    """The artifact is not the one that the statement is about; `files` is in the details."""

    code = "artifact-changed"


class RemoteError(ConvlastError):
    """A service, or a gateway in front of it, refused, failed, or did not answer.

    Attributes:
        code: The code of the service's problem; for a gateway's refusal the one that fits it.
    """

    def __init__(self, code: str, message: str, *, remedy: str = "") -> None:
        self.code = code  # type: ignore[misc]  # only this class has no fixed code
        super().__init__(message, remedy=remedy)


class StorageFullError(ConvlastError):
    """There is no room for the artifact."""

    code = "storage-full"


class DeviceError(ConvlastError):
    """The device is at fault, not the file."""


class DeviceUnavailableError(DeviceError):
    """The device that was asked for is absent, or cannot be used."""

    code = "not-ready"


class DeviceLostError(DeviceError):
    """The device failed while it was in use."""

    code = "device-lost"


class OutOfMemoryError(DeviceError):
    """Memory of the host or of the device ran out."""

    code = "out-of-memory"
