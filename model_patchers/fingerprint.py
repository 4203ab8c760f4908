"""What tells one model from another of the same architecture: its weights, and never the name of a file."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import torch
from comfy.model_patcher import ModelPatcher
from torch import Tensor

from .registry import architecture_of

PREFIX = "diffusion_model."
TENSORS = 8  # spread over the network
VALUES = 1024  # of each, spread over it


def fingerprint(model: ModelPatcher) -> str:
    """32 hexadecimal digits: the architecture, every weight's name and shape, and values of some weights.

    LoRAs are patches, which the host keeps beside the weights; where it has worked them into a weight, it keeps what
    was there before.
    """
    weights = dict(model.model.diffusion_model.named_parameters())
    digest = sha256(architecture_of(model).encode())
    for name in sorted(weights):
        digest.update(f"{name}{tuple(weights[name].shape)}".encode())
    large = sorted(name for name, weight in weights.items() if weight.ndim >= 2)
    for name in large[:: max(1, len(large) // TENSORS)]:
        digest.update(_values(_unpatched(model.backup, name, weights[name])))
    return digest.hexdigest()[:32]


def _unpatched(backup: Mapping[str, Any], name: str, weight: Tensor) -> Tensor:
    kept = backup.get(PREFIX + name)
    return weight if kept is None else kept.weight


def _values(weight: Tensor) -> bytes:
    flat = weight.detach().flatten()
    return flat[:: max(1, len(flat) // VALUES)].to("cpu", torch.float32).contiguous().numpy().tobytes()
