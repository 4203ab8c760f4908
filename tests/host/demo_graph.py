"""The demo's graph in the API's format, which demo, tests and soak send to the server, and the ids of its nodes."""

import json

from comfy_server import Graph
from layout import REPO

LOADER, APPLY, CAPTION, NEGATIVE, LATENT, SAMPLER, DECODE, SAVE = "12345678"
DETECTED = ("flux", "hunyuan_video", "wan")  # ComfyUI's own loader knows the others at their full widths only


def demo_graph(caption: str, architecture: str = "flux", **sampler: object) -> Graph:
    """A new one; ``sampler`` holds inputs of its KSampler."""
    graph = json.loads((REPO / "tools" / "demo" / "workflows" / "testbed.json").read_text(encoding="utf-8"))
    for node in (CAPTION, NEGATIVE, LATENT):
        graph[node]["inputs"]["architecture"] = architecture
    graph[DECODE]["inputs"]["unet_name"] = f"{architecture}.safetensors"
    if architecture in DETECTED:
        graph[LOADER]["inputs"]["unet_name"] = f"{architecture}.safetensors"
    else:
        graph[LOADER] = {"class_type": "DiCacheTestbedModel", "inputs": {"architecture": architecture}}
    graph[CAPTION]["inputs"]["text"] = caption
    graph[SAMPLER]["inputs"] |= sampler
    return graph
