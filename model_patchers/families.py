"""Every family of models with a stack of transformer blocks that ComfyUI samples.  A new one is one more row.

Classes that an older ComfyUI does not have match nothing there.
"""

from __future__ import annotations

from . import family_hooks
from .family import Family, Part

FLUX_PARTS = (
    Part("double_blocks", "img", ("img", "txt"), key="double_block"),
    Part("single_blocks", "x", joined="text first", key="single_block"),
)
FLUX_BATCHED = ("img", "txt", "x", "vec", "pe", "attn_mask")

QWEN_PARTS = (
    Part("transformer_blocks", "hidden_states", ("encoder_hidden_states", "hidden_states"), key="double_block"),
)

WAN_PLAIN = ("comfy.ldm.wan.model.WanModel", "comfy.ldm.wan.model.CameraWanModel")
WAN = {
    "parts": (Part("blocks", "x", key="double_block"),),
    "width": "dim",
    "modulated": family_hooks.wan_modulated,
    "side_work": family_hooks.wan_side_work,
    "batched": ("x", "e", "freqs", "context"),
    "sliced": WAN_PLAIN,
}
# Humo's blocks take sound from outside their arguments, the others mix more into the batch between blocks or keep a
# history of it.
WAN_ENTANGLED = (
    "comfy.ldm.wan.model.VaceWanModel",
    "comfy.ldm.wan.model.WanModel_S2V",
    "comfy.ldm.wan.model.HumoWanModel",
    "comfy.ldm.wan.model_animate.AnimateWanModel",
    "comfy.ldm.wan.model_wandancer.WanDancerModel",
    "comfy.ldm.wan.ar_model.CausalWanModel",
)
SCAIL = ("comfy.ldm.wan.model.SCAILWanModel", "comfy.ldm.wan.model.SCAIL2WanModel")
WAN_ANIMATE_2 = ("comfy.ldm.wan.model_animate2.WanAnimate2Model",)

LUMINA_PARTS = (Part("layers", "x"),)

