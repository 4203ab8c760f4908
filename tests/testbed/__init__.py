"""A ComfyUI node pack that lets tests and demo use the tiny trained checkpoints in ``weights/``.

Importing it is cheap and needs no ComfyUI, so tests and the demo can use ``captions`` and ``scenes`` from outside.
"""


async def comfy_entrypoint():
    """Called by ComfyUI's loader."""
    from .nodes import TestbedExtension

    return TestbedExtension()
