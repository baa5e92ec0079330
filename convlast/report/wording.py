"""What errors of others say, in a few words."""

from __future__ import annotations

_SCRIPT = "The following operation failed in the TorchScript interpreter."


def words_of(error: BaseException, raised: BaseException | None = None) -> str:
    r"""Return the type of a foreign error, and its line that says what is wrong.

    That is the first line; of TorchScript, which lists all the places before, it is the last.

    Args:
        error: The error.
        raised: What the last operator raised. TorchScript loses its words where it is watched.

    >>> words_of(ValueError("too small\nand more."))
    'ValueError: too small'
    """
    lines = str(error).strip().splitlines() or [""]
    if lines[0] == _SCRIPT and lines[-1] == "RuntimeError:" and raised is not None:
        return words_of(raised)
    if lines[0] == _SCRIPT:  # then all the places, and what the program raised
        told = (line.partition("Error: ")[2].strip() for line in reversed(lines))
        lines = [next(filter(None, told), lines[-1])]
    return f"{type(error).__name__}: {lines[0].removesuffix('.')[:300]}"
