"""The example workflows as specifications; ``make_workflows.py`` builds them in the real front end.

A workflow is a list of columns of nodes from left to right.  File names, sampler settings and sizes are those that
ComfyUI's own documentation recommends for the model, so the graphs run for everyone who has that model.
"""

from dataclasses import dataclass, field

FLUX_TEXT = "https://huggingface.co/comfyanonymous/flux_text_encoders/resolve/main/"
WAN21 = "https://huggingface.co/Comfy-Org/Wan_2.1_ComfyUI_repackaged/resolve/main/split_files/"
WAN22 = "https://huggingface.co/Comfy-Org/Wan_2.2_ComfyUI_Repackaged/resolve/main/split_files/"
HUNYUAN = "https://huggingface.co/Comfy-Org/HunyuanVideo_repackaged/resolve/main/split_files/"
AE = "https://huggingface.co/Comfy-Org/Lumina_Image_2.0_Repackaged/resolve/main/split_files/vae/ae.safetensors"


@dataclass(frozen=True)
class Node:
    """One node; ``inputs`` maps an input's name to (key of the source node, its output's number)."""

    key: str
    type: str
    inputs: dict[str, tuple[str, int]] = field(default_factory=dict)
    widgets: dict[str, object] = field(default_factory=dict)
    title: str = ""
    size: tuple[int, int] | None = None
    models: list[dict] = field(default_factory=list)


def model_file(folder: str, url: str) -> dict:
    """What the front end needs to offer the download of a missing file."""
    return {"name": url.rsplit("/", 1)[1], "url": url, "directory": folder}


def unet(key: str, url: str, title: str = "") -> Node:
    files = [model_file("diffusion_models", url)]
    widgets = {"unet_name": files[0]["name"], "weight_dtype": "default"}
    return Node(key, "UNETLoader", widgets=widgets, models=files, title=title)


def clips(kind: str, first: str, second: str) -> Node:
    files = [model_file("text_encoders", first), model_file("text_encoders", second)]
    widgets = {"clip_name1": files[0]["name"], "clip_name2": files[1]["name"], "type": kind}
    return Node("clip", "DualCLIPLoader", widgets=widgets, models=files)


def vae(url: str) -> Node:
    files = [model_file("vae", url)]
    return Node("vae", "VAELoader", widgets={"vae_name": files[0]["name"]}, models=files)


def latent_video(width: int, height: int, length: int) -> Node:
    widgets = {"width": width, "height": height, "length": length, "batch_size": 1}
    return Node("latent", "EmptyHunyuanLatentVideo", widgets=widgets)


def wan_clip() -> Node:
    files = [model_file("text_encoders", WAN21 + "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors")]
    return Node("clip", "CLIPLoader", widgets={"clip_name": files[0]["name"], "type": "wan"}, models=files)


def prompt(key: str, text: str, title: str) -> Node:
    return Node(key, "CLIPTextEncode", {"clip": ("clip", 0)}, {"text": text}, title, size=(340, 140))


def apply(source: str, key: str = "dicache", title: str = "", **widgets: object) -> Node:
    return Node(key, "DiCacheApply", {"model": (source, 0)}, widgets, title, size=(320, 0))


def report() -> Node:
    inputs = {"statistics": ("dicache", 1), "after": ("sampler", 0)}
    return Node("report", "DiCacheReport", inputs, size=(460, 640))


def note(text: str, height: int = 400) -> Node:
    return Node("note", "MarkdownNote", widgets={"text": text.strip()}, title="Read me", size=(320, height))


def picture() -> list[list[Node]]:
    """The columns after the sampler of a graph that makes a picture."""
    return [
        [Node("decode", "VAEDecode", {"samples": ("sampler", 0), "vae": ("vae", 0)}, size=(200, 0))],
        [Node("save", "SaveImage", {"images": ("decode", 0)}, {"filename_prefix": "dicache"}, size=(340, 380))],
    ]


def video(fps: int, decode: Node | None = None) -> list[list[Node]]:
    """The columns after the sampler of a graph that makes a video."""
    decode = decode or Node("decode", "VAEDecode", {"samples": ("sampler", 0), "vae": ("vae", 0)})
    return [
        [decode, Node("film", "CreateVideo", {"images": ("decode", 0)}, {"fps": fps})],
        [Node("save", "SaveVideo", {"video": ("film", 0)}, {"filename_prefix": "video/dicache"}, size=(340, 380))],
    ]


HOW = """
**What to look at**: press *Run* and watch the strip on *DiCache Apply*. Every column is a step: grey steps are warm-up,
orange ones ran the whole model, green ones only its first block. The bars are the error that piled up since the last
computed step; where it would cross the dashed threshold the model computes again.
"""

