"""The metadata of a safetensors file, as a torch zip file keeps it: in a record of its own.

Many tools read a model's configuration from there. An artifact of the other kind gets it back.
"""

from __future__ import annotations

import json

from convlast.checkpoints.manifest import METADATA_KEY

MEMBER = "extra/safetensors_metadata.json"

MAX_BYTES = 8 << 20
"""The largest record that is read, as large as a safetensors header may be."""


def encode(metadata: dict[str, str]) -> bytes:
    """Return the record.

    >>> encode({"format": "pt", "convlast": "{}", "title": "a"})
    b'{"title": "a"}'
    """
    return json.dumps(authored(metadata)).encode()


def decode(data: bytes) -> dict[str, str]:
    """Read a record; empty if the bytes are not one, because anyone can put bytes there.

    >>> decode(b'{"title": "a"}'), decode(b'{"title": 1}')
    ({'title': 'a'}, {})
    """
    if len(data) > MAX_BYTES:
        return {}
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        return {}
    return authored(found)


def authored(metadata: dict[str, str]) -> dict[str, str]:
    """Return what the file's author put there, beside the manifest and the format's own entry."""
    return {
        key: value
        for key, value in metadata.items()
        if key != METADATA_KEY and (key, value) != ("format", "pt")
    }
