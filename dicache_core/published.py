"""The published settings per architecture, in one table.

Source: Bu et al., "DiCache: Let Diffusion Model Determine Its Own Cache", arXiv 2508.17356, and the authors' released
code: probe depth 1, warm-up 20% of the steps everywhere; Flux at 30 steps, HunyuanVideo and Wan at 50.  For Wan the
paper's text gives a threshold of 0.2, the released code 0.08; the code's value is the careful one and is used here.
Chroma, which the paper did not measure, takes the setting of its nearest relative.  Every other architecture takes the
paper's rule without a threshold, which would be a guess: it is steered to a speed, as far as the paper's own reach.
"""

from __future__ import annotations

from .config import CacheConfig
from .names import display_name
from .policies import named_policy
from .target import FEW_STEPS

UNPUBLISHED_SPEED = "2x"  # about what the paper's thresholds give on the models that it measured

PUBLISHED: dict[str, CacheConfig] = {
    "flux": CacheConfig(architecture="flux", threshold=0.4, gamma_max=1.5),
    "chroma": CacheConfig(architecture="chroma", threshold=0.4, gamma_max=1.5),
    "hunyuan_video": CacheConfig(architecture="hunyuan_video", threshold=0.1, gamma_max=1.5),
    "wan": CacheConfig(architecture="wan", threshold=0.08, gamma_max=2.0),
    "unet": named_policy("deepcache").applied_to(CacheConfig(architecture="unet")),  # Ma et al., arXiv 2312.00858
}


def published(architecture: str) -> CacheConfig:
    """The published settings of an architecture; where there are none, the paper's rule under a speed target."""
    return PUBLISHED.get(architecture) or _unpublished(architecture)


def papers_method(architecture: str) -> CacheConfig:
    """DiCache's own rule with the numbers published for an architecture, also where another method was published."""
    found, rule = published(architecture), _unpublished(architecture)
    return found if (found.indicator, found.predictor) == (rule.indicator, rule.predictor) else rule


def published_note(architecture: str) -> str | None:
    """What to say of the preset ``published`` where nothing was published; ``None`` where something was."""
    if architecture in PUBLISHED:
        return None
    return f"Nothing was published for {display_name(architecture)}: the paper's rule, steered to {UNPUBLISHED_SPEED}."


def _unpublished(architecture: str) -> CacheConfig:
    return CacheConfig(architecture=architecture, gamma_max=1.5, target=UNPUBLISHED_SPEED, few_steps=FEW_STEPS)
