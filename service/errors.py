"""The errors of the service, a branch of the tree in `convlast.errors`.

ConvlastError
└─ ServiceError
   ├─ MalformedRequestError      malformed-request: no checkpoint part, a broken multipart body
   ├─ DigestMismatchError        digest-mismatch: the content is not what its digest promised
   ├─ UnauthorizedError          unauthorized: no key, or an unknown one
   ├─ NotFoundError              not-found: no such job or path, or another owner's job
   ├─ GoneError                  gone: a job that was cancelled or removed, or has expired
   ├─ ConflictError              conflict: the result of a job that has not ended
   ├─ MethodNotAllowedError      method-not-allowed
   ├─ NotAcceptableError         not-acceptable: no media type in Accept is available
   ├─ UploadTooSlowError         upload-too-slow
   ├─ UploadTooLargeError        upload-too-large
   ├─ UnsupportedMediaTypeError  unsupported-media-type
   ├─ RangeNotSatisfiableError   range-not-satisfiable: the artifact is shorter
   ├─ TooManyRequestsError       too-many-requests: this client has as many as it may have
   ├─ QueueFullError             queue-full
   ├─ NotReadyError              not-ready: starting, or draining
   ├─ InternalError              internal: a bug in the service; details are in the log
   ├─ WorkerCrashedError         worker-crashed: the process of the job ended without an answer
   └─ TimedOutError              timed-out: the job was stopped at its deadline
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from convlast.byte_size import exact
from convlast.errors import ConvlastError
from convlast.errors.full_disk import full_disk_translated


class ServiceError(ConvlastError):
    """The request, the service or the connection is at fault, not the checkpoint."""


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
    """There is no such job or path, or the job belongs to another owner."""

    code = "not-found"


class GoneError(ServiceError):
    """The job was cancelled or removed, or has expired."""

    code = "gone"


class ConflictError(ServiceError):
    """The job has no result yet."""

    code = "conflict"


class MethodNotAllowedError(ServiceError):
    """The path exists, the method does not."""

    code = "method-not-allowed"


class NotAcceptableError(ServiceError):
    """No media type in `Accept` is available."""

    code = "not-acceptable"


class UploadTooSlowError(ServiceError):
    """The upload stalled, or took too long."""

    code = "upload-too-slow"


class UploadTooLargeError(ServiceError):
    """The checkpoint is larger than the service accepts."""

    code = "upload-too-large"

    @classmethod
    def beyond(cls, max_bytes: int) -> UploadTooLargeError:
        """Return the error for a checkpoint beyond the limit."""
        return cls(
            f"The checkpoint has more than {exact(max_bytes)}.",
            remedy="Raise CONVLAST_MAX_UPLOAD_BYTES to accept it.",
            limit="max_upload_bytes",
            allowed=max_bytes,
        )


class UnsupportedMediaTypeError(ServiceError):
    """The body has a type that the service does not read."""

    code = "unsupported-media-type"


class RangeNotSatisfiableError(ServiceError):
    """The range that was asked for lies outside the artifact."""

    code = "range-not-satisfiable"


class TooManyRequestsError(ServiceError):
    """A client has as many jobs or downloads as it may have."""

    code = "too-many-requests"


class QueueFullError(ServiceError):
    """All places are taken."""

    code = "queue-full"


class NotReadyError(ServiceError):
    """The service is starting or draining."""

    code = "not-ready"


class InternalError(ServiceError):
    """A bug in the service."""

    code = "internal"


class WorkerCrashedError(ServiceError):
    """The process of the job ended without an answer."""

    code = "worker-crashed"

    @classmethod
    def nonsense(cls) -> WorkerCrashedError:
        """Return the error for output that only a broken or compromised worker produces."""
        return cls("The process of the job gave an answer that makes no sense.")


class TimedOutError(ServiceError):
    """The job was stopped at its deadline."""

    code = "timed-out"


def full_disk_as_problem() -> AbstractContextManager[None]:
    """Turn an `OSError` for a full disk into a `StorageFullError`."""
    return full_disk_translated(
        "The disk of the work folder is full.",
        remedy="Try later, or free disk space for CONVLAST_WORK_DIR.",
    )
