"""The example workflows as specifications; ``make_workflows.py`` builds them in the real front end.

Loaders, file names, sampler settings and sizes are those of ComfyUI's own template for the model, so a graph runs for
everyone who has that model.  This file has the models that make pictures, and the list of all.
"""

from workflow_parts import (
    AE,
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
    ksampler,
    latent,
    picture,
    prompt,
    report,
    shift,
    two_clips,
    unet,
    vae,
    workflow,
    zero_out,
)
from workflows_video import VIDEO_MENU

FLUX_DEV = "https://huggingface.co/Comfy-Org/flux1-dev/resolve/main/flux1-dev.safetensors"
KONTEXT = "https://huggingface.co/Comfy-Org/flux1-kontext-dev_ComfyUI/resolve/main/split_files/diffusion_models/"
CHROMA = "https://huggingface.co/Comfy-Org/Chroma1-HD_repackaged/resolve/main/split_files/diffusion_models/"
QWEN = "https://huggingface.co/Comfy-Org/Qwen-Image_ComfyUI/resolve/main/split_files/"
Z_IMAGE = "https://huggingface.co/Comfy-Org/z_image/resolve/main/split_files/diffusion_models/"
Z_IMAGE_TURBO = "https://huggingface.co/Comfy-Org/z_image_turbo/resolve/main/split_files/"
FLUX2 = "https://huggingface.co/Comfy-Org/flux2-dev/resolve/main/split_files/"
QWEN_EDIT = "https://huggingface.co/Comfy-Org/Qwen-Image-Edit_ComfyUI/resolve/main/split_files/diffusion_models/"
SDXL = "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors"

SDXL_LICENCE = "CreativeML Open RAIL++-M"
SDXL_MEMORY = "2.6 billion parameters, 7 GB with text encoders and VAE."
FLUX_LICENCE = "FLUX.1 [dev] Non-Commercial License"
FLUX_MEMORY = """
12 billion parameters, 24 GB as loaded here. With less, choose *weight_dtype* fp8_e4m3fn on the loader (half of it) and
[t5xxl_fp8_e4m3fn_scaled](https://huggingface.co/comfyanonymous/flux_text_encoders/resolve/main/t5xxl_fp8_e4m3fn_scaled.safetensors)
as text encoder; ComfyUI keeps what does not fit in main memory.
"""


def flux_loaders(t5: str = "t5xxl_fp16.safetensors", model: str = FLUX_DEV) -> list[Node]:
    return [unet(model), two_clips("flux", TEXT_ENCODERS + "clip_l.safetensors", TEXT_ENCODERS + t5), vae(AE)]


def flux_conditioning(text: str) -> list[list[Node]]:
    return [[prompt("positive", text, "Prompt"), zero_out(), latent("EmptySD3LatentImage", 1024, 1024)]]


def flux1_dev() -> Workflow:
    columns: Columns = [
        flux_loaders(),
        *flux_conditioning("A lighthouse keeper's desk by a storm window, brass lamp, open logbook, 35mm"),
        [apply("unet"), ksampler()],
        *picture(),
    ]
    text = "**What to change**: the *preset* on *DiCache Apply*: fidelity for final images, fast for trying prompts."
    return workflow("Flux.1 dev", "text to image", columns, text, FLUX_MEMORY, FLUX_LICENCE)


def flux1_dev_compare() -> Workflow:
    inputs = {"positive": ("positive", 0), "negative": ("negative", 0), "latent_image": ("latent", 0)}
    compare = Node(
        "compare",
        "DiCacheCompare",
        {"model": ("unet", 0), "vae": ("vae", 0), **inputs},
        {"seed": 42, "control_after_generate": "fixed", "steps": 20, "cfg": 1.0},
        size=(560, 820),
    )
    save = Node("save", "SaveImage", {"images": ("compare", 1)}, {"filename_prefix": "compare"}, size=(420, 460))
    text = """
**What does DiCache cost? Measure it.** One seed is sampled without DiCache and with each entry of *settings*. The sheet
shows all images and a table. Below each image is its difference from the first, four times as strong. The output
*images* has the same images as a batch, for a slider or a viewer.

**What to change**: *settings*, entries with commas in between. Each entry is one more run. Custom sampling goes into
*guider*, *sampler* and *sigmas*. The second expert of Wan 2.2 goes into *low_noise_model*.
"""
    columns: Columns = [
        flux_loaders(),
        *flux_conditioning("A glass terrarium with a tiny railway, macro photograph, morning light"),
        [compare],
        [save],
    ]
    headline = "Press Run: one seed, without DiCache and with each setting"
    return workflow(
        "Compare settings", "Flux.1 dev, one seed", columns, text, FLUX_MEMORY, FLUX_LICENCE, headline=headline
    )


