"""The nodes that a testbed graph needs instead of model loader, text encoder and VAE."""

import os

import comfy.patcher_extension
import folder_paths
from comfy_api.latest import ComfyExtension, io

from .conditioning import SHAPES, channel_std, conditioning, empty_latent, pictures
from .models import build_model

CATEGORY = "DiCache testbed"
CELLS = "DICACHE_TESTBED_CELLS"  # width and height of latents where the tests look at no picture: a ninth of the time


class DiCacheTestbedModel(io.ComfyNode):
    """A checkpoint of the testbed, also of those whose widths ComfyUI's loader does not know."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTestbedModel",
            display_name="Testbed Model",
            category=CATEGORY,
            inputs=[io.Combo.Input("architecture", options=list(SHAPES))],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, architecture: str) -> io.NodeOutput:
        return io.NodeOutput(build_model(architecture))


class DiCacheTestbedOwnInput(io.ComfyNode):
    """Gives the network a copy of its input, for caches that write into it: in half precision the host makes one."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTestbedOwnInput",
            display_name="Testbed Own Input",
            category=CATEGORY,
            inputs=[io.Model.Input("model")],
            outputs=[io.Model.Output()],
        )

    @classmethod
    def execute(cls, model) -> io.NodeOutput:
        def with_a_copy(network, x, *others, **named):
            return network(x.clone(), *others, **named)

        model = model.clone()
        model.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "own input", with_a_copy)
        return io.NodeOutput(model)


class DiCacheTestbedCaption(io.ComfyNode):
    """Caption of a checkpoint's world to conditioning."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTestbedCaption",
            display_name="Testbed Caption",
            category=CATEGORY,
            inputs=[
                io.Combo.Input("architecture", options=list(SHAPES)),
                io.String.Input(
                    "text",
                    tooltip="background color [color2] | shape color size move; flux_emoji: rocket on blue; empty: "
                    "unconditional",
                ),
            ],
            outputs=[io.Conditioning.Output()],
        )

    @classmethod
    def execute(cls, architecture: str, text: str) -> io.NodeOutput:
        return io.NodeOutput(conditioning(architecture, text))


class DiCacheTestbedLatent(io.ComfyNode):
    """Empty latent of the size that the checkpoint was trained on."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTestbedLatent",
            display_name="Testbed Latent",
            category=CATEGORY,
            inputs=[
                io.Combo.Input("architecture", options=list(SHAPES)),
                io.Int.Input("batch_size", default=1, min=1, max=16),
            ],
            outputs=[io.Latent.Output()],
        )

    @classmethod
    def execute(cls, architecture: str, batch_size: int) -> io.NodeOutput:
        size = int(os.environ.get(CELLS, "0")) or None
        return io.NodeOutput({"samples": empty_latent(architecture, batch_size, size)})


class DiCacheTestbedDecode(io.ComfyNode):
    """Latent to pictures by the checkpoint's linear code; the frames of a video become a batch."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTestbedDecode",
            display_name="Testbed Decode",
            category=CATEGORY,
            inputs=[
                io.Latent.Input("samples"),
                io.Model.Input("model"),
                io.Combo.Input("unet_name", options=folder_paths.get_filename_list("diffusion_models")),
            ],
            outputs=[io.Image.Output()],
        )

    @classmethod
    def execute(cls, samples: dict, model, unet_name: str) -> io.NodeOutput:
        std = channel_std(folder_paths.get_full_path_or_raise("diffusion_models", unet_name))
        return io.NodeOutput(pictures(samples["samples"], model.get_model_object("latent_format"), std))


class LinearCode:
    """A checkpoint's code, as far as a VAE is asked for pictures."""

    def __init__(self, latent_format, std) -> None:
        self.latent_format, self.std = latent_format, std

    def decode(self, samples):
        """(B, 16, [T,] h, w) latent -> (B * T, H, W, 3) pictures in [0, 1]."""
        return pictures(samples, self.latent_format, self.std).clamp(0, 1)


class DiCacheTestbedVAE(io.ComfyNode):
    """The same code for nodes that decode by themselves."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCacheTestbedVAE",
            display_name="Testbed VAE",
            category=CATEGORY,
            inputs=[
                io.Model.Input("model"),
                io.Combo.Input("unet_name", options=folder_paths.get_filename_list("diffusion_models")),
            ],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls, model, unet_name: str) -> io.NodeOutput:
        std = channel_std(folder_paths.get_full_path_or_raise("diffusion_models", unet_name))
        return io.NodeOutput(LinearCode(model.get_model_object("latent_format"), std))


class TestbedExtension(ComfyExtension):
    """The pack as ComfyUI sees it."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        return [
            DiCacheTestbedModel,
            DiCacheTestbedOwnInput,
            DiCacheTestbedCaption,
            DiCacheTestbedLatent,
            DiCacheTestbedDecode,
            DiCacheTestbedVAE,
        ]
