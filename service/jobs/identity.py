"""The id of a job: a digest of all that decides its result."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import PackageNotFoundError, version

from convlast.jobs import JobVerb
from convlast.options import Options
from convlast.version import __version__
from service.settings import Settings


def identify(
    owner: str, verb: JobVerb, filename: str, content: list[str], options: Options, decisive: str
) -> str:
    """Return the id of a job: the same request of the same owner has the same id.

    Args:
        owner: The owner.
        verb: What is asked for.
        filename: The client's name for the checkpoint, which the report and the artifact have.
        content: What decides the result of the checkpoint and its target, see `Source.content`.
        options: The options.
        decisive: What else decides the result, see `decisive`.

    >>> one, other = (identify(who, "convert", "m.pt", ["00"], Options(), "") for who in "ab")
    >>> len(one), one == other
    (64, False)
    """
    parts = [owner, verb, filename, content, options.model_dump(mode="json"), decisive]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def decisive(settings: Settings, device_kind: str, keyid: str | None = None) -> str:
    """Return what decides results beside the requests: versions, device, limits and the key.

    A job is not bound to the key: one that waits is signed by the key of the moment when it ends.

    Args:
        settings: The settings.
        device_kind: The name of the GPU, or `cpu`.
        keyid: The id of the key that signs statements, if there is one and the job makes an
            artifact.
    """
    limits = settings.limits.model_dump(mode="json")
    programs = [settings.allow_programs, settings.architecture_prefixes]
    signed = [keyid] if keyid else []
    return json.dumps([__version__, _torch_version(), device_kind, limits, programs, *signed])


def _torch_version() -> str:
    """Return the version of torch, which this process never imports."""
    try:
        return version("torch")
    except PackageNotFoundError:
        return "none"
