"""The published settings per architecture, in one table.

Source: Bu et al., "DiCache: Let Diffusion Model Determine Its Own Cache", arXiv 2508.17356, and the authors' released
code: probe depth 1, warm-up 20% of the steps everywhere; Flux at 30 steps, HunyuanVideo and Wan at 50.  For Wan the
paper's text gives a threshold of 0.2, the released code 0.08; the code's value is the careful one and is used here.
Architectures that the paper did not measure take the setting of their nearest relative.
"""

from __future__ import annotations

from .config import CacheConfig
from .registry import lookup

PUBLISHED: dict[str, CacheConfig] = {
    "flux": CacheConfig(architecture="flux", threshold=0.4, gamma_max=1.5),
    "chroma": CacheConfig(architecture="chroma", threshold=0.4, gamma_max=1.5),
    "hunyuan_video": CacheConfig(architecture="hunyuan_video", threshold=0.1, gamma_max=1.5),
    "wan": CacheConfig(architecture="wan", threshold=0.08, gamma_max=2.0),
}


def published(architecture: str) -> CacheConfig:
    """The published settings of an architecture, or a ``ValueError`` that lists the known ones."""
    return lookup(PUBLISHED, architecture, "architecture")
