"""Which family a network belongs to.  A new one is one more row in ``FAMILIES``."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from torch import nn

from ..dicache_core import CacheConfig
from ..dicache_core.methods.indicators import indicator_class
from ..dicache_core.policies import title
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


def check_stack(family: Family | None, network: nn.Module, config: CacheConfig) -> None:
    """Raise a ``ValueError`` where a rule looks at blocks that are not known, or at more of them than there are."""
    if family is None:
        raise ValueError(
            f"DiCache does not know the model class {class_name(network)} before and does not know its blocks, which "
            "this method looks at: choose the preset fidelity, balanced or fast, which work with any model"
        )
    blocks = family.depth(network)
    if config.probe_depth >= blocks:
        raise ValueError(
            f"probe_depth is {config.probe_depth}, but this {family.name} model has {blocks} blocks: "
            f"write 1 to {blocks - 1}, or -1 (automatic)"
        )
    if indicator_class(config.indicator).wants_modulated and family.modulated is None:
        raise ValueError(
            f"{title(config.indicator)} looks at the modulated input of the first block, which DiCache does not know "
            f"of {family.name}: choose another policy, such as dicache, fbcache or seacache_latent"
        )
