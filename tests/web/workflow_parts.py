"""What example workflows are made of: nodes, the files they load, notes, and the group without the cache."""

from dataclasses import dataclass, field, replace

MUTED = 2  # the front end's mode of a node that is left out
EMOJI = "flux_emoji"  # the testbed's model that paints what people recognise
PRESS_RUN = "Press Run and watch the strip on DiCache Apply"


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
    mode: int = 0


Columns = list[list[Node]]


@dataclass(frozen=True)
class Workflow:
    """A graph: columns of nodes from left to right, and below them the same without DiCache, muted.

    Attributes:
        headline: what to do first, large enough to be read at the zoom at which ComfyUI opens a template.
        testbed: the small model whose run its thumbnail shows: of its own family where the testbed has one.
    """

    title: str
    task: str
    columns: Columns
    without: Columns = field(default_factory=list)
    headline: str = ""
    testbed: str = EMOJI


def workflow(
    title: str,
    task: str,
    columns: Columns,
    text: str,
    memory: str,
    licence: str,
    testbed: str = EMOJI,
    headline: str = PRESS_RUN,
) -> Workflow:
    """The graph with its note in front and the group without DiCache below, where there is an Apply to leave out."""
    muted = without_dicache(columns)
    note = _note(f"{title}, {task}", headline, columns, text, memory, licence, bool(muted))
    return Workflow(title, task, [[note], *columns], muted, headline, testbed)


def without_dicache(columns: Columns) -> Columns:
    """A muted copy of all that comes after DiCache Apply, on the models that Apply gets."""
    nodes = [node for column in columns for node in column]
    sources = {node.key: node.inputs["model"] for node in nodes if node.type == "DiCacheApply"}
    behind: set[str] = set(sources)
    for node in nodes:  # sources come before what uses them
        if any(key in behind for key, _ in node.inputs.values()):
            behind.add(node.key)

    def moved(link: tuple[str, int]) -> tuple[str, int]:
        key, output = link
        return sources.get(key, (f"{key}_plain", output) if key in behind else link)

    def copy(node: Node) -> Node:
        widgets, size = dict(node.widgets), node.size
        if "filename_prefix" in widgets:
            size = (270, 300)  # small, as the zoom at which a template opens is that of the whole graph
            widgets["filename_prefix"] += "_without"
        inputs = {name: moved(link) for name, link in node.inputs.items()}
        return replace(node, key=f"{node.key}_plain", inputs=inputs, widgets=widgets, size=size, mode=MUTED)

    copies = [[copy(n) for n in column if n.key in behind and not n.type.startswith("DiCache")] for column in columns]
    return [column for column in copies if column]


# Notes ----------------------------------------------------------------------------------------------------------------

HOW = """
**What to look at**: each column of the strip on *DiCache Apply* is a step. Orange: computed. Green and thin: skipped.
Grey and hatched: warm-up and the last step, always computed. *DiCache Report* has the numbers of the run.
"""
GROUP = """
**The same seed without DiCache**: the nodes in the group below are muted. Select them and press *Ctrl+M* to compare.
"""


def _note(title: str, headline: str, columns: Columns, text: str, memory: str, licence: str, group: bool) -> Node:
    files = list({f["name"]: f for column in columns for node in column for f in node.models}.values())
    links = "\n".join(f"- [{file['name']}]({file['url']})" for file in files)
    parts = [
        f'# <font size="7">{headline}</font>',  # Nodes 2.0 shows a heading hardly larger than text
        f"## {title}",
        (HOW if group else "").strip(),
        text.strip(),
        (GROUP if group else "").strip(),
        f"**Files**\n\n{links}\n\n```\n{_tree(files)}\n```",
        f"**Memory**: {memory.strip()}",
        f"**Licence of the model**: {licence.strip()}",
    ]
    whole = "\n\n".join(part for part in parts if part)
    return Node("note", "MarkdownNote", widgets={"text": whole}, title="Read me", size=(520, 900))


