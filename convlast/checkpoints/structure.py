"""The objects of a torch checkpoint, loaded by torch without their data.

`torch.load(weights_only=True)` is the only unpickler, and it runs after the pickle's opcodes
were scanned. So all names that it would refuse are reported at once, and a storage whose size does
not fit the file is refused before memory is allocated for it.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import torch

from convlast.checkpoints.checkpoint import Storage
from convlast.checkpoints.guard import numpy_values
from convlast.checkpoints.guard.allowing import known_names_allowed
from convlast.checkpoints.guard.outlines import Global
from convlast.checkpoints.guard.pickles import Scan, unruled_names, unsafe_names
from convlast.checkpoints.guard.rules import UNSUPPORTED
from convlast.checkpoints.guard.storages import StorageReference
from convlast.errors import (
    ConvlastError,
    LimitExceededError,
    MalformedCheckpointError,
    OutOfMemoryError,
    UnsafeCheckpointError,
    UnsupportedContainerError,
)
from convlast.options import Limits

_REMEDIES = {
    "torch.nn.parameter.UninitializedParameter": "A lazy layer has no weight before its first "
    "input: run the model once, and save it then.",
    "collections.defaultdict": "torch.load(weights_only=True) cannot fill it: make it a dict.",
    "collections.deque": "torch.load(weights_only=True) cannot fill it: make it a list.",
    "mmengine.logging.history_buffer.HistoryBuffer": "mmengine leaves its training curves under "
    "the key message_hub: delete that, and save the rest.",
}
"""What to do about a name, if there is better advice than to save the weights alone.