FLUX_DEV_NOTE = f"""
## Flux.1 dev with DiCache

{HOW}
**What to change**: pick another *preset*, or type a *threshold* (0.2 careful, 0.4 published, 0.6 fast). With 0 you get
the picture without the cache: the seed is fixed, so both are comparable.

**Files**: flux1-dev.safetensors in *diffusion_models*, clip_l and t5xxl_fp16 in *text_encoders*, ae in *vae*.
"""

COMPARE_NOTE = """
## What does DiCache cost? Measure it

This graph samples the same seed without DiCache and with each entry of *settings*, and puts the pictures side by side.
Under each picture is its difference from the first, four times as strong. The table on the node has seconds, computed
steps, PSNR and SSIM.

**What to change**: *settings* takes presets (published, fidelity, balanced, fast) and thresholds, with commas. Each is
one more run.

The very first run also loads the model, so queue it twice before you trust the seconds.

**Files**: as in the Flux.1 dev graph.
"""

KONTEXT_NOTE = f"""
## Flux Kontext with DiCache

{HOW}
The picture you edit rides along as reference tokens. They are part of what is cached, but the error is measured on
the new picture alone, so a large unchanged reference does not hide a change.

**Files**: flux1-dev-kontext_fp8_scaled in *diffusion_models*, clip_l and t5xxl_fp8_e4m3fn_scaled in
*text_encoders*, ae in *vae*.
"""

HUNYUAN_NOTE = f"""
## HunyuanVideo text to video with DiCache

{HOW}
*DiCache Apply* comes after *ModelSamplingSD3*; both guider and scheduler take the model from it.

Long videos leave little memory? Set *cache_device* (an advanced input) to cpu.

**Files**: hunyuan_video_t2v_720p_bf16 in *diffusion_models*, clip_l and llava_llama3_fp8_scaled in
*text_encoders*, hunyuan_video_vae_bf16 in *vae*.
"""

WAN21_NOTE = f"""
## Wan 2.1 text to video with DiCache

{HOW}
With a negative prompt and CFG above 1 each step asks the model twice. Every one of the two has its own cache and its
own decisions; a step where only one was reused shows as *mixed*.

**Files**: wan2.1_t2v_1.3B_fp16 in *diffusion_models*, umt5_xxl_fp8_e4m3fn_scaled in *text_encoders*,
wan_2.1_vae in *vae*. The 14B model works the same.
"""

WAN22_NOTE = f"""
## Wan 2.2 text to video, two experts

{HOW}
The two experts are two models, so each gets its *DiCache Apply*. Each sampler runs half of the steps; the warm-up
counts from the first step of the whole schedule, so the low-noise expert needs little of it.

Do not combine this with a 4-step LoRA: there is nothing left to skip.

**Files**: wan2.2_t2v_high_noise_14B_fp8_scaled and wan2.2_t2v_low_noise_14B_fp8_scaled in *diffusion_models*,
umt5_xxl_fp8_e4m3fn_scaled in *text_encoders*, wan_2.1_vae in *vae*.
"""

TESTBED_NOTE = f"""
## Testbed: a toy Flux for a CPU

{HOW}
This graph uses the tiny trained Flux and the testbed nodes of the pack's tests, so it runs in seconds without a GPU.
A caption is background color [color2] | shape color size move, for example
stripes red blue | circle yellow large left.
"""

NEGATIVE = "blurry, overexposed, static picture, subtitles, watermark, worst quality, deformed hands, extra fingers"


def flux1_dev() -> list[list[Node]]:
    return [
        [note(FLUX_DEV_NOTE)],
        [
            unet("unet", "https://huggingface.co/Comfy-Org/flux1-dev/resolve/main/flux1-dev.safetensors"),
            clips("flux", FLUX_TEXT + "clip_l.safetensors", FLUX_TEXT + "t5xxl_fp16.safetensors"),
            vae(AE),
        ],
        [
            apply("unet"),
            prompt(
                "positive", "A lighthouse keeper's desk by a storm window, brass lamp, open logbook, 35mm", "Prompt"
            ),
        ],
        [
            Node("guidance", "FluxGuidance", {"conditioning": ("positive", 0)}, {"guidance": 3.5}),
            Node("negative", "ConditioningZeroOut", {"conditioning": ("positive", 0)}),
            Node("latent", "EmptySD3LatentImage", widgets={"width": 1024, "height": 1024, "batch_size": 1}),
        ],
        [sampler(steps=30)],
        [*picture()[0], report()],
        picture()[1],
    ]


