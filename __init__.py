"""ComfyUI-DiCache: a training-free adaptive cache for diffusion transformers (arXiv 2508.17356)."""

from .host_version import say_if_older

say_if_older()  # before the nodes: in an older ComfyUI their imports fail

from .nodes import DiCacheExtension  # noqa: E402

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> DiCacheExtension:
    return DiCacheExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
