"""The verbs, where a source or a target is the address of an object in a store.

    from convlast.addressed import convert

    report = convert("s3://models/vae.pt", "s3://converted/")

The other verbs take what `fetched` yields: a source that is on this machine for a while.
"""

from __future__ import annotations

from convlast.addressed.converting import convert
from convlast.addressed.fetching import Fetched, fetched

__all__ = ["Fetched", "convert", "fetched"]