Source: https://github.com/open-mmlab/mmengine/blob/v0.10.7/mmengine/runner/runner.py
"""

_SAVE_WEIGHTS = "Its owner can save the weights alone: torch.save(model.state_dict(), path)."

_PLAIN_ARRAY = "Store NumPy's dates, records, objects and big-endian numbers as text or numbers. "

_MAX_LISTED = 10


def refuse_unloadable(found: Scan, limits: Limits) -> None:
    """Refuse a pickle that torch must not load, or would not.

    Raises:
        UnsafeCheckpointError: With all names that `weights_only=True` refuses, or that have no
            rule here, or else those that are used in a way that torch.save does not use them.
        UnsupportedContainerError: If it holds tensors that cannot be kept exactly, or has an
            unsupported protocol.
        LimitExceededError: If it refers to more storages than there may be tensors.
    """
    refuse_names(found.names)
    if found.is_framed:
        raise UnsupportedContainerError(
            "The checkpoint was saved with pickle protocol 4 or later, which "
            "torch.load(weights_only=True) does not read.",
            remedy="Save it anew with torch.save's own protocol, which is 2.",
        )
    if found.has_bytes:
        raise UnsupportedContainerError(
            "The checkpoint was saved with pickle protocol 3 and holds bytes or NumPy's numbers, "
            "which torch.load(weights_only=True) does not read in that protocol.",
            remedy="Save it anew with torch.save's own protocol, which is 2.",
        )
    _refuse_misuses(found)
    if len(found.storages) > limits.max_tensors:
        raise LimitExceededError(
            "The checkpoint has many tensors",
            limit="max_tensors",
            allowed=limits.max_tensors,
            found=len(found.storages),
        )


def refuse_names(names: Iterable[Global]) -> None:
    """Refuse a pickle that asks for anything but tensors and plain containers.

    Raises:
        UnsafeCheckpointError: With all the names that are refused.
        UnsupportedContainerError: If it holds tensors that cannot be kept exactly.
    """
    names = list(names)
    if (refused := unsafe_names(names)) or (refused := _unruled(names)):
        raise UnsafeCheckpointError(
            f"The checkpoint asks for more than tensors: {_listed(refused)}.",
            names=refused,
            remedy=" ".join(_remedies(refused)),
        )


def _unruled(names: list[Global]) -> list[str]:
    """Return the names without a rule; refuse tensors that cannot be kept exactly."""
    for entry in names:
        if str(entry) in UNSUPPORTED:
            raise UnsupportedContainerError(
                f"The checkpoint holds {UNSUPPORTED[str(entry)]}, which cannot be kept exactly.",
                remedy="Save it as a dense tensor, or leave it out.",
            )
    return unruled_names(names)


def _listed(names: list[str]) -> str:
    """List the first names; a file can ask for a million."""
    more = f", and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(name[:200] for name in names[:_MAX_LISTED]) + more


def _refuse_misuses(found: Scan) -> None:
    """Refuse a pickle that uses a known class or function in a way that torch does not."""
    if found.misuses:
        name, misuse = next(iter(found.misuses.items()))  # the others often follow from the first
        raise UnsafeCheckpointError(
            f"The checkpoint uses a known name in an unknown way: {name} {misuse}.",
            names=sorted(found.misuses),
            remedy=(_PLAIN_ARRAY if name in numpy_values.NAMES else "") + _SAVE_WEIGHTS,
        )


def load_structure(
    path: Path,
    references: list[StorageReference],
    asks_for: Collection[str],
    *,
    legacy: bool = False,
) -> tuple[object, list[tuple[Storage, StorageReference]]]:
    """Load a checkpoint's objects, and pair each storage with the reference that made it.

    Args:
        path: The file.
        references: The storages that its pickle refers to, in order, from `scan`.
        asks_for: The names that torch has to be allowed to load, from `scan`.
        legacy: Whether it is in torch's legacy format.

    Raises:
        MalformedCheckpointError: If torch cannot load it, or loads other storages than these.
    """
    expected = _loads(references, repeats_empty=not legacy)
    pairs: list[tuple[Storage, StorageReference]] = []

    def record(storage: Storage, location: str) -> Storage:
        reference = next(expected, None)
        if reference is None or (storage.nbytes(), location) != (
            reference.nbytes,
            reference.location,
        ):
            raise MalformedCheckpointError("The pickle loads other storages than it names.")
        pairs.append((storage, reference))
        return storage

    try:
        # Opened here, because torch would load a path that ends in .safetensors as that format.
        with (
            path.open("rb") as file,
            warnings.catch_warnings(),
            torch.serialization.skip_data(),
            known_names_allowed(asks_for),
        ):
            warnings.simplefilter("ignore")
            # torch passes an untyped storage, whatever its annotation says.
            root = torch.load(file, weights_only=True, mmap=False, map_location=record)  # type: ignore[arg-type]
    except ConvlastError:
        raise
    except MemoryError as error:
        raise OutOfMemoryError("Memory ran out while the checkpoint was opened.") from error
    except Exception as error:
        # A hostile file can make the unpickler raise anything.
        raise MalformedCheckpointError(
            f"PyTorch cannot load the checkpoint: {type(error).__name__}: {_reason(error)}.",
            remedy="It is probably damaged: load it where it came from, and save it anew.",
        ) from error
    for storage, reference in pairs:
        if storage.nbytes() != reference.nbytes:  # torch enlarges one that is too small
            raise MalformedCheckpointError(
                f"A tensor reaches past the end of its storage {reference.key!r}."
            )
    return root, pairs


def _remedies(refused: Iterable[str]) -> Iterator[str]:
    """Say what the owner of a file that asks for these names can do."""
    known = [_REMEDIES[name] for name in refused if name in _REMEDIES]
    yield from known or [
        "Loading it would import these. Its owner can save the weights alone: "
        "torch.save(model.state_dict(), path)."
    ]
    if not numpy_values.is_present() and not numpy_values.NAMES.isdisjoint(refused):
        yield "Its values are NumPy's: they are read where NumPy is installed (pip install numpy)."


def _reason(error: Exception) -> str:
    """Return the first line of torch's message, without its advice to trust the file."""
    text = str(error).rpartition("WeightsUnpickler error:")[2].strip()
    return text.partition("\n")[0][:200].rstrip(".")


def _loads(
    references: list[StorageReference], *, repeats_empty: bool
) -> Iterator[StorageReference]:
    """Yield the references for which torch makes a storage.

    It makes one for the first reference to each key; in a zip, for each reference to an empty one.
    """
    seen: set[str] = set()
    for reference in references:
        if reference.key not in seen:
            yield reference
        if reference.nbytes or not repeats_empty:
            seen.add(reference.key)