FAMILIES: list[Family] = [
    Family(
        "flux",
        ("comfy.ldm.flux.model.Flux",),
        FLUX_PARTS,
        image_tokens=family_hooks.first("patch_size"),
        modulated=family_hooks.flux_modulated,
        batched=FLUX_BATCHED,
    ),
    Family(
        "chroma",
        ("comfy.ldm.chroma.model.Chroma",),
        FLUX_PARTS,
        image_tokens=family_hooks.first("patch_size"),
        left_out=family_hooks.chroma_leaves_out,
        modulated=family_hooks.chroma_modulated,
        batched=FLUX_BATCHED,
    ),
    Family(
        "chroma_radiance",
        ("comfy.ldm.chroma_radiance.model.ChromaRadiance",),
        FLUX_PARTS,
        image_tokens=family_hooks.first("patch_size"),
        left_out=family_hooks.chroma_leaves_out,
        modulated=family_hooks.chroma_modulated,
    ),
    Family(
        "hunyuan_video",
        ("comfy.ldm.hunyuan_video.model.HunyuanVideo",),
        FLUX_PARTS,
        image_tokens=family_hooks.behind_the_reference,
        modulated=family_hooks.hunyuan_modulated,
        batched=FLUX_BATCHED,
    ),
    Family("wan", WAN_PLAIN + WAN_ENTANGLED, image_tokens=family_hooks.wan, entangled=WAN_ENTANGLED, **WAN),
    Family("wan", SCAIL, called="Wan SCAIL", image_tokens=family_hooks.scail, entangled=SCAIL, **WAN),
    Family(  # the reference is a frame of the latent; the pose's branch runs beside the stack, block by block
        "wan",
        WAN_ANIMATE_2,
        called="Wan Animate 2",
        image_tokens=family_hooks.wan,
        entangled=WAN_ANIMATE_2,
        **WAN
        | {
            "parts": (Part("blocks", "x", key="double_block", method="forward_gen"),),
            "side_work": family_hooks.pose_branch,
            "sliced": (),
        },
    ),
    Family(
        "qwen_image",
        ("comfy.ldm.qwen_image.model.QwenImageTransformer2DModel",),
        QWEN_PARTS,
        width="inner_dim",
        image_tokens=family_hooks.first("patch_size"),
    ),
    Family(
        "qwen_image_2_1",
        ("comfy.ldm.qwen_image21.model.QwenImage21Transformer2DModel",),
        (Part("transformer_blocks", "x", key="single_block"),),
        width="inner_dim",
        patch=1,
        image_tokens=family_hooks.last(1),
        aside=family_hooks.fills_the_prefix,
        streams_weights=True,
    ),
    Family(
        "mage_flow",
        ("comfy.ldm.mage_flow.model.MageFlowTransformer2DModel",),
        QWEN_PARTS,
        width="inner_dim",
        image_tokens=family_hooks.first(1),
    ),
    Family("lens", ("comfy.ldm.lens.model.LensTransformer2DModel",), QWEN_PARTS, patch=1, width="inner_dim"),
    Family(
        "joyimage",
        ("comfy.ldm.joyimage.model.JoyImageTransformer3DModel",),
        (Part("double_blocks", "hidden_states", ("hidden_states", "encoder_hidden_states"), key="double_block"),),
        width="img_in.out_channels",
        image_tokens=family_hooks.joyimage,
    ),
    Family(
        "ltxv",
        ("comfy.ldm.lightricks.model.LTXVModel",),
        (Part("transformer_blocks", "x", key="double_block"),),
        width="inner_dim",
        patch=1,
    ),
    Family(
        "ltx2",
        ("comfy.ldm.lightricks.av_model.LTXAVModel",),
        (Part("transformer_blocks", "x", key="double_block"),),
        width="inner_dim",
        values="in_channels",
        streams_weights=True,
        patch=1,
    ),
    Family(
        "minimax_h3",
        ("comfy.ldm.minimax.model.MiniMaxH3Model",),
        (Part("blocks", "x", key="double_block"),),
        values="latents_dim",
        image_tokens=family_hooks.minimax,
        batch_dim=None,
        streams_weights=True,
    ),
    Family(  # longer pieces run the stack once per window, which ends the cache
        "minimax_music",
        ("comfy.ldm.minimax_music.dit.MiniMaxMusic3DiT",),
        (Part("diffusion_transformer.transformer.layers", "x"),),
        width="diffusion_transformer.transformer.project_in.out_features",
        patch=1,
        image_tokens=family_hooks.last(1),
    ),
    Family(
        "sd3",
        ("comfy.ldm.modules.diffusionmodules.mmdit.OpenAISignatureMMDITWrapper",),
        (Part("joint_blocks", 1, (0, 1), key="double_block"),),
    ),
    Family(
        "aura_flow",
        ("comfy.ldm.aura.mmdit.MMDiT",),
        (Part("double_layers", "x", ("c", "x"), key="double_block"), Part("single_layers", "cx", key="single_block")),
        width="init_x_linear.out_features",
        image_tokens=family_hooks.last("patch_size"),
    ),
    Family(
        "mochi",
        ("comfy.ldm.genmo.joint_model.asymm_models_joint.AsymmDiTJoint",),
        (Part("blocks", "x", ("x", "y"), key="double_block"),),
        width="hidden_size_x",
    ),
    Family(
        "stable_audio",
        ("comfy.ldm.audio.dit.AudioDiffusionTransformer",),
        (Part("transformer.layers", "x", key="double_block"),),
        width="transformer.dim",
        image_tokens=family_hooks.last("patch_size"),
    ),
    Family(  # skip connections begin and end inside the stack, so that skipped blocks need none of them
        "hunyuan_dit",
        ("comfy.ldm.hydit.models.HunYuanDiT", "comfy.ldm.hydit.models.HunYuanDiTControlNet"),
        (Part("blocks", "x", key="double_block"),),
    ),
    Family(
        "hunyuan3d",
        ("comfy.ldm.hunyuan3d.model.Hunyuan3Dv2",),
        (
            Part("double_blocks", "img", ("img", "txt"), key="double_block"),
            Part("single_blocks", "x", key="single_block"),
        ),
        width="latent_in.out_features",
        image_tokens=family_hooks.last(1),
        patch=1,
    ),
    Family(
        "hunyuan3d_2_1",
        ("comfy.ldm.hunyuan3dv2_1.hunyuandit.HunYuanDiTPlain",),
        (Part("blocks", "hidden_states", key="block", patched=""),),
        image_tokens=family_hooks.last(1),
        rows=family_hooks.swapped_halves,
        patch=1,
    ),
    Family(
        "seedvr2",
        ("comfy.ldm.seedvr.model.NaDiT",),
        (Part("blocks", "vid", ("vid", "txt", "vid_shape", "txt_shape"), key="block", patched="vid"),),
        patch="vid_in.patch_size",
        width="vid_in.proj.out_features",
        batch_dim=None,
        rows=family_hooks.swapped_conds,
        opening=1,  # repeats the time's embedding per token, for the head too
    ),
    Family(
        "kandinsky5",
        ("comfy.ldm.kandinsky5.model.Kandinsky5",),
        (Part("visual_transformer_blocks", "visual_embed"),),
        width="model_dim",
    ),
    Family(
        "hidream_o1",
        ("comfy.ldm.hidream_o1.model.HiDreamO1Transformer",),
        (Part("language_model.layers", "x", ("x", "past_key_value"), key="double_block", patched="x"),),
        image_tokens=family_hooks.hidream_o1,
        must_run=family_hooks.fills_its_cache,
    ),
    Family(
        "hidream",
        ("comfy.ldm.hidream.model.HiDreamImageTransformer2DModel",),
        (
            Part("double_stream_blocks", "image_tokens", ("image_tokens", "text_tokens")),
            Part("single_stream_blocks", "image_tokens", joined="image first"),
        ),
        width="inner_dim",
    ),
    Family(
        "lumina2",
        ("comfy.ldm.lumina.model.NextDiT", "comfy.ldm.lumina.model.NextDiTPixelSpace"),
        LUMINA_PARTS,
        width="dim",
        image_tokens=family_hooks.before_padding,
    ),
    Family(
        "krea2",
        ("comfy.ldm.krea2.model.SingleStreamDiT",),
        (Part("blocks", "x"),),
        patch="patch",
        width="first.out_features",
        image_tokens=family_hooks.behind_the_text,
    ),
    Family(
        "ideogram4",
        ("comfy.ldm.ideogram4.model.Ideogram4Transformer2DModel",),
        (Part("layers", "x"),),
        width="input_proj.out_features",
        image_tokens=family_hooks.last(1),
        patch=1,
    ),
    Family(
        "cosmos1",
        ("comfy.ldm.cosmos.model.GeneralDIT",),
        (Part("blocks", "x"),),
        patch="patch_spatial",
        width="model_channels",
        batch_dim=3,
    ),
    Family(
        "cosmos_predict2",
        ("comfy.ldm.cosmos.predict2.MiniTrainDIT", "comfy.ldm.anima.model.Anima"),
        (Part("blocks", "x_B_T_H_W_D"),),
        patch="patch_spatial",
        width="model_channels",
    ),
    Family(
        "pixeldit",
        ("comfy.ldm.pixeldit.model.PixDiT_T2I", "comfy.ldm.pixeldit.pid.PidNet"),
        (Part("patch_blocks", "x", ("x", "y")),),
    ),
    Family(
        "omnigen2",
        ("comfy.ldm.omnigen.omnigen2.OmniGen2Transformer2DModel",),
        (Part("layers", "hidden_states"),),
        image_tokens=family_hooks.last("patch_size"),
    ),
    Family(
        "boogu",
        ("comfy.ldm.boogu.model.BooguTransformer2DModel",),
        (
            Part("double_stream_layers", "img_hidden_states", ("img_hidden_states", "instruct_hidden_states")),
            Part("single_stream_layers", "hidden_states"),
        ),
        image_tokens=family_hooks.last("patch_size"),
    ),
    Family(
        "ernie",
        ("comfy.ldm.ernie.model.ErnieImageModel",),
        (Part("layers", "x"),),
        image_tokens=family_hooks.first("patch_size"),
    ),
    Family(
        "ace_step",
        ("comfy.ldm.ace.model.ACEStepTransformer2DModel",),
        (Part("transformer_blocks", "hidden_states"),),
        width="inner_dim",
    ),
    Family(
        "ace_step_1_5",
        ("comfy.ldm.ace.ace_step15.AceStepConditionGenerationModel",),
        (Part("decoder.layers", "hidden_states"),),
        patch="decoder.patch_size",
        width="decoder.condition_embedder.out_features",
    ),
    Family("pixart", ("comfy.ldm.pixart.pixartms.PixArtMS",), (Part("blocks", "x"),)),
    Family(
        "cogvideox",
        ("comfy.ldm.cogvideo.model.CogVideoXTransformer3DModel",),
        (Part("blocks", "hidden_states", ("hidden_states", "encoder_hidden_states")),),
        width="dim",
    ),
    Family(
        "triposplat",
        ("comfy.ldm.triposplat.model.LatentSeqMMFlowModel",),
        (Part("blocks", "x"),),
        width="model_channels",
        values="in_channels",
        side_work=family_hooks.triposplat_positions,
        patch=1,
    ),
    Family(
        "unet",
        ("comfy.ldm.modules.diffusionmodules.openaimodel.UNetModel",),
        (),
        width="model_channels",
        unet=True,
        patch=1,
    ),
]
