"""What can go wrong between the wire and the worker: a branch of the tree in `convlast.errors`.

ConvlastError
└─ ServiceError
   ├─ MalformedRequestError      malformed-request: no checkpoint part, a broken multipart body
   ├─ DigestMismatchError        digest-mismatch: the content is not what its digest promised
   ├─ UnauthorizedError          unauthorized: no key, or an unknown one
   ├─ NotFoundError              not-found: no such thing, or another owner's
   ├─ MethodNotAllowedError      method-not-allowed
   ├─ NotAcceptableError         not-acceptable: nothing that Accept names can be answered
   ├─ UploadTooSlowError         upload-too-slow
   ├─ UploadTooLargeError        upload-too-large
   ├─ UnsupportedMediaTypeError  unsupported-media-type
   ├─ RangeNotSatisfiableError   range-not-satisfiable: the artifact is shorter
   ├─ TooManyRequestsError       too-many-requests: this key has enough of them
   ├─ QueueFullError             queue-full
   ├─ NotReadyError              not-ready: starting, or draining
   ├─ InternalError              internal: a bug here; the text stands in the log
   ├─ WorkerCrashedError         worker-crashed: the process of the job ended without an answer
   └─ TimedOutError              timed-out: the job was stopped at its deadline
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from convlast.errors import ConvlastError, full_disk_translated


class ServiceError(ConvlastError):
    """The request, the service, or the way between them is at fault, not the checkpoint."""


class MalformedRequestError(ServiceError):
    """The request cannot be read."""

    code = "malformed-request"


class DigestMismatchError(ServiceError):
    """The content is not what its digest promised."""

    code = "digest-mismatch"


class UnauthorizedError(ServiceError):
    """The key is missing or unknown."""

    code = "unauthorized"


class NotFoundError(ServiceError):
    """There is no such thing, or it belongs to another owner."""

    code = "not-found"


class MethodNotAllowedError(ServiceError):
    """The path exists, the method does not."""

    code = "method-not-allowed"


class NotAcceptableError(ServiceError):
    """Nothing that `Accept` names can be answered."""

    code = "not-acceptable"


class UploadTooSlowError(ServiceError):
    """The upload stood still, or took too long."""

    code = "upload-too-slow"


class UploadTooLargeError(ServiceError):
    """The checkpoint is larger than the service accepts."""

    code = "upload-too-large"


class UnsupportedMediaTypeError(ServiceError):
    """The body is of a type that is not read here."""

    code = "unsupported-media-type"


class RangeNotSatisfiableError(ServiceError):
    """The range that was asked for lies outside the artifact."""

    code = "range-not-satisfiable"


class TooManyRequestsError(ServiceError):
    """One key has as many jobs as it may have."""

    code = "too-many-requests"


class QueueFullError(ServiceError):
    """All places are taken."""

    code = "queue-full"


class NotReadyError(ServiceError):
    """The service is starting or draining."""

    code = "not-ready"


class InternalError(ServiceError):
    """A bug here."""

    code = "internal"


class WorkerCrashedError(ServiceError):
    """The process of the job ended without an answer."""

    code = "worker-crashed"

    @classmethod
    def nonsense(cls) -> WorkerCrashedError:
        """Say that a worker has said or left what only one does that is broken, or taken over."""
        return cls("The process of the job gave an answer that makes no sense.")


class TimedOutError(ServiceError):
    """The job was stopped at its deadline."""

    code = "timed-out"


def full_disk_as_problem() -> AbstractContextManager[None]:
    """Turn an `OSError` for want of room in the work folder into a `StorageFullError`."""
    return full_disk_translated(
        "The work folder has no room left.",
        remedy="Try later, or give CONVLAST_WORK_DIR more room.",
    )
