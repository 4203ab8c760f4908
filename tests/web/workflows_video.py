"""The example workflows whose models make videos."""

from workflow_parts import (
    TEXT_ENCODERS,
    Columns,
    Node,
    Workflow,
    apply,
    basic_scheduler,
    cfg_guider,
    checkpoint,
    clip,
    custom_sampling,
    decode_tiled,
    ksampler,
    latent,
    model_file,
    prompt,
    report,
    shift,
    two_clips,
    unet,
    vae,
    video,
    workflow,
)

WAN21 = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/"
WAN22 = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files/"
HUNYUAN = "https://huggingface.co/Comfy-Org/HunyuanVideo_repackaged/resolve/main/split_files/"
HUNYUAN15 = "https://huggingface.co/Comfy-Org/HunyuanVideo_1.5_repackaged/resolve/main/split_files/"
LTX2 = "https://huggingface.co/Lightricks/LTX-2/resolve/main/ltx-2-19b-dev-fp8.safetensors"
GEMMA = (
    "https://huggingface.co/Comfy-Org/ltx-2/resolve/main/split_files/text_encoders/gemma_3_12B_it_fp4_mixed.safetensors"
)

NEGATIVE = "blurry, overexposed, static picture, subtitles, watermark, worst quality, deformed hands, extra fingers"
TENCENT_LICENCE = "Tencent Hunyuan Community License (not for the EU, the UK and South Korea)"
EXPERTS = """
**Two experts**: the two models share one schedule, so each gets its own *DiCache Apply* and its own report. With the
4-step LoRAs nothing can be skipped. They have a template of their own.
"""
WAN22_MEMORY = """
2 x 14 billion parameters, one of the two in use at a time, 14 GB in fp8: 84% of a 24 GB card at 640x640, says
ComfyUI's template.
"""


def wan_clip() -> Node:
    return clip("wan", WAN21 + "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors")


def wan21_t2v() -> Workflow:
    columns: Columns = [
        [
            unet(WAN21 + "diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors"),
            wan_clip(),
            vae(WAN21 + "vae/wan_2.1_vae.safetensors"),
        ],
        [
            shift("ModelSamplingSD3", 8.0),
            prompt("positive", "A heron takes off from a misty pond at dawn, slow motion, telephoto", "Prompt"),
            prompt("negative", NEGATIVE, "Negative"),
            latent("EmptyHunyuanLatentVideo", 832, 480, length=33),
        ],
        [apply("shift"), ksampler(steps=30, cfg=6.0, sampler_name="uni_pc")],
        *video(16),
    ]
    text = """
With CFG above 1 each step asks the model for the positive and the negative prompt. Both are computed or both are
skipped. The 14B model goes into the same graph.
"""
    memory = "1.3 billion parameters, 3 GB in fp16 as loaded here, and 7 GB for the text encoder in fp8."
    return workflow("Wan 2.1", "text to video", columns, text, memory, "Apache 2.0", "wan")


def lora(url: str, source: str) -> Node:
    files = [model_file("loras", url)]
    widgets = {"lora_name": files[0]["name"], "strength_model": 1.0}
    return Node(f"{source}_lora", "LoraLoaderModelOnly", {"model": (source, 0)}, widgets, models=files)


def two_experts(
    kind: str,
    conditioning: list[Node],
    positive: tuple[str, int],
    latent_from: tuple[str, int],
    steps: int = 20,
    cfg: float = 3.5,
    loras: tuple[str, ...] = (),
) -> Columns:
    """Wan 2.2: the loaders, what ``conditioning`` adds, and a sampler for each half of the schedule.

    ``loras`` holds the addresses of one for the first expert and one for the second, or nothing.
    """
    half = steps // 2
    shared = {"cfg": cfg, "steps": steps, "sampler_name": "euler", "scheduler": "simple"}
    conds = {"positive": positive, "negative": (positive[0], 1) if positive[0] != "positive" else ("negative", 0)}
    first = {
        "add_noise": "enable", "noise_seed": 42, "control_after_generate": "fixed", "start_at_step": 0,
        "end_at_step": half, "return_with_leftover_noise": "enable",
    }  # fmt: skip
    second = {
        "add_noise": "disable", "noise_seed": 0, "control_after_generate": "fixed", "start_at_step": half,
        "end_at_step": 10000, "return_with_leftover_noise": "disable",
    }  # fmt: skip
    model = f"{WAN22}diffusion_models/wan2.2_{kind}_{{}}_noise_14B_fp8_scaled.safetensors"
    return [
        [
            unet(model.format("high"), "high", "High noise"),
            unet(model.format("low"), "low", "Low noise"),
            wan_clip(),
            vae(WAN22 + "vae/wan_2.1_vae.safetensors"),
        ],
        *([[lora(url, key) for url, key in zip(loras, ("high", "low"), strict=True)]] if loras else []),
        [
            shift("ModelSamplingSD3", 5.0, "high_lora" if loras else "high", "shift_high"),
            shift("ModelSamplingSD3", 5.0, "low_lora" if loras else "low", "shift_low"),
        ],
        conditioning,
        [
            apply("shift_high", "dicache_high", "DiCache Apply (high noise)"),
            apply("shift_low", "dicache_low", "DiCache Apply (low noise)"),
        ],
        [
            Node(
                "first",
                "KSamplerAdvanced",
                {"model": ("dicache_high", 0), **conds, "latent_image": latent_from},
                {**shared, **first},
                f"Sampler, steps 0 to {half}",
            ),
            Node(
                "sampler",
                "KSamplerAdvanced",
                {"model": ("dicache_low", 0), **conds, "latent_image": ("first", 0)},
                {**shared, **second},
                f"Sampler, steps {half} to the end",
            ),
        ],
        *video(
            16,
            reports=[
                report("first", "report_high", "dicache_high", "Report (high noise)"),
                report("sampler", "report_low", "dicache_low", "Report (low noise)"),
            ],
        ),
    ]