def flux1_dev_tune() -> Workflow:
    more = ["A tailor's workshop, rolls of cloth, one lamp", "Two herons over a rice field, flat ink print"]
    prompts = {f"positive_{number}": (f"positive_{number}", 0) for number in (2, 3)}
    inputs = {"positive": ("positive", 0), "negative": ("negative", 0), "latent_image": ("latent", 0), **prompts}
    tune = Node(
        "tune",
        "DiCacheTuning",
        {"model": ("unet", 0), "vae": ("vae", 0), **inputs},
        {"seed": 42, "control_after_generate": "fixed", "steps": 20, "cfg": 1.0},
        size=(560, 900),
    )
    (first,) = flux_conditioning("A street musician at dusk, rain on the pavement, neon in puddles, 50mm")
    others = [prompt(key, text, "Another prompt") for key, text in zip(prompts, more, strict=True)]
    text = """
**Which setting for my model? Measure it once.** *DiCache Tune* samples the three prompts in full and with several
settings, in at most the time of six full runs. It saves the fastest one that keeps the *quality target*. From then on,
set *preset* to *tuned* on *DiCache Apply* in any graph with this model. *DiCache Tune* is no longer needed.

**What to change**: the *quality target*. Write prompts of your own, and use the sampler and steps of your usual graph.
"""
    columns: Columns = [
        flux_loaders(),
        [*first, *others],
        [tune],
        [apply("unet", policy=("tune", 0)), ksampler()],
        *picture(),
    ]
    headline = "Press Run once: DiCache Tune finds the setting for your model"
    return workflow("Tune", "Flux.1 dev, your prompts", columns, text, FLUX_MEMORY, FLUX_LICENCE, headline=headline)


def flux1_dev_policy() -> Workflow:
    inputs = {"model": ("unet", 0), "positive": ("positive", 0), "negative": ("negative", 0)}
    calibrate = Node(
        "calibrate",
        "DiCacheCalibrate",
        {**inputs, "latent_image": ("latent", 0)},
        {"seed": 7, "control_after_generate": "fixed", "steps": 20, "cfg": 1.0, "name": "flux1_dev_20"},
    )
    policy = Node("policy", "DiCachePolicy", {"curve": ("calibrate", 0)}, {"policy": "magcache"}, size=(330, 0))
    columns: Columns = [
        flux_loaders(),
        *flux_conditioning("A hand-painted tram map of a city that never was, folded paper, soft shadows"),
        [calibrate],
        [policy, apply("unet", policy=("policy", 0))],
        [ksampler()],
        *picture(),
    ]
    text = """
**Another method**: *DiCache Policy* chooses when steps are skipped and how they are rebuilt. MagCache needs a
*calibration* of the model. *DiCache Calibrate* records it in one full run and saves it as *flux1_dev_20*. You need that
run once: then delete *DiCache Calibrate* and choose *flux1_dev_20* as *calibration* on *DiCache Policy*.

**What to change**: the *policy*, or its *target*: 2x is a speed, 12 is a number of computed steps.
"""
    headline = "Press Run: the first run also calibrates MagCache"
    return workflow(
        "MagCache", "Flux.1 dev, calibrated once", columns, text, FLUX_MEMORY, FLUX_LICENCE, headline=headline
    )


