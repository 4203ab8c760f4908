"""One model of every family with a stack of blocks, and more where a family has kinds: toy width, random weights.

Each is built with the arguments of one forward pass, a row per sample.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from variants import BATCH, TEXT, build, noise

AXES = (4, 6, 6)


@dataclass
class Toy:
    """A model and the arguments of one call.

    Slots:
        x: ``(N, C, ...)`` input, or a list of them.
        timestep: per sample.
        arguments: the rest of the call; tensors with a row per sample are cut with it.
        options: more of ``transformer_options`` for a batch of these rows.
        same_rows: whether the host takes it for granted that all samples have the same input.
        beside: modules of which a reused pass needs none.
        clear: makes the model forget what it keeps between calls.
    """

    model: nn.Module
    x: Any
    arguments: dict[str, Any] = field(default_factory=dict)
    timestep: Any = field(default_factory=lambda: torch.full((BATCH,), 0.5))
    options: Callable[[list[int]], dict] = lambda rows: {}
    same_rows: bool = False
    beside: list[nn.Module] = field(default_factory=list)
    clear: Callable[[], None] = lambda: None

    @property
    def batch(self) -> int:
        return len(self.x if isinstance(self.x, Tensor) else self.x[0])

    def __call__(self, x: Any, options: dict, rows: list[int] | None = None, **more: Any) -> Any:
        rows = list(range(self.batch)) if rows is None else rows
        arguments = {name: take(value, rows) for name, value in self.arguments.items()}
        options = options | self.options(rows)
        return self.model(copied(x), take(self.timestep, rows), transformer_options=options, **arguments, **more)


def newest(name: str, settings: dict, added: dict) -> nn.Module:
    """A model with ``added`` settings, or without where an older host does not know them."""
    try:
        return build(name, **(settings | added))
    except TypeError:
        return build(name, **settings)


def take(value: Any, rows: list[int]) -> Any:
    """The wanted rows of everything that has one per sample."""
    if isinstance(value, list):
        return [take(part, rows) for part in value]
    per_sample = isinstance(value, Tensor) and value.ndim > 0 and len(value) == BATCH
    return value[rows].clone() if per_sample else value


def copied(x: Any) -> Any:
    return [part.clone() for part in x] if isinstance(x, list) else x.clone()


def text(width: int) -> Tensor:
    return noise(BATCH, TEXT, width, seed=5)


# ---------------------------------------------------------------- families with replacements by key


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


# ---------------------------------------------------------------- families without


def kandinsky_5() -> Toy:
    settings = dict(in_visual_dim=4, out_visual_dim=4, in_text_dim=12, in_text_dim2=6, time_dim=16, model_dim=32)
    settings |= dict(ff_dim=64, visual_embed_dim=16, num_text_blocks=1, num_visual_blocks=4, axes_dims=AXES)
    model = build("kandinsky5.model.Kandinsky5", **settings)
    return Toy(model, noise(BATCH, 4, 2, 8, 6), dict(context=text(12), y=noise(BATCH, 6, seed=3)))


def hidream_i1() -> Toy:
    settings = dict(patch_size=2, in_channels=4, out_channels=4, num_layers=2, num_single_layers=2)
    settings |= dict(attention_head_dim=16, num_attention_heads=2, caption_channels=[12, 12], text_emb_dim=6)
    settings |= dict(num_routed_experts=2, num_activated_experts=1, axes_dims_rope=AXES, max_resolution=(8, 8))
    model = build("hidream.model.HiDreamImageTransformer2DModel", **settings, llama_layers=[0, 1, 1, 1])
    llama = noise(BATCH, 2, TEXT, 12, seed=4)
    return Toy(
        model,
        noise(BATCH, 4, 8, 6),
        dict(y=noise(BATCH, 6, seed=3), context=text(12), encoder_hidden_states_llama3=llama),
    )


def _lumina(name: str, **more: Any) -> nn.Module:
    settings = dict(in_channels=4, dim=32, n_layers=4, n_refiner_layers=1, n_heads=2, n_kv_heads=1, multiple_of=16)
    settings |= dict(ffn_dim_multiplier=1.0, qk_norm=True, cap_feat_dim=12, axes_dims=AXES, axes_lens=(30, 30, 30))
    return build(f"lumina.model.{name}", **(settings | more))


Z_IMAGE = dict(dim=256, n_heads=16, n_kv_heads=16, z_image_modulation=True, time_scale=1000.0, pad_tokens_multiple=8)


def lumina_2() -> Toy:
    return Toy(_lumina("NextDiT"), noise(BATCH, 4, 8, 7), dict(context=text(12), num_tokens=TEXT))


def z_image() -> Toy:
    """12 tokens of the picture and 4 that fill them up."""
    return Toy(_lumina("NextDiT", **Z_IMAGE), noise(BATCH, 4, 8, 6), dict(context=text(12), num_tokens=TEXT))


def z_image_edit() -> Toy:
    toy = z_image()
    toy.arguments["ref_latents"] = [noise(1, 4, 4, 6, seed=2)]
    return toy


def z_image_in_pixels() -> Toy:
    decoder = dict(decoder_hidden_size=32, decoder_num_res_blocks=1, decoder_max_freqs=2, use_x0=True)
    model = _lumina("NextDiTPixelSpace", **Z_IMAGE, **decoder, patch_size=4, in_channels=3)
    return Toy(model, noise(BATCH, 3, 16, 12), dict(context=text(12), num_tokens=TEXT))


def krea_2() -> Toy:
    settings = dict(features=64, tdim=16, txtdim=12, heads=2, kvheads=1, multiplier=2, layers=4, channels=4)
    model = build("krea2.model.SingleStreamDiT", **settings, txtlayers=3, txtheads=2, txtkvheads=2)
    references = dict(ref_latents=[noise(BATCH, 4, 4, 4, seed=2)], ref_latents_method="index_timestep_zero")
    return Toy(model, noise(BATCH, 4, 8, 7), dict(context=text(36), **references))


def krea_2_as_frames() -> Toy:
    toy = krea_2()
    toy.x, toy.arguments = noise(BATCH, 4, 1, 8, 7), dict(context=toy.arguments["context"])
    return toy


def ideogram_4() -> Toy:
    settings = dict(in_channels=16, num_layers=4, num_attention_heads=2, attention_head_dim=16, intermediate_size=48)
    settings |= dict(adaln_dim=8, llm_features_dim=12, rope_theta=100, mrope_section=(4, 2, 2))
    model = build("ideogram4.model.Ideogram4Transformer2DModel", **settings)
    return Toy(model, noise(BATCH, 16, 4, 3), dict(context=text(12)))


def ideogram_4_without_text() -> Toy:
    toy = ideogram_4()
    toy.arguments = {}
    return toy


COSMOS = dict(max_img_h=32, max_img_w=32, max_frames=8, in_channels=4, out_channels=4, patch_spatial=2, num_blocks=4)
COSMOS |= dict(patch_temporal=1, model_channels=64, num_heads=2, crossattn_emb_channels=12, pos_emb_cls="rope3d")
COSMOS |= dict(use_adaln_lora=True, adaln_lora_dim=8)


def cosmos_1() -> Toy:
    settings = dict(block_x_format="THWBD", affline_emb_norm=True, extra_per_block_abs_pos_emb=True)
    model = build("cosmos.model.GeneralDIT", **COSMOS, **settings, extra_per_block_abs_pos_emb_type="learnable")
    arguments = dict(context=text(12), fps=None, padding_mask=torch.zeros(BATCH, 1, 8, 6))
    return Toy(model, noise(BATCH, 4, 2, 8, 6), arguments)


def cosmos_predict_2() -> Toy:
    return Toy(build("cosmos.predict2.MiniTrainDIT", **COSMOS), noise(BATCH, 4, 1, 8, 6), dict(context=text(12)))


PIXELS = dict(num_groups=2, hidden_size=32, pixel_hidden_size=8, pixel_attn_hidden_size=32, pixel_num_groups=2)
PIXELS |= dict(patch_depth=4, pixel_depth=1, patch_size=4, txt_embed_dim=12, txt_max_length=8)


def pixeldit() -> Toy:
    model = build("pixeldit.model.PixDiT_T2I", **PIXELS)
    return Toy(model, noise(BATCH, 3, 16, 12), dict(context=text(12)), timestep=torch.full((BATCH,), 500.0))


def omnigen_2() -> Toy:
    settings = dict(in_channels=4, hidden_size=32, num_layers=4, num_refiner_layers=1, num_attention_heads=2)
    settings |= dict(num_kv_heads=1, multiple_of=16, axes_dim_rope=AXES, axes_lens=(30, 30, 30), text_feat_dim=12)
    model = build("omnigen.omnigen2.OmniGen2Transformer2DModel", **settings)
    references = [noise(BATCH, 4, 4, 6, seed=2)]
    return Toy(model, noise(BATCH, 4, 8, 6), dict(context=text(12), num_tokens=TEXT, ref_latents=references))


def boogu() -> Toy:
    settings = dict(in_channels=4, hidden_size=32, num_layers=2, num_double_stream_layers=2, num_refiner_layers=1)
    settings |= dict(num_attention_heads=2, num_kv_heads=1, multiple_of=16, axes_dim_rope=AXES)
    model = build("boogu.model.BooguTransformer2DModel", **settings, axes_lens=(30, 30, 30), instruction_feat_dim=12)
    references = [noise(BATCH, 4, 4, 6, seed=2)]
    return Toy(model, noise(BATCH, 4, 8, 6), dict(context=text(12), num_tokens=TEXT, ref_latents=references))


def ernie_image() -> Toy:
    settings = dict(hidden_size=32, num_attention_heads=2, num_layers=4, ffn_hidden_size=48, in_channels=8)
    model = build("ernie.model.ErnieImageModel", **settings, out_channels=8, text_in_dim=12, rope_axes_dim=AXES)
    return Toy(model, noise(BATCH, 8, 4, 3), dict(context=text(12)), timestep=torch.full((BATCH,), 500.0))


def ace_step() -> Toy:
    settings = dict(in_channels=8, num_layers=4, inner_dim=32, attention_head_dim=16, num_attention_heads=2)
    settings |= dict(mlp_ratio=2.0, out_channels=8, speaker_embedding_dim=6, text_embedding_dim=12, patch_size=[4, 1])
    settings |= dict(ssl_encoder_depths=[1], ssl_names=["a"], ssl_latent_dims=[6], lyric_encoder_vocab_size=20)
    settings |= dict(lyric_hidden_size=1024, max_height=4, max_width=64, max_position=64)
    model = build("ace.model.ACEStepTransformer2DModel", **settings)
    arguments = dict(context=text(12), speaker_embeds=noise(BATCH, 6, seed=3))
    arguments |= dict(lyric_token_idx=torch.ones(BATCH, 4, dtype=torch.long), lyric_mask=torch.ones(BATCH, 4))
    return Toy(model, noise(BATCH, 8, 4, 12), arguments, timestep=torch.full((BATCH,), 500.0))


def ace_step_1_5() -> Toy:
    settings = dict(in_channels=24, hidden_size=32, text_hidden_dim=12, timbre_hidden_dim=8, num_dit_layers=4)
    settings |= dict(audio_acoustic_hidden_dim=8, num_lyric_layers=1, num_timbre_layers=1, num_tokenizer_layers=1)
    settings |= dict(num_heads=2, num_kv_heads=1, head_dim=16, intermediate_size=48, fsq_dim=32)
    encoder = dict(encoder_hidden_size=256, encoder_intermediate_size=64, encoder_num_heads=2, fsq_dim=256)
    model = newest("ace.ace_step15.AceStepConditionGenerationModel", settings, encoder)
    arguments = dict(context=text(12), lyric_embed=noise(BATCH, 3, 12, seed=3), refer_audio=noise(BATCH, 8, 20, seed=4))
    return Toy(model, noise(BATCH, 8, 20), arguments)


def pixart() -> Toy:
    settings = dict(hidden_size=48, depth=4, num_heads=2, mlp_ratio=2.0, caption_channels=12, model_max_length=TEXT)
    model = build("pixart.pixartms.PixArtMS", **settings, micro_condition=True)
    return Toy(model, noise(BATCH, 4, 64, 64), dict(context=text(12)), timestep=torch.full((BATCH,), 500.0))


def cogvideox() -> Toy:
    settings = dict(num_attention_heads=1, attention_head_dim=64, in_channels=4, out_channels=4, time_embed_dim=16)
    settings |= dict(text_embed_dim=12, num_layers=4, use_rotary_positional_embeddings=True)
    model = build("cogvideo.model.CogVideoXTransformer3DModel", **settings)
    return Toy(model, noise(BATCH, 4, 2, 8, 6), dict(context=text(12)), timestep=torch.full((BATCH,), 500.0))


def triposplat() -> Toy:
    settings = dict(q_token_length=16, in_channels=4, model_channels=64, cond_channels=12, out_channels=4)
    settings |= dict(num_blocks=4, num_refiner_blocks=1, num_head_channels=32, cond2_channels=8)
    model = build("triposplat.model.LatentSeqMMFlowModel", **settings)
    x = [noise(BATCH, 16, 4), noise(BATCH, 1, 5, seed=2)]
    return Toy(model, x, dict(context=text(12)), beside=list(model.repo_layers[1:]))


# Families whose blocks the host lets others replace by key.  HiDream O1's are too, but without its cache of keys.
KEYED: list[Callable[[], Toy]] = [
    chroma_radiance,
    qwen_image,
    qwen_image_edit,
    qwen_image_edit_at_timestep_zero,
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
TOYS: list[Callable[[], Toy]] = [
    *KEYED,
    hidream_o1,
    kandinsky_5,
    hidream_i1,
    lumina_2,
    z_image,
    z_image_edit,
    z_image_in_pixels,
    krea_2,
    krea_2_as_frames,
    ideogram_4,
    ideogram_4_without_text,
    cosmos_1,
    cosmos_predict_2,
    pixeldit,
    omnigen_2,
    boogu,
    ernie_image,
    ace_step,
    ace_step_1_5,
    pixart,
    cogvideox,
    triposplat,
]