def wan22_t2v() -> Workflow:
    conditioning = [
        prompt("positive", "A street musician plays the accordion under a red awning, rain, handheld", "Prompt"),
        prompt("negative", NEGATIVE, "Negative"),
        latent("EmptyHunyuanLatentVideo", 640, 640, length=81),
    ]
    columns = two_experts("t2v", conditioning, ("positive", 0), ("latent", 0))
    return workflow("Wan 2.2", "text to video", columns, EXPERTS, WAN22_MEMORY, "Apache 2.0", "wan")


def wan22_speed() -> Workflow:
    conditioning = [
        prompt("positive", "A carousel turns at night, light bulbs, a child waves, handheld", "Prompt"),
        prompt("negative", NEGATIVE, "Negative"),
        latent("EmptyHunyuanLatentVideo", 640, 640, length=81),
    ]
    name = WAN22 + "loras/wan2.2_t2v_lightx2v_4steps_lora_v1.1_{}_noise.safetensors"
    loras = name.format("high"), name.format("low")
    columns = two_experts("t2v", conditioning, ("positive", 0), ("latent", 0), steps=4, cfg=1.0, loras=loras)
    text = """
**What the pack does here: nothing.** The LoRAs have taken the speed already. Each expert samples 2 of the 4 steps: the
first two are warm-up, the third has nothing to be predicted from, and the last step is always computed.

**When to use DiCache instead**: without the LoRAs, at 20 steps, you get the video of Wan 2.2 itself, faster. That still
takes longer than 4 steps with the LoRAs. If their video is good enough for you, keep them and bypass *DiCache Apply*.
"""
    headline = "4 steps leave nothing to skip"
    return workflow(
        "Wan 2.2, 4-step LoRAs", "text to video", columns, text, WAN22_MEMORY, "Apache 2.0", "wan", headline
    )


def wan22_i2v() -> Workflow:
    sources = {name: (name, 0) for name in ("positive", "negative", "vae")}
    conditioning = [
        Node("photo", "LoadImage", widgets={"image": "example.png"}, title="First frame", size=(300, 380)),
        prompt("positive", "The camera moves slowly closer, leaves stir in the wind", "Prompt"),
        prompt("negative", NEGATIVE, "Negative"),
        Node(
            "image_to_video",
            "WanImageToVideo",
            {**sources, "start_image": ("photo", 0)},
            {"width": 640, "height": 640, "length": 81, "batch_size": 1},
        ),
    ]
    columns = two_experts("i2v", conditioning, ("image_to_video", 0), ("image_to_video", 2))
    return workflow("Wan 2.2", "image to video", columns, EXPERTS, WAN22_MEMORY, "Apache 2.0", "wan")


def hunyuan_video_t2v() -> Workflow:
    columns: Columns = [
        [
            unet(HUNYUAN + "diffusion_models/hunyuan_video_t2v_720p_bf16.safetensors"),
            two_clips(
                "hunyuan_video",
                TEXT_ENCODERS + "clip_l.safetensors",
                HUNYUAN + "text_encoders/llava_llama3_fp8_scaled.safetensors",
            ),
            vae(HUNYUAN + "vae/hunyuan_video_vae_bf16.safetensors"),
        ],
        [
            shift("ModelSamplingSD3", 7.0),
            prompt("positive", "A paper boat drifts down a rain gutter past mossy stones, low camera", "Prompt"),
            Node("guidance", "FluxGuidance", {"conditioning": ("positive", 0)}, {"guidance": 6.0}),
            latent("EmptyHunyuanLatentVideo", 848, 480, length=73),
        ],
        [apply("shift")],
        *custom_sampling(
            basic_scheduler(20, model="dicache"),
            Node("guider", "BasicGuider", {"model": ("dicache", 0), "conditioning": ("guidance", 0)}),
            "euler",
        ),
        *video(24, decode_tiled()),
    ]
    memory = "13 billion parameters, 26 GB in bf16. With less, choose *weight_dtype* fp8_e4m3fn on the loader."
    return workflow("HunyuanVideo", "text to video", columns, "", memory, TENCENT_LICENCE, "hunyuan_video")


