"""The host's own classes at toy width with random weights, and rows to feed them."""

import importlib
import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor, nn

BATCH, TEXT = 2, 5
AXES = (4, 6, 6)  # of a head of 16, for rotary embeddings


def build(name: str, **settings: Any) -> nn.Module:
    """The host's class ``module.Class`` with small random weights; skips where the host has no such class."""
    module, cls = name.rsplit(".", 1)
    try:
        found = getattr(importlib.import_module(f"comfy.ldm.{module}"), cls)
    except (ImportError, AttributeError):
        pytest.skip(f"this ComfyUI has no comfy.ldm.{name}")
    operations = importlib.import_module("comfy.ops").disable_weight_init
    torch.use_deterministic_algorithms(True, warn_only=True)  # memory that a checkpoint is to fill is NaN then
    try:
        model = found(**settings, dtype=torch.float32, device="cpu", operations=operations)
    finally:
        torch.use_deterministic_algorithms(False)
    return randomised(model)


def has(module: str) -> bool:
    """Whether the host has ``comfy.ldm.module``."""
    try:
        return importlib.util.find_spec(f"comfy.ldm.{module}") is not None
    except ModuleNotFoundError:  # nor the package that it would be in
        return False


def randomised(model: nn.Module) -> nn.Module:
    """The model with small random weights, which nobody trains."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
        if parameter.is_floating_point():
            fan_in = parameter.shape[1:].numel() if parameter.ndim > 1 else 4
            nn.init.normal_(parameter, std=fan_in**-0.5, generator=generator)
    for place, buffer in model.named_buffers():
        if buffer.is_floating_point() and ("inv_freq" in place or not buffer.isfinite().all()):
            buffer.fill_(0.5)
    return model.eval()


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def newest(name: str, settings: dict, added: dict) -> nn.Module:
    """A model with ``added`` settings, or without where an older host does not know them."""
    try:
        return build(name, **(settings | added))
    except TypeError:
        return build(name, **settings)


def text(width: int) -> Tensor:
    return noise(BATCH, TEXT, width, seed=5)
