"""Families whose blocks the host lets others replace by key: toy width, random weights."""

from collections.abc import Callable
from typing import Any

import torch
from host_network import AXES, BATCH, TEXT, build, newest, noise, text
from torch import nn
from toy import Toy


def chroma_radiance() -> Toy:
    settings = dict(in_channels=3, out_channels=3, context_in_dim=12, hidden_size=32, mlp_ratio=2.0, num_heads=2)
    settings |= dict(depth=2, depth_single_blocks=2, axes_dim=list(AXES), theta=100, patch_size=4, qkv_bias=True)
    settings |= dict(in_dim=64, out_dim=32, hidden_dim=32, n_layers=1, txt_ids_dims=[], vec_in_dim=None)
    settings |= dict(nerf_hidden_size=8, nerf_mlp_ratio=2, nerf_depth=1, nerf_max_freqs=2, nerf_tile_size=512)
    settings |= dict(nerf_final_head_type="conv", nerf_embedder_dtype=torch.float32, use_x0=True)
    model = newest("chroma_radiance.model.ChromaRadiance", settings, dict(use_sequential_txt_ids=False))
    return Toy(model, noise(BATCH, 3, 16, 12), dict(context=text(12), guidance=torch.zeros(BATCH)))


def _qwen(**more: Any) -> nn.Module:
    settings = dict(in_channels=16, out_channels=4, num_layers=4, attention_head_dim=16, num_attention_heads=2)
    settings |= dict(joint_attention_dim=12, axes_dims_rope=AXES)
    return build("qwen_image.model.QwenImageTransformer2DModel", **settings, **more)


def qwen_image() -> Toy:
    return Toy(_qwen(), noise(BATCH, 4, 1, 8, 7), dict(context=text(12)))


def qwen_image_edit() -> Toy:
    references = [noise(BATCH, 4, 1, 6, 6, seed=2), noise(BATCH, 4, 1, 4, 4, seed=3)]
    return Toy(_qwen(), noise(BATCH, 4, 1, 8, 7), dict(context=text(12), ref_latents=references))


def qwen_image_edit_at_timestep_zero() -> Toy:
    toy = qwen_image_edit()
    toy.arguments["ref_latents_method"] = "index_timestep_zero"
    return toy


def qwen_image_2_1() -> Toy:
    settings = dict(in_channels=8, out_channels=8, num_layers=4, attention_head_dim=16, num_attention_heads=2)
    settings |= dict(context_in_dim=12, axes_dims_rope=AXES)
    model = build("qwen_image21.model.QwenImage21Transformer2DModel", **settings)
    references = dict(ref_latents=[noise(BATCH, 8, 4, 4, seed=2)], image_slots=[2])
    return Toy(model, noise(BATCH, 8, 6, 5), dict(context=text(12), **references))


def mage_flow() -> Toy:
    settings = dict(in_channels=8, out_channels=8, num_layers=4, attention_head_dim=16, num_attention_heads=2)
    model = build("mage_flow.model.MageFlowTransformer2DModel", **settings, joint_attention_dim=12, axes_dims_rope=AXES)
    return Toy(model, noise(BATCH, 8, 6, 4), dict(context=text(12), ref_latents=[noise(BATCH, 8, 4, 4, seed=2)]))


def lens() -> Toy:
    settings = dict(in_channels=16, out_channels=4, num_layers=4, attention_head_dim=16, num_attention_heads=2)
    settings |= dict(enc_hidden_dim=12, axes_dims_rope=AXES, selected_layer_index=(0, 1))
    return Toy(build("lens.model.LensTransformer2DModel", **settings), noise(BATCH, 16, 4, 3), dict(context=text(24)))


def joyimage() -> Toy:
    settings = dict(in_channels=4, hidden_size=32, num_attention_heads=2, text_dim=12, num_layers=4)
    model = build("joyimage.model.JoyImageTransformer3DModel", **settings, rope_dim_list=list(AXES))
    return Toy(model, noise(BATCH, 4, 1, 8, 7), dict(context=text(12), ref_latents=[noise(BATCH, 4, 1, 6, 4, seed=2)]))


def ltx_video() -> Toy:
    settings = dict(in_channels=8, cross_attention_dim=32, attention_head_dim=16, num_attention_heads=2)
    model = build("lightricks.model.LTXVModel", **settings, caption_channels=12, num_layers=4)
    arguments = dict(context=text(12), attention_mask=None)
    return Toy(model, noise(BATCH, 8, 2, 4, 3), arguments, timestep=torch.full((BATCH, 24), 0.5))


