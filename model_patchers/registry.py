"""Which family a network belongs to.  A new one is one more row in ``FAMILIES``."""

from __future__ import annotations

from comfy.model_patcher import ModelPatcher
from torch import nn

from ..dicache_core import CacheConfig
from ..dicache_core.effective_settings import probe_depth_of
from ..dicache_core.methods.indicators import indicator_class
from ..dicache_core.policies import title
from ..dicache_core.segments import StackShape
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
            f"DiCache does not know the blocks of the model class {class_name(network)}, which this method looks at: "
            "choose the preset fidelity, balanced or fast, which work with any model"
        )
    blocks = family.depth(network)
    if config.probe_depth >= blocks:
        raise ValueError(
            f"probe_depth is {config.probe_depth}, but this {family.name} model has {blocks} blocks: "
            f"write 1 to {blocks - 1}, or -1 (automatic)"
        )
    if indicator_class(config.indicator).in_parts:
        _check_parts(family, network, config)
    if indicator_class(config.indicator).wants_modulated and family.modulated is None:
        raise ValueError(
            f"{title(config.indicator)} looks at the modulated input of the first block, which DiCache does not know "
            f"of {family.name}: choose another policy, such as dicache, fbcache or seacache_latent"
        )


def shape_for(config: CacheConfig, family: Family | None, network: nn.Module) -> StackShape | None:
    """The shape of a network's stack, for rules that decide on parts of it or record its blocks; ``None`` elsewhere."""
    rule = indicator_class(config.indicator)
    if family is None or config.threshold == 0 or not (rule.in_parts or rule.records_blocks):
        return None
    return None if _why_whole(family, network) else family.shape(network)


def _check_parts(family: Family, network: nn.Module, config: CacheConfig) -> None:
    """Raise a ``ValueError`` where a stack cannot be skipped in parts, or not in those of the rule."""
    if reason := _why_whole(family, network):
        raise ValueError(f"{title(config.indicator)} skips parts of a stack of blocks, and {reason}")
    shape = family.shape(network)
    if (probe_depth_of(config) or 0) >= min(shape.parts):
        raise ValueError(
            f"probe_depth is {config.probe_depth}, but a part of this {family.name} model has {min(shape.parts)} "
            f"blocks: write 1 to {min(shape.parts) - 1}, or -1 (automatic)"
        )
    indicator_class(config.indicator).segments(config, shape)


def _why_whole(family: Family, network: nn.Module) -> str | None:
    """Why a stack cannot be skipped in parts, and what to choose; ``None`` where it can."""
    other = "choose another policy, such as dicache or fbcache"
    if family.unet:
        return "a U-Net has none: choose deepcache"
    if class_name(network) in family.entangled:
        mixed = "mixes more into the batch between its blocks (VACE, sound, faces, poses)"
        return f"this {family.name} model {mixed} or makes a video block by block (causal): {other}"
    if family.opening or family.must_run is not None:
        return f"{family.name} needs what its blocks leave behind: {other}"
    return None