def flux1_dev_custom_sampling() -> Workflow:
    guider = Node("guider", "BasicGuider", {"model": ("dicache", 0), "conditioning": ("guidance", 0)})
    columns: Columns = [
        flux_loaders(),
        [
            prompt("positive", "Terraced rice fields after rain, mirrored clouds, a red umbrella, aerial", "Prompt"),
            Node("guidance", "FluxGuidance", {"conditioning": ("positive", 0)}, {"guidance": 3.5}),
            latent("EmptySD3LatentImage", 1024, 1024),
        ],
        [apply("unet")],
        *custom_sampling(basic_scheduler(20), guider, "euler"),
        *picture(),
    ]
    text = "**Custom sampling**: guider and scheduler both take the model from *DiCache Apply*."
    return workflow("Custom sampling", "Flux.1 dev", columns, text, FLUX_MEMORY, FLUX_LICENCE)


def flux1_kontext() -> Workflow:
    columns: Columns = [
        flux_loaders("t5xxl_fp8_e4m3fn_scaled.safetensors", KONTEXT + "flux1-dev-kontext_fp8_scaled.safetensors"),
        [
            Node("photo", "LoadImage", widgets={"image": "example.png"}, size=(300, 380)),
            Node("scaled", "FluxKontextImageScale", {"image": ("photo", 0)}),
            Node("latent", "VAEEncode", {"pixels": ("scaled", 0), "vae": ("vae", 0)}),
        ],
        [
            prompt("positive", "Turn this into a watercolour on rough paper, keep the composition", "Edit"),
            zero_out(),
            Node("reference", "ReferenceLatent", {"conditioning": ("positive", 0), "latent": ("latent", 0)}),
            Node("guidance", "FluxGuidance", {"conditioning": ("reference", 0)}, {"guidance": 2.5}),
        ],
        [apply("unet"), ksampler(positive="guidance")],
        *picture(),
    ]
    text = "**What to change**: load your own image and write how to change it."
    memory = "12 billion parameters, 12 GB in fp8 as loaded here, and 5 GB for the text encoder in fp8."
    return workflow("Flux.1 Kontext dev", "image editing", columns, text, memory, FLUX_LICENCE)


def flux2_dev() -> Workflow:
    size = {"width": 1024, "height": 1024}
    columns: Columns = [
        [
            unet(FLUX2 + "diffusion_models/flux2_dev_fp8mixed.safetensors"),
            clip("flux2", FLUX2 + "text_encoders/mistral_3_small_flux2_fp8.safetensors"),
            vae(FLUX2 + "vae/flux2-vae.safetensors"),
        ],
        [
            prompt("positive", "A ceramic workshop at noon, shelves of blue bowls, dust in the light, 35mm", "Prompt"),
            Node("guidance", "FluxGuidance", {"conditioning": ("positive", 0)}, {"guidance": 4.0}),
            latent("EmptyFlux2LatentImage", 1024, 1024),
        ],
        [apply("unet")],
        *custom_sampling(
            Node("sigmas", "Flux2Scheduler", widgets={"steps": 20, **size}),
            Node("guider", "BasicGuider", {"model": ("dicache", 0), "conditioning": ("guidance", 0)}),
            "euler",
        ),
        *picture(),
    ]
    text = """
To edit an image, add *VAE Encode* and *ReferenceLatent* before the guider, as in ComfyUI's own template. The Turbo LoRA
samples in 8 steps. At most two of them can be skipped.
"""
    memory = "32 billion parameters, and a text encoder of 24 billion: 57 GB of files as loaded here, in fp8."
    return workflow("Flux.2 dev", "text to image", columns, text, memory, "FLUX [dev] Non-Commercial License v2.0")


def chroma() -> Workflow:
    negative = "low quality, unfinished sketch, blurry, lacks detail, artifacts, oversaturated, flat colours"
    columns: Columns = [
        [
            unet(CHROMA + "Chroma1-HD-fp8mixed.safetensors"),
            clip("chroma", TEXT_ENCODERS + "t5xxl_fp8_e4m3fn_scaled.safetensors"),
            vae(AE),
        ],
        [
            shift("ModelSamplingAuraFlow", 1.0),
            Node("tokens", "T5TokenizerOptions", {"clip": ("clip", 0)}, {"min_padding": 0, "min_length": 0}),
            prompt("positive", "A snow leopard on a ledge at dusk, fur detail, long lens", "Prompt", ("tokens", 0)),
            prompt("negative", negative, "Negative", ("tokens", 0)),
            latent("EmptySD3LatentImage", 1024, 1024),
        ],
        [apply("shift")],
        *custom_sampling(basic_scheduler(26, "beta"), cfg_guider(3.5), "euler"),
        *picture(),
    ]
    memory = "9 billion parameters, 9 GB in fp8 as loaded here, and 5 GB for the text encoder in fp8."
    return workflow("Chroma1-HD", "text to image", columns, "", memory, "Apache 2.0")


