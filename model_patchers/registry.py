"""Which family a network belongs to.  A new one is one more row in ``FAMILIES``."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from torch import nn

from .families import FAMILIES
from .family import Family, class_name


def family_of(network: nn.Module) -> Family | None:
    """The family of a diffusion model, by its class; ``None`` where it is not in the table."""
    found = class_name(network)
    return next((family for family in FAMILIES if found in family.models), None)


def architecture_of(model: ModelPatcher) -> str:
    """The name by which published settings and tables know a model: its family's, else that of the host's class."""
    family = family_of(model.model.diffusion_model)
    return type(model.model).__name__ if family is None else family.architecture
