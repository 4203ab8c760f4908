"""One model of every family with a stack of blocks, and more where a family has kinds: toy width, random weights."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest
import torch
import toys_keyed
from host_network import AXES, BATCH, TEXT, build, has, newest, noise, randomised, text
from torch import nn
from toy import Toy


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


def minimax_music() -> Toy:
    """At toy width by its parts: the host's class knows one width only, and is built without memory."""
    module = importlib.import_module("comfy.ldm.minimax_music.dit") if has("minimax_music.dit") else None
    if module is None:
        pytest.skip("this ComfyUI has no comfy.ldm.minimax_music.dit.MiniMaxMusic3DiT")
    operations = importlib.import_module("comfy.ops").disable_weight_init
    torch.use_deterministic_algorithms(True, warn_only=True)  # memory that a checkpoint is to fill is NaN then
    made = dict(dtype=torch.float32, device="cpu", operations=operations)
    model = module.MiniMaxMusic3DiT(dtype=torch.float32, device="meta", operations=operations)
    model.latent_conditioners = nn.Sequential(operations.Conv1d(4096, 8, kernel_size=3, padding=1))
    model.cond_layer_logits, model.cond_layer_scale = nn.Parameter(torch.ones(8)), nn.Parameter(torch.ones(1))
    inner, stack = model.diffusion_transformer, model.diffusion_transformer.transformer
    inner.preprocess_conv = operations.Conv1d(16, 16, 1, bias=False)
    inner.postprocess_conv = operations.Conv1d(4, 4, 1, bias=False)
    inner.timestep_features = module.FourierFeatures(1, 16, torch.float32, "cpu")
    inner.to_timestep_embed = nn.Sequential(operations.Linear(16, 32), nn.SiLU(), operations.Linear(32, 32))
    stack.project_in, stack.project_out = operations.Linear(16, 32, bias=False), operations.Linear(32, 4, bias=False)
    stack.rotary_pos_emb = module.RotaryEmbedding(8, torch.float32, "cpu")
    stack.layers = nn.ModuleList(module.TransformerBlock(32, 16, 48, **made) for _ in range(4))
    torch.use_deterministic_algorithms(False)
    arguments = dict(context=noise(BATCH, 3, 8 * 4096, seed=5), conditioning_scale=torch.ones(BATCH, 1, 1))
    return Toy(randomised(model), noise(BATCH, 4, 10), arguments)


TOYS: list[Callable[[], Toy]] = [
    *toys_keyed.KEYED,
    toys_keyed.hidream_o1,
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
    minimax_music,
]