def qwen_image() -> Workflow:
    columns: Columns = [
        [
            unet(QWEN + "diffusion_models/qwen_image_fp8_e4m3fn.safetensors"),
            clip("qwen_image", QWEN + "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors"),
            vae(QWEN + "vae/qwen_image_vae.safetensors"),
        ],
        [
            shift("ModelSamplingAuraFlow", 3.1),
            prompt("positive", 'A bakery window with a hand-lettered sign "Open at six", blue hour', "Prompt"),
            prompt("negative", "", "Negative"),
            latent("EmptySD3LatentImage", 1328, 1328),
        ],
        [apply("shift"), ksampler(steps=20, cfg=4.0)],
        *picture(),
    ]
    text = "**What to change**: the model's authors use 50 steps. The more steps, the more of them can be skipped."
    memory = "20 billion parameters, 20 GB in fp8 as loaded here: 86% of a 24 GB card, says ComfyUI's template."
    return workflow("Qwen-Image", "text to image", columns, text, memory, "Apache 2.0", "qwen_image")


def qwen_image_edit() -> Workflow:
    def edit(key: str, text: str, title: str) -> Node:
        inputs = {"clip": ("clip", 0), "vae": ("vae", 0), "image1": ("scaled", 0)}
        return Node(key, "TextEncodeQwenImageEditPlus", inputs, {"prompt": text}, title, size=(340, 180))

    columns: Columns = [
        [
            unet(QWEN_EDIT + "qwen_image_edit_2509_fp8_e4m3fn.safetensors"),
            clip("qwen_image", QWEN + "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors"),
            vae(QWEN + "vae/qwen_image_vae.safetensors"),
        ],
        [
            Node("photo", "LoadImage", widgets={"image": "example.png"}, size=(300, 380)),
            Node("scaled", "FluxKontextImageScale", {"image": ("photo", 0)}),
            Node("latent", "VAEEncode", {"pixels": ("scaled", 0), "vae": ("vae", 0)}),
        ],
        [
            shift("ModelSamplingAuraFlow", 3.0),
            Node("norm", "CFGNorm", {"model": ("shift", 0)}, {"strength": 1.0}),
            edit("positive", "Make it a winter evening with snow, keep everything else", "Edit"),
            edit("negative", "", "Negative"),
        ],
        [apply("norm"), ksampler(steps=20, cfg=2.5)],
        *picture(),
    ]
    text = """
**What to change**: load your own image and write what should change. With the 4-step Lightning LoRA at most one step
can be skipped.
"""
    memory = "20 billion parameters, 20 GB in fp8 as loaded here, and 9 GB for the text encoder in fp8."
    return workflow("Qwen-Image-Edit", "image editing", columns, text, memory, "Apache 2.0", "qwen_image")


def z_image() -> Workflow:
    columns: Columns = [
        [
            unet(Z_IMAGE + "z_image_bf16.safetensors"),
            clip("lumina2", Z_IMAGE_TURBO + "text_encoders/qwen_3_4b.safetensors"),
            vae(Z_IMAGE_TURBO + "vae/ae.safetensors"),
        ],
        [
            shift("ModelSamplingAuraFlow", 3.0),
            prompt("positive", "An astronomer's rooftop in winter, brass telescope, breath in the air", "Prompt"),
            prompt("negative", "", "Negative"),
            latent("EmptySD3LatentImage", 1024, 1024),
        ],
        [apply("shift"), ksampler(steps=25, cfg=4.0, sampler_name="res_multistep")],
        *picture(),
    ]
    text = "This is the base model. Z-Image-Turbo samples in 8 steps. At most two of them can be skipped."
    memory = "6 billion parameters, 12 GB in bf16 as loaded here, and 8 GB for the text encoder."
    return workflow("Z-Image", "text to image", columns, text, memory, "Apache 2.0", "z_image")