def ltx_2() -> Toy:
    settings = dict(in_channels=128, audio_in_channels=128, connector_num_attention_heads=1, connector_num_layers=0)
    settings |= dict(connector_attention_head_dim=16, cross_attention_dim=32, audio_cross_attention_dim=16)
    settings |= dict(attention_head_dim=16, audio_attention_head_dim=8, num_attention_heads=2)
    settings |= dict(audio_num_attention_heads=2, caption_channels=12, num_layers=4)
    model = build("lightricks.av_model.LTXAVModel", **settings)
    sound = noise(BATCH, model.num_audio_channels, 4, model.audio_frequency_bins, seed=2)
    timestep = [torch.full((BATCH, 24), 0.5), torch.full((BATCH,), 0.5)]
    arguments = dict(context=text(24), attention_mask=None)
    return Toy(model, [noise(BATCH, 128, 2, 4, 3), sound], arguments, timestep=timestep)


def ltx_2_without_sound() -> Toy:
    toy = ltx_2()
    toy.x[1] = toy.x[1][:, :, :0]
    return toy


def minimax_h3() -> Toy:
    settings = dict(hidden_size=32, num_layers=4, token_refiner_num_layers=1, num_attention_heads=2)
    settings |= dict(attention_head_dim=18, ffn_hidden_size=48, latents_dim=4, audio_latents_dim=6, text_dim=12)
    settings |= dict(timestep_input_dim=16, time_embed_hidden_size=16, time_embed_dim=16, rope_inv_freq_len=3)
    model = build("minimax.model.MiniMaxH3Model", **settings)
    x = [noise(1, 4, 2, 6, 4), noise(1, 6, 2, 4, seed=2)]
    return Toy(model, x, dict(context=text(12)[:1]), timestep=torch.full((1,), 500.0))


def stable_diffusion_3() -> Toy:
    embedder = {"target": "torch.nn.Linear", "params": {"in_features": 12, "out_features": 256}}
    settings = dict(input_size=None, in_channels=4, depth=4, num_blocks=4, adm_in_channels=6, qk_norm="rms")
    settings |= dict(context_embedder_config=embedder, pos_embed_max_size=16, num_patches=256)
    model = build("modules.diffusionmodules.mmdit.OpenAISignatureMMDITWrapper", **settings)
    return Toy(model, noise(BATCH, 4, 8, 7), dict(context=text(12), y=noise(BATCH, 6, seed=3)))


def stable_diffusion_3_with_control() -> Toy:
    toy = stable_diffusion_3()
    toy.arguments["control"] = {"output": [noise(1, 16, 256, seed=i) for i in range(4)]}
    return toy


def aura_flow() -> Toy:
    settings = dict(dim=256, n_layers=4, n_double_layers=2, n_heads=1, global_conddim=256, cond_seq_dim=12, max_seq=64)
    return Toy(build("aura.mmdit.MMDiT", **settings), noise(BATCH, 4, 8, 6), dict(context=text(12)))


def mochi() -> Toy:
    settings = dict(in_channels=4, hidden_size_x=48, hidden_size_y=24, depth=4, num_heads=2, mlp_ratio_x=256.0)
    settings |= dict(mlp_ratio_y=2.0, use_t5=True, t5_feat_dim=16, t5_token_length=TEXT, learn_sigma=False)
    settings |= dict(qk_norm=True, qkv_bias=False, out_bias=True, posenc_preserve_area=True, timestep_scale=1000.0)
    model = build("genmo.joint_model.asymm_models_joint.AsymmDiTJoint", **settings)
    arguments = dict(context=text(16), attention_mask=torch.ones(BATCH, TEXT), num_tokens=TEXT)
    return Toy(model, noise(BATCH, 4, 2, 8, 6), arguments)


def stable_audio() -> Toy:
    settings = dict(io_channels=4, embed_dim=64, cond_token_dim=64, global_cond_dim=6, depth=4, num_heads=1)
    model = build("audio.dit.AudioDiffusionTransformer", **settings)
    return Toy(model, noise(BATCH, 4, 10), dict(context=text(64), global_embed=noise(BATCH, 6, seed=3)))


