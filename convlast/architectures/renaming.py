"""What transformers calls a model's tensors in a file, which is not what the model calls them.

It renames while it loads and saves. Where a tensor is only renamed, the same object comes out of
its own function under the other name; one that is split or joined is another object, and does not
fit here.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from convlast.architectures.building import persistent


def saved_names(model: nn.Module) -> dict[str, str]:
    """Return the model's key for each key in a file, for those that are not the same.

    >>> saved_names(nn.Conv3d(1, 1, 1))
    {}
    """
    if not type(model).__module__.startswith("transformers."):
        return {}
    try:
        from transformers.core_model_loading import revert_weight_conversion

        tensors = persistent(model)
        saved: dict[str, Any] = revert_weight_conversion(model, dict(tensors))
    except Exception:  # an older one renames nothing, and a newer one may do it elsewhere
        return {}
    own = {id(tensor): key for key, tensor in tensors.items()}
    return {
        key: own[id(tensor)]
        for key, tensor in saved.items()
        if isinstance(tensor, torch.Tensor) and id(tensor) in own and own[id(tensor)] != key
    }