def sdxl() -> Workflow:
    columns: Columns = [
        [checkpoint(SDXL)],
        [
            prompt("positive", "evening market under paper lanterns, wet cobblestones", "Prompt", ("unet", 1)),
            prompt("negative", "text, watermark", "Negative", ("unet", 1)),
            latent("EmptyLatentImage", 1024, 1024),
        ],
        [apply("unet"), ksampler(steps=25, cfg=8.0, scheduler="normal")],
        *picture(("unet", 2)),
    ]
    text = "Any other SDXL or SD 1.5 checkpoint goes into the same graph. The refiner is left out."
    return workflow("SDXL", "text to image", columns, text, SDXL_MEMORY, SDXL_LICENCE, "unet")


def sdxl_sde() -> Workflow:
    columns: Columns = [
        [checkpoint(SDXL)],
        [
            prompt("positive", "portrait of a beekeeper in a field of lavender, golden hour", "Prompt", ("unet", 1)),
            prompt("negative", "text, watermark", "Negative", ("unet", 1)),
            latent("EmptyLatentImage", 1024, 1024),
        ],
        [apply("unet"), ksampler(steps=30, cfg=6.0, sampler_name="dpmpp_2m_sde", scheduler="karras")],
        *picture(("unet", 2)),
    ]
    headline = "This sampler adds noise: only late steps are skipped"
    text = """
**Why only late steps are skipped**: dpmpp_2m_sde adds new noise at every step. Early in the run nobody can predict how
the model answers it. Later DiCache has learnt that from the computed steps, and skips what it can predict.

**What to change**: for more speed set *sampler_name* to dpmpp_2m, the same sampler without new noise. Then up to half
of the steps are skipped. Expect another image than from dpmpp_2m_sde.
"""
    return workflow(
        "SDXL, dpmpp_2m_sde", "karras, text to image", columns, text, SDXL_MEMORY, SDXL_LICENCE, "unet", headline
    )


def testbed_flux() -> Workflow:
    """For tests, demo and thumbnails: the testbed's small trained Flux and the nodes that come with it."""

    def caption(key: str, text: str, title: str) -> Node:
        return Node(key, "DiCacheTestbedCaption", widgets={"architecture": "flux", "text": text}, title=title)

    files = {"unet_name": "flux.safetensors"}
    columns: Columns = [
        [
            Node("unet", "UNETLoader", widgets={**files, "weight_dtype": "default"}),
            caption("positive", "plain blue | circle yellow large still", "Caption"),
            caption("negative", "", "Unconditional"),
            Node("latent", "DiCacheTestbedLatent", widgets={"architecture": "flux", "batch_size": 1}),
        ],
        [apply("unet"), ksampler(steps=30)],
        [
            Node("decode", "DiCacheTestbedDecode", {"samples": ("sampler", 0), "model": ("unet", 0)}, files),
            Node("save", "PreviewImage", {"images": ("decode", 0)}, size=(300, 330)),
        ],
        [report()],
    ]
    return Workflow("Testbed", "a toy Flux for a CPU", columns)


TESTBED = {"testbed_flux": testbed_flux}
MENU = {  # as ComfyUI's template browser shows them: it sorts by name, and a name is a title there
    "Flux.1 dev": flux1_dev,
    "Flux.1 Kontext dev, edit an image": flux1_kontext,
    "Flux.2 dev": flux2_dev,
    "Qwen-Image": qwen_image,
    "Qwen-Image-Edit": qwen_image_edit,
    "Z-Image": z_image,
    "Chroma1-HD": chroma,
    "SDXL": sdxl,
    "SDXL with dpmpp_2m_sde karras": sdxl_sde,
    **VIDEO_MENU,
    "Custom sampling": flux1_dev_custom_sampling,
    "Compare settings": flux1_dev_compare,
    "Tune to your model": flux1_dev_tune,
    "MagCache, calibrated": flux1_dev_policy,
}
WORKFLOWS = {f"{number:02} {title}": build for number, (title, build) in enumerate(MENU.items(), 1)}