def hunyuan_dit() -> Toy:
    settings = dict(hidden_size=64, depth=4, num_heads=2, mlp_ratio=2.0, text_states_dim=12, text_states_dim_t5=2048)
    model = build("hydit.models.HunYuanDiT", **settings, text_len=4, text_len_t5=4)
    arguments = dict(context=noise(BATCH, 4, 12, seed=5), text_embedding_mask=torch.ones(BATCH, 4))
    arguments |= dict(
        encoder_hidden_states_t5=noise(BATCH, 4, 2048, seed=6), text_embedding_mask_t5=torch.ones(BATCH, 4)
    )
    arguments |= dict(image_meta_size=torch.zeros(BATCH, 6))
    return Toy(model, noise(BATCH, 4, 8, 6), arguments)


def hunyuan_3d() -> Toy:
    settings = dict(in_channels=4, context_in_dim=12, hidden_size=32, num_heads=2, depth=2, depth_single_blocks=2)
    return Toy(build("hunyuan3d.model.Hunyuan3Dv2", **settings), noise(BATCH, 4, 10), dict(context=text(12)))


def hunyuan_3d_2_1() -> Toy:
    settings = dict(in_channels=4, hidden_size=32, context_dim=12, depth=5, num_heads=2, num_moe_layers=1)
    settings |= dict(num_experts=2, moe_top_k=1, guidance_cond_proj_dim=None)
    model = build("hunyuan3dv2_1.hunyuandit.HunYuanDiTPlain", **settings)
    return Toy(model, noise(1, 4, 10).expand(BATCH, -1, -1).clone(), dict(context=text(12)), same_rows=True)


def seedvr2() -> Toy:
    settings = dict(norm_eps=1e-5, num_layers=4, mlp_type="swiglu", vid_dim=64, txt_in_dim=12, heads=2, head_dim=32)
    model = build("seedvr.model.NaDiT", **settings, mm_layers=2, rope_dim=32, vid_out_norm=True)
    x = noise(1, 16, 2, 8, 6).expand(BATCH, -1, -1, -1, -1).clone()
    condition = noise(1, 17, 2, 8, 6, seed=2).expand(BATCH, -1, -1, -1, -1).clone()
    conds = lambda rows: dict(cond_or_uncond=[1 - row for row in rows])  # noqa: E731
    return Toy(model, x, dict(context=text(12), condition=condition), options=conds, same_rows=True)


def hidream_o1() -> Toy:
    words = dict(vocab_size=32, hidden_size=64, intermediate_size=48, num_hidden_layers=4, num_attention_heads=2)
    # as many as heads: ComfyUI 0.27.0 loses grouped ones on the way to this family's attention (0.30.0 does not)
    words |= dict(num_key_value_heads=2, head_dim=32, max_position_embeddings=64, rope_dims=[6, 5, 5])
    eyes = dict(hidden_size=16, intermediate_size=16, depth=1, num_heads=1, num_position_embeddings=16)
    model = build("hidream_o1.model.HiDreamO1Transformer", text_config_overrides=words, vision_config_overrides=eyes)
    tokens = TEXT + 6 + 2  # two of them a reference's
    arguments = dict(input_ids=torch.arange(TEXT).repeat(BATCH, 1) + torch.arange(BATCH)[:, None], ar_len=TEXT)
    arguments |= dict(position_ids=torch.arange(tokens).repeat(1, 3, 1), ref_patches=noise(BATCH, 2, 3072, seed=2))
    timestep = torch.full((BATCH,), 500.0)
    return Toy(model, noise(BATCH, 3, 96, 64), arguments, timestep=timestep, clear=model.clear_kv_cache)


# HiDream O1's blocks can be replaced too, but without its cache of keys.
KEYED: list[Callable[[], Toy]] = [
    chroma_radiance,
    qwen_image,
    qwen_image_edit,
    qwen_image_edit_at_timestep_zero,
    qwen_image_2_1,
    mage_flow,
    lens,
    joyimage,
    ltx_video,
    ltx_2,
    ltx_2_without_sound,
    minimax_h3,
    stable_diffusion_3,
    stable_diffusion_3_with_control,
    aura_flow,
    mochi,
    stable_audio,
    hunyuan_dit,
    hunyuan_3d,
    hunyuan_3d_2_1,
    seedvr2,
]
