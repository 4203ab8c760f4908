"""HunyuanVideo as ComfyUI runs it: T2V, I2V, SkyReels, HunyuanVideo 1.5, and HunyuanImage in the same class."""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

from comfy.ldm.flux.layers import apply_mod
from torch import Tensor, nn

from .adapter import Adapter, patches_of
from .blocks import Block, BlockArgs, TokenSpan
from .flux import double_and_single


class HunyuanVideoAdapter(Adapter):
    """The reference picture's tokens (image to video) come before the video's own."""

    name = "hunyuan_video"
    models = ("comfy.ldm.hunyuan_video.model.HunyuanVideo",)

    def blocks(self, model: nn.Module) -> list[Block]:
        return double_and_single(model)

    def span(self, model: nn.Module, call: Mapping[str, Any]) -> TokenSpan:
        reference = call["ref_latent"]
        if reference is None:
            return TokenSpan()
        return TokenSpan(prod(map(patches_of, reference.shape[2:], model.patch_size)))

    def modulated(self, model: nn.Module, args: BlockArgs) -> Tensor:
        block = model.double_blocks[0]
        modulation = block.img_mod(args["vec"])[0]
        normed = block.img_norm1(args["img"])
        return apply_mod(normed, 1 + modulation.scale, modulation.shift, args["modulation_dims_img"])
