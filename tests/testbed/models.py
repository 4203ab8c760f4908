"""Testbed checkpoints to models of the host.  Needs ComfyUI, unlike ``conditioning``.

Flux, HunyuanVideo and Wan are found out by the host's own detection.  It has fixed widths for the others: their
configuration and their ``BaseModel`` are built here, in the steps of ``comfy.sd.load_diffusion_model_state_dict``.
"""

from typing import ClassVar

import comfy.latent_formats
import comfy.model_management
import comfy.model_patcher
import comfy.sd
import comfy.supported_models
import comfy.utils

from .conditioning import weights
from .networks import NETWORKS


class PlainLatent(comfy.latent_formats.LatentFormat):
    """The linear code of scenes.py as it is."""

    latent_channels = 16


class SmallUNet(comfy.supported_models.SD15):
    """SD 1.5's schedule and prediction around a U-Net of other widths, on the testbed's 16 channels."""

    unet_config: ClassVar[dict] = {}
    unet_extra_config: ClassVar[dict] = {}
    latent_format = PlainLatent

    def inpaint_model(self) -> bool:
        return False


CONFIGS = {
    "qwen_image": comfy.supported_models.QwenImage,
    "z_image": comfy.supported_models.ZImage,
    "unet": SmallUNet,
}


def build_model(architecture: str, disable_dynamic: bool = False):
    """A ModelPatcher of the host around the checkpoint of ``architecture``."""
    path = str(weights(architecture))
    if architecture not in CONFIGS:
        return comfy.sd.load_diffusion_model(path)
    state = comfy.utils.load_torch_file(path)
    config = CONFIGS[architecture](NETWORKS[architecture])
    management = comfy.model_management
    device, dtypes = management.get_torch_device(), config.supported_inference_dtypes
    dtype = management.unet_dtype(
        model_params=comfy.utils.calculate_parameters(state),
        supported_dtypes=list(dtypes),
        weight_dtype=comfy.utils.weight_dtype(state),
    )
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, dtypes))
    model = config.get_model(state)
    kind = comfy.model_patcher.ModelPatcher if disable_dynamic else comfy.model_patcher.CoreModelPatcher
    patcher = kind(model, load_device=device, offload_device=management.unet_offload_device())
    model.load_model_weights(state, "", assign=patcher.is_dynamic())
    patcher.cached_patcher_init = (build_model, (architecture,))
    return patcher
