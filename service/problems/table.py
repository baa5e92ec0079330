"""The table of all codes that clients can get: what each means, and its status."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """The fixed members of a code.

    Attributes:
        status: The HTTP status.
        title: The problem in a few words.
        example: An example of the detail.
        retry_after_s: The seconds of `Retry-After`, unless the error gives its own.
    """

    status: int
    title: str
    example: str
    retry_after_s: int | None = None


TABLE: dict[str, Row] = {
    "malformed-request": Row(
        400, "The request cannot be read", "The body has no part named checkpoint."
    ),
    "digest-mismatch": Row(
        400,
        "The content was damaged on the way",
        "The content does not have the sha-256 of Content-Digest.",
    ),
    "unauthorized": Row(401, "A key is needed", "The key is not known here."),
    "address-not-allowed": Row(
        403,
        "The address is not allowed",
        "s3://bucket/model.pt is not among the addresses that may be used here. The operator may "
        "name a prefix of it in CONVLAST_SOURCES.",
    ),
    "not-found": Row(404, "There is no such thing", "There is no such job, or it is gone."),
    "method-not-allowed": Row(405, "The method is not allowed", "GET is not allowed here."),
    "not-acceptable": Row(
        406,
        "No acceptable media type",
        "None of the media types in Accept is available. Accept one of application/zip, "
        "application/json, application/octet-stream.",
    ),
    "conflict": Row(
        409,
        "The job has not ended",
        "The job is running. Ask GET /jobs/{id}?wait=30 for its end.",
    ),
    "source-changed": Row(
        409,
        "The source has changed",
        "The object at s3://bucket/model.pt was replaced while it was used. Ask again, for the "
        "one that is there now.",
    ),
    "gone": Row(410, "It is gone", "The job was cancelled."),
    "upload-too-slow": Row(408, "The upload is too slow", "No bytes arrived for 30 s."),
    "upload-too-large": Row(
        413,
        "The upload is too large",
        "The checkpoint has more than 17,179,869,184 bytes (16 GiB). "
        "Raise CONVLAST_MAX_UPLOAD_BYTES to accept it.",
    ),
    "unsupported-media-type": Row(
        415, "The media type is not supported", "The body is neither multipart/form-data nor raw."
    ),
    "range-not-satisfiable": Row(
        416, "The range lies outside the artifact", "The artifact has 1,024 bytes."
    ),
    "invalid-option": Row(
        422, "An option is not valid", "Option smoke has a bad value: input should be 'auto'."
    ),
    "invalid-address": Row(
        422,
        "The address is not valid",
        "s3://bucket/../model.pt is not a valid address. It has a part . or ...",
    ),
    "source-not-found": Row(
        422, "There is no such source", "Nothing is at https://host/models/model.pt."
    ),
    "not-a-checkpoint": Row(422, "Not a checkpoint", "The file is a PNG image."),
    "malformed-checkpoint": Row(
        422, "The checkpoint is damaged", "The file is truncated: its zip directory is missing."
    ),
    "unsafe-checkpoint": Row(
        422, "The checkpoint asks for code", "The pickle asks for os.system, which is no tensor."
    ),
    "program-not-allowed": Row(
        422,
        "Programs are not allowed",
        "The file is TorchScript, which holds code. Set CONVLAST_ALLOW_PROGRAMS=true.",
    ),
    "unsupported-container": Row(
        422, "The kind of file is not supported", "The file cannot be kept exactly: sparse tensors."
    ),
    "limit-exceeded": Row(
        422, "A limit is exceeded", "Too many tensors: 400,000, where max_tensors allows 200,000."
    ),
    "no-conv3d-weights": Row(
        422, "No Conv3d weights", "None of the 42 tensors is the weight of a 3-D convolution."
    ),
    "architecture-not-allowed": Row(
        422, "The architecture is not allowed", "os.system is outside the allowed modules."
    ),
    "architecture-mismatch": Row(
        422,
        "The state dict does not fit",
        "torchvision.models.video.r3d_18 has no key head.weight.",
    ),
    "verification-failed": Row(
        422,
        "The verification failed",
        "The converted model raises where the contiguous one does not; see report.",
    ),
    "too-many-requests": Row(
        429, "Too many requests", "This key has 4 jobs already.", retry_after_s=5
    ),
    "internal": Row(500, "Internal error", "The request id leads to it in the log."),
    "worker-crashed": Row(500, "The worker crashed", "The process of the job ended with SIGSEGV."),
    "store-unavailable": Row(
        502,
        "The store is not available",
        "The store of s3://bucket/model.pt does not answer. Try again later.",
        retry_after_s=30,
    ),
    "queue-full": Row(503, "The queue is full", "All 33 places are taken.", retry_after_s=5),
    "not-ready": Row(503, "Not ready", "The service is draining.", retry_after_s=5),
    "device-lost": Row(503, "The device was lost", "CUDA error: unspecified.", retry_after_s=30),
    "timed-out": Row(
        504, "The job timed out", "The job was stopped after 600 s. Raise CONVLAST_JOB_TIMEOUT_S."
    ),
    "storage-full": Row(507, "The storage is full", "The disk of the work folder is full."),
    "out-of-memory": Row(507, "Out of memory", "The device has no memory left."),
}

_OF_FILES = (
    "invalid-option",
    "not-a-checkpoint",
    "malformed-checkpoint",
    "unsafe-checkpoint",
    "program-not-allowed",
    "unsupported-container",
    "limit-exceeded",
    "no-conv3d-weights",
    "not-ready",
    "storage-full",
    "out-of-memory",
)
WORKER_CODES = {
    "inspect": _OF_FILES,
    "convert": (
        *_OF_FILES,
        "architecture-not-allowed",
        "architecture-mismatch",
        "verification-failed",
        "device-lost",
    ),
}
"""The codes with which a worker may refuse a job, for each verb; the others are the service's."""
