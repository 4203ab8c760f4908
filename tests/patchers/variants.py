"""Every class of the four families with published settings, at toy width with random weights.

Each with the arguments of one forward pass.

Correct composition needs no training: what is compared is the model with itself.
"""

from collections.abc import Callable
from typing import Any

import torch
from host_network import BATCH, TEXT, build, noise
from torch import Tensor
from variant import Variant
from variants_wan import WAN

# ---------------------------------------------------------------- Flux


def _flux(**more: Any) -> Variant:
    settings = dict(in_channels=4, out_channels=4, vec_in_dim=6, context_in_dim=12, hidden_size=32, mlp_ratio=2.0)
    settings |= dict(num_heads=2, depth=2, depth_single_blocks=3, axes_dim=[4, 6, 6], theta=100, patch_size=2)
    settings |= dict(qkv_bias=True, guidance_embed=True, txt_ids_dims=[])
    model = build("flux.model.Flux", **(settings | more))
    arguments = dict(context=noise(BATCH, TEXT, 12), guidance=torch.full((BATCH,), 3.5))
    if model.params.vec_in_dim is not None:
        arguments["y"] = noise(BATCH, 6)
    return Variant(model, noise(BATCH, 4, 8, 7), 16, model.double_blocks[0].img_attn.qkv, arguments)


def flux() -> Variant:
    return _flux()


def flux_kontext() -> Variant:
    variant = _flux()
    variant.arguments |= dict(ref_latents=[noise(BATCH, 4, 6, 6, seed=2), noise(BATCH, 4, 4, 4, seed=3)])
    return variant


def flux_2_reference_at_timestep_zero() -> Variant:
    settings = dict(global_modulation=True, vec_in_dim=None, mlp_silu_act=True, ops_bias=False, guidance_embed=False)
    variant = _flux(**settings)
    variant.arguments |= dict(ref_latents=[noise(BATCH, 4, 6, 6, seed=2)], ref_latents_method="index_timestep_zero")
    return variant


def chroma() -> Variant:
    settings = dict(in_channels=16, out_channels=16, context_in_dim=12, hidden_size=32, mlp_ratio=2.0, num_heads=2)
    settings |= dict(depth=2, depth_single_blocks=3, axes_dim=[4, 6, 6], theta=100, patch_size=2, qkv_bias=True)
    settings |= dict(in_dim=64, out_dim=32, hidden_dim=32, n_layers=1, txt_ids_dims=[], vec_in_dim=6)
    model = build("chroma.model.Chroma", **settings)
    arguments = dict(context=noise(BATCH, TEXT, 12), guidance=torch.zeros(BATCH))
    return Variant(model, noise(BATCH, 4, 8, 7), 16, model.double_blocks[0].img_attn.qkv, arguments)


# ---------------------------------------------------------------- HunyuanVideo


def _hunyuan(x: Tensor | None = None, tokens: int = 24, **more: Any) -> Variant:
    x = noise(BATCH, 4, 3, 4, 8) if x is None else x
    settings = dict(in_channels=x.shape[1], out_channels=4, vec_in_dim=6, context_in_dim=12, hidden_size=32)
    settings |= dict(mlp_ratio=2.0, num_heads=2, depth=2, depth_single_blocks=3, axes_dim=[4, 6, 6], theta=100)
    settings |= dict(patch_size=[1, 2, 2], qkv_bias=True, guidance_embed=True, byt5=False, meanflow=False)
    settings |= dict(use_cond_type_embedding=False, vision_in_dim=None, meanflow_sum=False)
    model = build("hunyuan_video.model.HunyuanVideo", **(settings | more))
    arguments = dict(context=noise(BATCH, TEXT, 12), guidance=torch.full((BATCH,), 6.0))
    if model.vector_in is not None:
        arguments["y"] = noise(BATCH, 6)
    return Variant(model, x, tokens, model.double_blocks[0].img_attn.qkv, arguments)


def _alone(variant: Variant) -> Variant:
    """The host itself fails on reference latents in a batch: it writes into expanded position ids."""
    variant.x, variant.timestep = variant.x[:1], variant.timestep[:1]
    variant.arguments = {name: value[:1] for name, value in variant.arguments.items()}
    return variant


def hunyuan_text_to_video() -> Variant:
    return _hunyuan()


def hunyuan_image_to_video() -> Variant:
    variant = _hunyuan()
    variant.arguments |= dict(ref_latent=noise(BATCH, 4, 1, 4, 8, seed=2), guiding_frame_index=torch.zeros(BATCH))
    variant.in_front = 8
    return _alone(variant)


def hunyuan_reference_only() -> Variant:
    variant = _hunyuan()
    variant.arguments |= dict(ref_latent=noise(BATCH, 4, 1, 6, 4, seed=2))
    variant.in_front = 6
    return _alone(variant)


def hunyuan_skyreels_image_to_video() -> Variant:
    return _hunyuan(x=noise(BATCH, 8, 3, 4, 8))


def hunyuan_1_5() -> Variant:
    variant = _hunyuan(
        x=noise(BATCH, 9, 3, 4, 4), tokens=48, depth=4, depth_single_blocks=0, vec_in_dim=None, patch_size=[1, 1, 1],
        byt5=True, vision_in_dim=10, use_cond_type_embedding=True, guidance_embed=False, meanflow=True,
    )  # fmt: skip
    variant.arguments |= dict(txt_byt5=noise(BATCH, 3, 1472), clip_fea=noise(BATCH, 4, 10))
    variant.arguments["disable_time_r"] = True  # else the output depends on the place in the schedule
    return variant


def hunyuan_image() -> Variant:
    return _hunyuan(x=noise(BATCH, 4, 6, 4), tokens=24, patch_size=[1, 1], axes_dim=[8, 8], vec_in_dim=None)


VARIANTS: list[Callable[[], Variant]] = [
    flux,
    flux_kontext,
    flux_2_reference_at_timestep_zero,
    chroma,
    hunyuan_text_to_video,
    hunyuan_image_to_video,
    hunyuan_reference_only,
    hunyuan_skyreels_image_to_video,
    hunyuan_1_5,
    hunyuan_image,
    *WAN,
]
