"""Every class of Wan, see ``variants``."""

from collections.abc import Callable
from typing import Any

import torch
from host_network import BATCH, TEXT, build, noise
from variant import Variant

X_WAN = (BATCH, 16, 3, 6, 5)  # the width is padded: 3 * 3 * 3 tokens
FRAME = 9


def _wan(name: str, channels: int = 16, layers: int = 4, **more: Any) -> Variant:
    settings = dict(patch_size=(1, 2, 2), in_dim=channels, dim=48, ffn_dim=64, freq_dim=16, text_dim=12, out_dim=16)
    settings |= dict(num_heads=2, num_layers=layers)
    model = build(f"wan.{name}", **(settings | more))
    x = noise(X_WAN[0], channels, *X_WAN[2:])
    arguments = dict(context=noise(BATCH, TEXT, 12))
    return Variant(model, x, 3 * FRAME, model.blocks[0].self_attn, arguments)


def _needing_the_last(variant: Variant) -> Variant:
    """One of which the last module beside the stack acts behind its last block."""
    variant.needed = variant.beside[-1:]
    return variant


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
    return _needing_the_last(_speech(layers=5))


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
    return _needing_the_last(variant)


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
    return _needing_the_last(_dancer(layers=5))


WAN: list[Callable[[], Variant]] = [
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
