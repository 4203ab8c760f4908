"""Flux as ComfyUI runs it: Flux.1 dev, schnell, Fill and Kontext, Flux.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .adapter import Adapter, patches_of
from .blocks import Block, BlockArgs, TokenSpan


def double_and_single(model: nn.Module) -> list[Block]:
    """Blocks that keep text and image apart, then blocks that run on both joined."""
    double = [Block(("double_block", i)) for i in range(len(model.double_blocks))]
    single = [Block(("single_block", i), joined=True) for i in range(len(model.single_blocks))]
    return double + single


class FluxAdapter(Adapter):
    """Reference pictures (Kontext, Flux.2) follow the picture's own tokens."""

    name = "flux"
    models = ("comfy.ldm.flux.model.Flux",)

    def blocks(self, model: nn.Module) -> list[Block]:
        return double_and_single(model)

    def span(self, model: nn.Module, call: Mapping[str, Any]) -> TokenSpan:
        height, width = call["x"].shape[-2:]
        return TokenSpan(0, patches_of(height, model.patch_size) * patches_of(width, model.patch_size))

    def modulated(self, model: nn.Module, args: BlockArgs) -> Tensor:
        block, vec = model.double_blocks[0], args["vec"]
        modulation = block.img_mod(vec)[0] if block.modulation else vec[0][0]
        # References may be modulated for time zero, as a second row; the picture's own tokens take the first.
        scale, shift = modulation.scale[:, :1], modulation.shift[:, :1]
        return block.img_norm1(args["img"]) * (1 + scale) + shift
