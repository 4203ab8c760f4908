"""Chroma: Flux's blocks under Flux's keys in a class of its own, with modulations from one distilled network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from .adapter import Adapter, patches_of
from .blocks import Block, BlockArgs, TokenSpan
from .flux import double_and_single


class ChromaAdapter(Adapter):
    """Blocks that the checkpoint leaves out (``skip_mmdit``, ``skip_dit``) are no part of the stack."""

    name = "chroma"
    models = ("comfy.ldm.chroma.model.Chroma",)

    def blocks(self, model: nn.Module) -> list[Block]:
        left_out = {("double_block", i) for i in model.skip_mmdit} | {("single_block", i) for i in model.skip_dit}
        return [block for block in double_and_single(model) if block.key not in left_out]

    def span(self, model: nn.Module, call: Mapping[str, Any]) -> TokenSpan:
        height, width = call["x"].shape[-2:]
        return TokenSpan(0, patches_of(height, model.patch_size) * patches_of(width, model.patch_size))

    def modulated(self, model: nn.Module, args: BlockArgs) -> Tensor:
        modulation = args["vec"][0][0]
        return model.double_blocks[0].img_norm1(args["img"]) * (1 + modulation.scale) + modulation.shift