def hunyuan_video15_t2v() -> Workflow:
    columns: Columns = [
        [
            unet(HUNYUAN15 + "diffusion_models/hunyuanvideo1.5_720p_t2v_fp16.safetensors"),
            two_clips(
                "hunyuan_video_15",
                HUNYUAN15 + "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors",
                HUNYUAN15 + "text_encoders/byt5_small_glyphxl_fp16.safetensors",
            ),
            vae(HUNYUAN15 + "vae/hunyuanvideo15_vae_fp16.safetensors"),
        ],
        [
            shift("ModelSamplingSD3", 7.0),
            prompt("positive", "A paper kite climbs over a fishing village, first-person view, sunset", "Prompt"),
            prompt("negative", "", "Negative"),
            latent("EmptyHunyuanVideo15Latent", 1280, 720, length=121),
        ],
        [apply("shift")],
        *custom_sampling(basic_scheduler(20), cfg_guider(6.0), "euler"),
        *video(24),
    ]
    text = "**What to change**: the model's authors use 50 steps. The more steps, the more of them can be skipped."
    memory = "8 billion parameters, 17 GB in fp16. With less, choose *weight_dtype* fp8_e4m3fn on the loader."
    return workflow("HunyuanVideo 1.5", "text to video", columns, text, memory, TENCENT_LICENCE, "hunyuan_video")


def ltx2_t2v() -> Workflow:
    encoder = Node(
        "clip",
        "LTXAVTextEncoderLoader",
        widgets={"text_encoder": GEMMA.rsplit("/", 1)[1], "ckpt_name": LTX2.rsplit("/", 1)[1]},
        models=[model_file("text_encoders", GEMMA), model_file("checkpoints", LTX2)],
    )
    audio = Node(
        "audio_vae",
        "LTXVAudioVAELoader",
        widgets={"ckpt_name": LTX2.rsplit("/", 1)[1]},
        models=[model_file("checkpoints", LTX2)],
    )
    guidance = {"positive": ("positive", 0), "negative": ("negative", 0)}
    scheduler = {"steps": 20, "max_shift": 2.05, "base_shift": 0.95, "stretch": True, "terminal": 0.1}
    columns: Columns = [
        [checkpoint(LTX2), encoder, audio],
        [
            prompt("positive", "A puppet in a rain coat sings under a small red umbrella, close-up, rain", "Prompt"),
            prompt("negative", "blurry, low quality, still frame, watermark, overlay, titles, subtitles", "Negative"),
            Node("frames", "LTXVConditioning", guidance, {"frame_rate": 24.0}),
        ],
        [
            latent("EmptyLTXVLatentVideo", 1280, 704, length=121),
            Node(
                "sound",
                "LTXVEmptyLatentAudio",
                {"audio_vae": ("audio_vae", 0)},
                {"frames_number": 121, "frame_rate": 24, "batch_size": 1},
            ),
            Node("both", "LTXVConcatAVLatent", {"video_latent": ("latent", 0), "audio_latent": ("sound", 0)}),
            apply("unet"),
        ],
        *custom_sampling(
            Node("sigmas", "LTXVScheduler", {"latent": ("both", 0)}, scheduler),
            cfg_guider(4.0, ("frames", 0), ("frames", 1)),
            "euler_ancestral",
            "both",
        ),
        [
            Node("parts", "LTXVSeparateAVLatent", {"av_latent": ("sampler", 0)}),
            Node("heard", "LTXVAudioVAEDecode", {"samples": ("parts", 1), "audio_vae": ("audio_vae", 0)}),
        ],
        *video(
            24,
            decode_tiled("parts", ("unet", 2), tile_size=512, temporal_size=4096),
            audio=("heard", 0),
        ),
    ]
    text = """
This is the first stage of ComfyUI's template, at full size. The second stage (the upscaler with the distilled LoRA) has
three steps and nothing to skip. You can add it as it is. The sampler adds noise at every step, so DiCache skips only
late steps.
"""
    memory = "19 billion parameters, 27 GB in fp8 with VAE and sound; ComfyUI keeps what does not fit in main memory."
    return workflow("LTX-2", "text to video with sound", columns, text, memory, "LTX-2 Community License Agreement")


VIDEO_MENU = {
    "Wan 2.1, text to video": wan21_t2v,
    "Wan 2.2, text to video": wan22_t2v,
    "Wan 2.2, image to video": wan22_i2v,
    "Wan 2.2 with 4-step LoRAs": wan22_speed,
    "HunyuanVideo": hunyuan_video_t2v,
    "HunyuanVideo 1.5": hunyuan_video15_t2v,
    "LTX-2 with sound": ltx2_t2v,
}
