"""Which lanes there are: one for each GPU that is meant, or several on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convlast.errors import DeviceUnavailableError
from service.workers import known_trouble


def named_devices(setting: str) -> list[str]:
    """Return the devices that a setting names; `auto` and `cuda` name none yet.

    >>> named_devices("cuda:0,2"), named_devices("cuda")
    (['cuda:0', 'cuda:2'], ['cuda'])
    """
    kind, _, indices = setting.partition(":")
    return list(dict.fromkeys(f"{kind}:{int(index)}" for index in indices.split(",") if index)) or [
        setting
    ]


def lanes_after_survey(setting: str, facts: Mapping[str, Any], cpu_lanes: int) -> list[str]:
    """Return the device of each lane, given what the first worker reported.

    Args:
        setting: The setting `CONVLAST_DEVICE`.
        facts: The facts of a worker on the first of these devices.
        cpu_lanes: How many lanes there are on the CPU.

    Raises:
        DeviceUnavailableError: If the setting names a GPU that does not exist.

    >>> lanes_after_survey("auto", {"device": "cuda:0", "gpus": 2}, 4)
    ['cuda:0', 'cuda:1']
    >>> lanes_after_survey("auto", {"device": "cpu"}, 2)
    ['cpu', 'cpu']
    """
    gpus = facts.get("gpus")
    count = gpus if isinstance(gpus, int) else 0
    devices = named_devices(setting)
    if devices != [setting] or setting.startswith("cuda:"):
        absent = [each for each in devices if 0 < count <= int(each.partition(":")[2])]
        if absent:
            raise DeviceUnavailableError(
                f"The device {absent[0]} cannot be used: the last GPU that CUDA sees is "
                f"cuda:{count - 1}.",
                remedy="Name others in CONVLAST_DEVICE, or set it to cuda to use all.",
            )
        return devices
    if count and str(facts.get("device")).startswith("cuda"):
        return [f"cuda:{index}" for index in range(count)]
    # A worker on `auto` reports in each report why it does not use the GPU, if there is one.
    is_plain = setting == "auto" and facts.get("device") == "cpu" and not known_trouble(dict(facts))
    return ["cpu" if is_plain else setting] * (1 if setting == "cuda" else cpu_lanes)
