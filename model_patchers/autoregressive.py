"""Models that write a video block by block."""

from __future__ import annotations

from comfy.samplers import Sampler

AUTOREGRESSIVE = ("sample_ar_video",)  # the host's name of the function behind Sampler AR Video


def is_autoregressive(sampler: Sampler) -> bool:
    """Whether a sampler keeps keys and values of each block of frames, which every call of the model has to write.

    A call that is skipped would leave them where they are while the sampler counts on; and the block loop that such a
    model runs then asks nobody for replacements.
    """
    function = getattr(sampler, "sampler_function", None)  # only the host's KSAMPLER has one
    return getattr(function, "__name__", "") in AUTOREGRESSIVE