def _tree(files: list[dict]) -> str:
    """Where the files belong."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(file["directory"], []).append(file["name"])
    lines = ["ComfyUI/models/"]
    for number, (folder, names) in enumerate(folders.items(), 1):
        last = number == len(folders)
        lines.append(f"{'└' if last else '├'}── {folder}/")
        for n, name in enumerate(names, 1):
            lines.append(f"{' ' if last else '│'}   {'└' if n == len(names) else '├'}── {name}")
    return "\n".join(lines)


# Nodes ----------------------------------------------------------------------------------------------------------------

TEXT_ENCODERS = "https://huggingface.co/comfyanonymous/flux_text_encoders/resolve/main/"
AE = "https://huggingface.co/Comfy-Org/Lumina_Image_2.0_Repackaged/resolve/main/split_files/vae/ae.safetensors"


def model_file(folder: str, url: str) -> dict:
    """What the front end needs to offer the download of a missing file."""
    return {"name": url.rsplit("/", 1)[1], "url": url, "directory": folder}


def unet(url: str, key: str = "unet", title: str = "") -> Node:
    files = [model_file("diffusion_models", url)]
    widgets = {"unet_name": files[0]["name"], "weight_dtype": "default"}
    return Node(key, "UNETLoader", widgets=widgets, models=files, title=title)


def checkpoint(url: str) -> Node:
    files = [model_file("checkpoints", url)]
    return Node("unet", "CheckpointLoaderSimple", widgets={"ckpt_name": files[0]["name"]}, models=files)


def clip(kind: str, url: str) -> Node:
    files = [model_file("text_encoders", url)]
    return Node("clip", "CLIPLoader", widgets={"clip_name": files[0]["name"], "type": kind}, models=files)


def two_clips(kind: str, first: str, second: str) -> Node:
    files = [model_file("text_encoders", first), model_file("text_encoders", second)]
    widgets = {"clip_name1": files[0]["name"], "clip_name2": files[1]["name"], "type": kind}
    return Node("clip", "DualCLIPLoader", widgets=widgets, models=files)


def vae(url: str) -> Node:
    files = [model_file("vae", url)]
    return Node("vae", "VAELoader", widgets={"vae_name": files[0]["name"]}, models=files)


def prompt(key: str, text: str, title: str, source: tuple[str, int] = ("clip", 0)) -> Node:
    return Node(key, "CLIPTextEncode", {"clip": source}, {"text": text}, title, size=(340, 140))


def zero_out() -> Node:
    return Node("negative", "ConditioningZeroOut", {"conditioning": ("positive", 0)})


def shift(node_type: str, value: float, source: str = "unet", key: str = "shift") -> Node:
    return Node(key, node_type, {"model": (source, 0)}, {"shift": value})


def latent(node_type: str, width: int, height: int, **widgets: int) -> Node:
    return Node("latent", node_type, widgets={"width": width, "height": height, **widgets, "batch_size": 1})


def apply(source: str, key: str = "dicache", title: str = "", **inputs: tuple[str, int]) -> Node:
    """DiCache Apply with the values that its schema has when the file is made."""
    return Node(key, "DiCacheApply", {"model": (source, 0), **inputs}, title=title, size=(330, 0))


def report(after: str = "sampler", key: str = "report", source: str = "dicache", title: str = "") -> Node:
    inputs = {"statistics": (source, 1), "after": (after, 0)}
    return Node(key, "DiCacheReport", inputs, title=title, size=(420, 460))


SEED = {"seed": 42, "control_after_generate": "fixed"}


def ksampler(model: str = "dicache", positive: str = "positive", **widgets: object) -> Node:
    defaults = {**SEED, "steps": 20, "cfg": 1.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
    inputs = {
        "model": (model, 0),
        "positive": (positive, 0),
        "negative": ("negative", 0),
        "latent_image": ("latent", 0),
    }
    return Node("sampler", "KSampler", inputs, {**defaults, **widgets})


def custom_sampling(scheduler: Node, guider: Node, sampler_name: str, latent_key: str = "latent") -> Columns:
    """The columns of SamplerCustomAdvanced and what it takes."""
    inputs = {"noise": ("noise", 0), "guider": ("guider", 0), "sampler": ("method", 0), "sigmas": ("sigmas", 0)}
    return [
        [
            Node("noise", "RandomNoise", widgets={"noise_seed": 42, "control_after_generate": "fixed"}),
            Node("method", "KSamplerSelect", widgets={"sampler_name": sampler_name}),
            scheduler,
            guider,
        ],
        [Node("sampler", "SamplerCustomAdvanced", {**inputs, "latent_image": (latent_key, 0)})],
    ]


def basic_scheduler(steps: int, scheduler: str = "simple", model: str = "dicache") -> Node:
    return Node(
        "sigmas", "BasicScheduler", {"model": (model, 0)}, {"scheduler": scheduler, "steps": steps, "denoise": 1.0}
    )


def cfg_guider(cfg: float, positive: tuple[str, int] = ("positive", 0), negative: tuple[str, int] = ("negative", 0)):
    inputs = {"model": ("dicache", 0), "positive": positive, "negative": negative}
    return Node("guider", "CFGGuider", inputs, {"cfg": cfg})


def picture(source: tuple[str, int] = ("vae", 0), prefix: str = "dicache") -> Columns:
    """The columns after the sampler of a graph that makes a picture."""
    return [
        [Node("decode", "VAEDecode", {"samples": ("sampler", 0), "vae": source}, size=(200, 0)), report()],
        [Node("save", "SaveImage", {"images": ("decode", 0)}, {"filename_prefix": prefix}, size=(420, 460))],
    ]


def video(fps: int, decode: Node | None = None, reports: list[Node] | None = None, **more: tuple[str, int]) -> Columns:
    """The columns after the sampler of a graph that makes a video; ``more`` are inputs of CreateVideo."""
    decode = decode or Node("decode", "VAEDecode", {"samples": ("sampler", 0), "vae": ("vae", 0)})
    return [
        [decode, Node("film", "CreateVideo", {"images": ("decode", 0), **more}, {"fps": fps})],
        reports or [report()],
        [Node("save", "SaveVideo", {"video": ("film", 0)}, {"filename_prefix": "video/dicache"}, size=(420, 460))],
    ]


def decode_tiled(samples: str = "sampler", source: tuple[str, int] = ("vae", 0), **tiles: int) -> Node:
    sizes = {"tile_size": 256, "overlap": 64, "temporal_size": 64, "temporal_overlap": 8, **tiles}
    return Node("decode", "VAEDecodeTiled", {"samples": (samples, 0), "vae": source}, sizes)
