"""ComfyUI-DiCache: a training-free adaptive cache for diffusion transformers (arXiv 2508.17356)."""

from .nodes import DiCacheExtension

WEB_DIRECTORY = "./web"


async def comfy_entrypoint() -> DiCacheExtension:
    return DiCacheExtension()


__all__ = ["WEB_DIRECTORY", "comfy_entrypoint"]
