"""Every class of the four families with published settings, at toy width with random weights.

Each with the arguments of one forward pass.

Correct composition needs no training: what is compared is the model with itself.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

BATCH, TEXT = 2, 5


@dataclass
class Variant:
    """A model, its input and the conditioning of one call, with what a person reads off the shapes.

    Slots:
        x: ``(N, C, ...)`` input.
        tokens: image tokens of the picture itself.
        in_front: reference tokens before them.
        beside: modules of which each is work beside the stack.
        needed: those of ``beside`` that act behind the last block, so that a skipped pass has to run them.
        norm_input: module whose first argument is the modulated input of block 0.
    """

    model: nn.Module
    x: Tensor
    tokens: int
    norm_input: nn.Module
    arguments: dict[str, Any] = field(default_factory=dict)
    in_front: int = 0
    beside: list[nn.Module] = field(default_factory=list)
    needed: list[nn.Module] = field(default_factory=list)
    timestep: Tensor = field(default_factory=lambda: torch.full((BATCH,), 0.5))

    def __call__(self, x: Tensor, options: dict[str, Any], **more: Any) -> Tensor:
        return self.model(x, self.timestep, transformer_options=options, **self.arguments, **more)


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


# ---------------------------------------------------------------- Wan

X_WAN = (BATCH, 16, 3, 6, 5)  # the width is padded: 3 * 3 * 3 tokens
FRAME = 9


def _wan(name: str, channels: int = 16, layers: int = 4, **more: Any) -> Variant:
    settings = dict(patch_size=(1, 2, 2), in_dim=channels, dim=48, ffn_dim=64, freq_dim=16, text_dim=12, out_dim=16)
    settings |= dict(num_heads=2, num_layers=layers)
    model = build(f"wan.{name}", **(settings | more))
    x = noise(X_WAN[0], channels, *X_WAN[2:])
    arguments = dict(context=noise(BATCH, TEXT, 12))
    return Variant(model, x, 3 * FRAME, model.blocks[0].self_attn, arguments)


def wan_text_to_video() -> Variant:
    return _wan("model.WanModel")


def wan_image_to_video() -> Variant:
    variant = _wan("model.WanModel", channels=36, model_type="i2v")
    variant.arguments |= dict(clip_fea=noise(BATCH, 257, 1280))
    return variant


def wan_2_2_timestep_per_frame() -> Variant:
    variant = _wan("model.WanModel")
    variant.timestep = torch.tensor([[0.0, 0.5, 0.5]]).expand(BATCH, 3)
    return variant


def wan_fun_reference() -> Variant:
    variant = _wan("model.WanModel", in_dim_ref_conv=16)
    variant.arguments |= dict(reference_latent=noise(BATCH, 16, 6, 6, seed=2))
    variant.in_front = FRAME
    return variant


def wan_joined_in_time() -> Variant:
    variant = _wan("model.WanModel")
    variant.arguments |= dict(time_dim_concat=noise(BATCH, 16, 2, 6, 5, seed=2))
    return variant


def wan_context_latents() -> Variant:
    variant = _wan("model.WanModel", in_dim_ref_conv=16)
    latents = [noise(BATCH, 16, 1, 6, 5, seed=2), noise(BATCH, 16, 3, 4, 4, seed=3)]
    variant.arguments |= dict(reference_latent=noise(BATCH, 16, 6, 6, seed=2), context_latents=latents)
    variant.in_front = FRAME
    return variant


def wan_causal() -> Variant:
    return _wan("ar_model.CausalWanModel")


def _vace(layers: int, side: int) -> Variant:
    variant = _wan("model.VaceWanModel", layers=layers, vace_layers=side, vace_in_dim=20)
    variant.arguments |= dict(vace_context=noise(BATCH, 2, 20, 3, 6, 6), vace_strength=[1.0, 0.5])
    variant.beside = list(variant.model.vace_blocks)
    return variant


def wan_vace() -> Variant:
    return _vace(layers=4, side=2)


def wan_vace_behind_the_last_block() -> Variant:
    variant = _vace(layers=3, side=3)
    variant.needed = variant.beside  # a chain: the last one needs all before it
    return variant


def wan_camera() -> Variant:
    variant = _wan("model.CameraWanModel", channels=32, model_type="camera")
    variant.arguments |= dict(camera_conditions=noise(BATCH, 24, 3, 48, 48), clip_fea=noise(BATCH, 257, 1280))
    return variant


def _speech(layers: int) -> Variant:
    variant = _wan("model.WanModel_S2V", layers=layers, audio_dim=8, audio_inject_layers=range(0, layers, 2))
    variant.arguments |= dict(
        audio_embed=noise(BATCH, 25, 8, 12), reference_latent=noise(BATCH, 16, 1, 6, 6, seed=2),
        reference_motion=noise(BATCH, 16, 19, 8, 8, seed=3), control_video=noise(BATCH, 16, 3, 6, 6, seed=4),
    )  # fmt: skip
    variant.beside = list(variant.model.audio_injector.injector)
    return variant


def wan_speech() -> Variant:
    return _speech(layers=4)


def wan_speech_behind_the_last_block() -> Variant:
    variant = _speech(layers=5)
    variant.needed = variant.beside[-1:]
    return variant


def wan_humo() -> Variant:
    variant = _wan("model.HumoWanModel")
    audio, reference = noise(BATCH, 3, 8, 5, 1280), noise(BATCH, 16, 1, 6, 6, seed=2)
    variant.arguments |= dict(audio_embed=audio, reference_latent=reference)
    return variant


def _animate(layers: int) -> Variant:
    variant = _wan("model_animate.AnimateWanModel", channels=36, layers=layers)
    faces = noise(BATCH, 3, 4, 8, 8, seed=3)
    variant.arguments |= dict(pose_latents=noise(BATCH, 16, 2, 6, 6, seed=2), face_pixel_values=faces)
    variant.arguments |= dict(clip_fea=noise(BATCH, 257, 1280))
    # Its convolutions take 512 x 512 pixels; what they see does not matter here.
    variant.model.motion_encoder.get_motion = lambda pictures: noise(len(pictures), 512)
    variant.beside = list(variant.model.face_adapter.fuser_blocks)
    return variant


def wan_animate() -> Variant:
    return _animate(layers=10)


def wan_animate_behind_the_last_block() -> Variant:
    variant = _animate(layers=10)
    del variant.model.blocks[6:]
    variant.needed = variant.beside[-1:]
    return variant


def _scail(name: str) -> Variant:
    variant = _wan(name, channels=20)
    reference, pose = noise(BATCH, 20, 2, 6, 5, seed=2), noise(BATCH, 20, 3, 4, 4, seed=3)
    variant.arguments |= dict(reference_latent=reference, pose_latents=pose)
    variant.in_front = 2 * FRAME
    return variant


def wan_scail() -> Variant:
    return _scail("model.SCAILWanModel")


def wan_scail_2() -> Variant:
    variant = _scail("model.SCAIL2WanModel")
    variant.arguments |= dict(ref_mask_latents=noise(BATCH, 28, 5, 6, 5), ref_mask_flag=True)
    return variant


def _dancer(layers: int) -> Variant:
    music = dict(music_dim=32, music_heads=2, music_latent_dim=32, audio_inject_layers=range(0, layers, 2))
    variant = _wan("model_wandancer.WanDancerModel", layers=layers, **music)
    variant.x, variant.tokens = noise(BATCH, 16, 3, 8, 8), 48  # the music's 8 beats per frame have to divide them
    variant.arguments |= dict(audio_embed=noise(BATCH, 6, 35), audio_inject_scale=0.7)
    variant.arguments |= dict(clip_fea=noise(BATCH, 257, 1280), clip_fea_ref=noise(BATCH, 257, 1280, seed=2))
    variant.beside = list(variant.model.music_injector.injector)
    return variant


def wan_dancer() -> Variant:
    return _dancer(layers=4)


def wan_dancer_behind_the_last_block() -> Variant:
    variant = _dancer(layers=5)
    variant.needed = variant.beside[-1:]
    return variant


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
    wan_text_to_video,
    wan_image_to_video,
    wan_2_2_timestep_per_frame,
    wan_fun_reference,
    wan_joined_in_time,
    wan_context_latents,
    wan_causal,
    wan_vace,
    wan_vace_behind_the_last_block,
    wan_camera,
    wan_speech,
    wan_speech_behind_the_last_block,
    wan_humo,
    wan_animate,
    wan_animate_behind_the_last_block,
    wan_scail,
    wan_scail_2,
    wan_dancer,
    wan_dancer_behind_the_last_block,
]