def flux1_dev_compare() -> list[list[Node]]:
    sources = {"positive": ("guidance", 0), "negative": ("negative", 0), "latent_image": ("latent", 0)}
    widgets = {"seed": 42, "steps": 30, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    settings = {"control_after_generate": "fixed", "settings": "published, fidelity, fast"}
    compare = Node(
        "compare",
        "DiCacheCompare",
        {"model": ("unet", 0), "vae": ("vae", 0), **sources},
        {**widgets, **settings},
        size=(520, 640),
    )
    _, loaders, (_, positive), guidance, *_ = flux1_dev()
    save = Node("save", "SaveImage", {"images": ("compare", 1)}, {"filename_prefix": "compare"}, size=(340, 380))
    return [[note(COMPARE_NOTE)], loaders, [positive], guidance, [compare], [save]]


def sampler(model: str = "dicache", positive: str = "guidance", negative: str = "negative", **widgets) -> Node:
    defaults = {"seed": 42, "steps": 30, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    inputs = {"model": (model, 0), "positive": (positive, 0), "negative": (negative, 0), "latent_image": ("latent", 0)}
    widgets = {**defaults, "control_after_generate": "fixed", **widgets}
    return Node("sampler", "KSampler", inputs, widgets)


def flux1_kontext() -> list[list[Node]]:
    url = "https://huggingface.co/Comfy-Org/flux1-kontext-dev_ComfyUI/resolve/main/split_files/diffusion_models/"
    return [
        [note(KONTEXT_NOTE)],
        [
            unet("unet", url + "flux1-dev-kontext_fp8_scaled.safetensors"),
            clips("flux", FLUX_TEXT + "clip_l.safetensors", FLUX_TEXT + "t5xxl_fp8_e4m3fn_scaled.safetensors"),
            vae(AE),
        ],
        [
            Node("photo", "LoadImage", widgets={"image": "example.png"}, size=(300, 330)),
            Node("scaled", "FluxKontextImageScale", {"image": ("photo", 0)}),
            Node("latent", "VAEEncode", {"pixels": ("scaled", 0), "vae": ("vae", 0)}),
        ],
        [
            apply("unet"),
            prompt("positive", "Turn this into a watercolour on rough paper, keep the composition", "Edit"),
        ],
        [
            Node("reference", "ReferenceLatent", {"conditioning": ("positive", 0), "latent": ("latent", 0)}),
            Node("guidance", "FluxGuidance", {"conditioning": ("reference", 0)}, {"guidance": 2.5}),
            Node("negative", "ConditioningZeroOut", {"conditioning": ("positive", 0)}),
        ],
        [sampler(steps=30)],
        *picture(),
    ]


def hunyuan_video_t2v() -> list[list[Node]]:
    text = "A paper boat drifts down a rain gutter past mossy stones, low camera, soft light"
    return [
        [note(HUNYUAN_NOTE)],
        [
            unet("unet", HUNYUAN + "diffusion_models/hunyuan_video_t2v_720p_bf16.safetensors"),
            clips(
                "hunyuan_video",
                FLUX_TEXT + "clip_l.safetensors",
                HUNYUAN + "text_encoders/llava_llama3_fp8_scaled.safetensors",
            ),
            vae(HUNYUAN + "vae/hunyuan_video_vae_bf16.safetensors"),
        ],
        [
            Node("shift", "ModelSamplingSD3", {"model": ("unet", 0)}, {"shift": 7.0}),
            prompt("positive", text, "Prompt"),
            latent_video(848, 480, 73),
        ],
        [
            apply("shift"),
            Node("guidance", "FluxGuidance", {"conditioning": ("positive", 0)}, {"guidance": 6.0}),
        ],
        [
            Node("guider", "BasicGuider", {"model": ("dicache", 0), "conditioning": ("guidance", 0)}),
            Node("noise", "RandomNoise", widgets={"noise_seed": 42, "control_after_generate": "fixed"}),
            Node("method", "KSamplerSelect", widgets={"sampler_name": "euler"}),
            Node(
                "sigmas",
                "BasicScheduler",
                {"model": ("dicache", 0)},
                {"scheduler": "simple", "steps": 30, "denoise": 1.0},
            ),
        ],
        [
            Node(
                "sampler",
                "SamplerCustomAdvanced",
                {
                    "noise": ("noise", 0),
                    "guider": ("guider", 0),
                    "sampler": ("method", 0),
                    "sigmas": ("sigmas", 0),
                    "latent_image": ("latent", 0),
                },
            ),
        ],
        *video(
            24,
            Node(
                "decode",
                "VAEDecodeTiled",
                {"samples": ("sampler", 0), "vae": ("vae", 0)},
                {"tile_size": 256, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8},
            ),
        ),
    ]


def wan21_t2v() -> list[list[Node]]:
    text = "A heron takes off from a misty pond at dawn, slow motion, telephoto"
    return [
        [note(WAN21_NOTE)],
        [
            unet("unet", WAN21 + "diffusion_models/wan2.1_t2v_1.3B_fp16.safetensors"),
            wan_clip(),
            vae(WAN21 + "vae/wan_2.1_vae.safetensors"),
        ],
        [
            Node("shift", "ModelSamplingSD3", {"model": ("unet", 0)}, {"shift": 8.0}),
            prompt("positive", text, "Prompt"),
            prompt("negative", NEGATIVE, "Negative"),
        ],
        [apply("shift"), latent_video(832, 480, 33)],
        [sampler(positive="positive", steps=30, cfg=6.0, sampler_name="uni_pc")],
        *video(16),
    ]


def wan22_t2v_two_experts() -> list[list[Node]]:
    text = "A street musician plays the accordion under a red awning, rain, handheld camera"
    shared = {"cfg": 3.5, "steps": 20, "sampler_name": "euler", "scheduler": "simple"}
    conditioning = {"positive": ("positive", 0), "negative": ("negative", 0)}
    return [
        [note(WAN22_NOTE)],
        [
            unet("high", WAN22 + "diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "High noise"),
            unet("low", WAN22 + "diffusion_models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors", "Low noise"),
            wan_clip(),
            vae(WAN22 + "vae/wan_2.1_vae.safetensors"),
        ],
        [
            Node("shift_high", "ModelSamplingSD3", {"model": ("high", 0)}, {"shift": 5.0}),
            Node("shift_low", "ModelSamplingSD3", {"model": ("low", 0)}, {"shift": 5.0}),
            prompt("positive", text, "Prompt"),
            prompt("negative", NEGATIVE, "Negative"),
        ],
        [
            apply("shift_high", "dicache_high", "DiCache Apply (high noise)"),
            apply("shift_low", "dicache_low", "DiCache Apply (low noise)"),
            latent_video(640, 640, 81),
        ],
        [
            Node(
                "first",
                "KSamplerAdvanced",
                {"model": ("dicache_high", 0), **conditioning, "latent_image": ("latent", 0)},
                {
                    **shared,
                    "add_noise": "enable",
                    "noise_seed": 42,
                    "control_after_generate": "fixed",
                    "start_at_step": 0,
                    "end_at_step": 10,
                    "return_with_leftover_noise": "enable",
                },
                "Sampler, steps 0 to 10",
            ),
            Node(
                "sampler",
                "KSamplerAdvanced",
                {"model": ("dicache_low", 0), **conditioning, "latent_image": ("first", 0)},
                {
                    **shared,
                    "add_noise": "disable",
                    "noise_seed": 0,
                    "control_after_generate": "fixed",
                    "start_at_step": 10,
                    "end_at_step": 10000,
                    "return_with_leftover_noise": "disable",
                },
                "Sampler, steps 10 to the end",
            ),
        ],
        *video(16),
    ]


def testbed_flux() -> list[list[Node]]:
    def caption(key: str, text: str, title: str) -> Node:
        return Node(key, "DiCacheTestbedCaption", widgets={"architecture": "flux", "text": text}, title=title)

    return [
        [note(TESTBED_NOTE)],
        [
            Node("unet", "UNETLoader", widgets={"unet_name": "flux.safetensors", "weight_dtype": "default"}),
            caption("guidance", "plain blue | circle yellow large still", "Caption"),
            caption("negative", "", "Unconditional"),
            Node("latent", "DiCacheTestbedLatent", widgets={"architecture": "flux", "batch_size": 1}),
        ],
        [apply("unet"), sampler(steps=30)],
        [
            Node(
                "decode",
                "DiCacheTestbedDecode",
                {"samples": ("sampler", 0), "model": ("unet", 0)},
                {"unet_name": "flux.safetensors"},
            ),
            Node("save", "PreviewImage", {"images": ("decode", 0)}, size=(300, 330)),
        ],
        [report()],
    ]


WORKFLOWS = {
    build.__name__: build
    for build in (
        flux1_dev,
        flux1_dev_compare,
        flux1_kontext,
        hunyuan_video_t2v,
        wan21_t2v,
        wan22_t2v_two_experts,
        testbed_flux,
    )
}
