"""The settings that DiCache Compare is asked for, read from one line of text, and what each sampling gave."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from .config import CacheConfig, check_threshold
from .effective_settings import limit_text
from .policies import POLICIES
from .presets import PRESETS, PUBLISHED_PRESET, TUNED_PRESET, own_config, resolve
from .run_statistics import RunStatistics
from .target import Target
from .tuning.store import TunedSettings


@dataclass(frozen=True)
class Outcome:
    """What came out, and what it took.

    Attributes:
        label: the setting in the user's words; the first outcome of a comparison has no cache.
        samples: ``(B, C, [T,] H, W)`` latent.
        seconds: time of the sampler alone, without loading the model.
        runs: what the cache did, one for each model that took part; empty without one.
    """

    label: str
    samples: Tensor
    seconds: float
    runs: tuple[RunStatistics, ...] = ()


WRITE = (
    f"presets ({', '.join([*PRESETS, TUNED_PRESET])}), speeds (2x), numbers of computed steps (12), thresholds (0.2) "
    "or policies"
)


@dataclass(frozen=True)
class Setting:
    """One thing to compare; one slot is filled."""

    preset: str = ""
    policy: str = ""
    target: str = ""
    threshold: float | None = None

    def resolved(
        self, architecture: str, tuned: Callable[[], TunedSettings] | None = None
    ) -> tuple[str, CacheConfig | TunedSettings]:
        """A label and the settings for an architecture; ``tuned`` says what was tuned for the model at hand."""
        if self.preset == TUNED_PRESET and tuned is not None:
            return TUNED_PRESET, tuned()
        if self.target:
            config = own_config(self.target, architecture)
            return limit_text(config), config
        if self.threshold is not None:
            return f"threshold {self.threshold:g}", resolve(architecture, PUBLISHED_PRESET, threshold=self.threshold)
        if self.policy:
            config = resolve(architecture, policy=POLICIES[self.policy])
        else:
            config = resolve(architecture, self.preset)
        return f"{self.preset or self.policy} ({limit_text(config)})", config


def parse_settings(text: str) -> tuple[Setting, ...]:
    """``"published, 2x, 12, 0.2, fbcache"`` -> settings in order, each once.

    A number with an x is a speed and a whole number of 2 or more written without a point a count of computed steps,
    both of this pack's own policy; any other number is a threshold of the paper's.

    Raises:
        ValueError: says what to write.
    """
    words = [word.strip().lower() for word in text.replace("\n", ",").split(",") if word.strip()]
    if not words:
        raise ValueError(f'settings is empty: write {WRITE}, with commas in between, such as "published, 2x, fast"')
    return tuple(dict.fromkeys(_setting(word) for word in words))


def settings_of(
    text: str, architecture: str, tuned: Callable[[], TunedSettings] | None = None
) -> list[tuple[str, CacheConfig | TunedSettings]]:
    """Each of ``parse_settings(text)`` with a label, for any architecture."""
    return [setting.resolved(architecture, tuned) for setting in parse_settings(text)]


def _setting(word: str) -> Setting:
    if word in PRESETS or word == TUNED_PRESET:
        return Setting(preset=word)
    if word in POLICIES:
        if POLICIES[word].calibrated:
            raise ValueError(f"settings has {word!r}, which needs a calibration: use DiCache Policy with DiCache Apply")
        if POLICIES[word].limited_by == "mask" and not POLICIES[word].in_parts:
            raise ValueError(f"settings has {word!r}, which needs a mask: use DiCache Policy with DiCache Apply")
        return Setting(policy=word)
    if re.fullmatch(r"[\d.]+\s*x", word) or (re.fullmatch(r"\d{1,5}", word) and int(word) >= 2):
        Target.parse(word)
        return Setting(target=word.replace(" ", ""))
    try:
        threshold = float(word)
    except ValueError:
        raise ValueError(f"settings has {word!r}: write {WRITE} ({', '.join(POLICIES)})") from None
    check_threshold(threshold)
    return Setting(threshold=threshold)
