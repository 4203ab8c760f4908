"""What the presets mean, and how a preset, a policy and typed numbers become one ``CacheConfig``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .config import CacheConfig
from .policies import named_policy
from .policy import Policy
from .published import PUBLISHED
from .registry import lookup

LARGEST_THRESHOLD = 10.0  # a relative change of 1000%: beyond it a number is a typing error


def _own(target: str) -> dict[str, CacheConfig]:
    """This pack's own policy for every architecture, at a speed."""
    return {name: replace(named_policy("foreseen").applied_to(c), target=target) for name, c in PUBLISHED.items()}


# preset -> architecture -> settings. "published" is the paper and never changes; the others may be improved.
PRESETS: dict[str, Mapping[str, CacheConfig]] = {
    "published": PUBLISHED,
    "fidelity": _own("1.5x"),
    "balanced": _own("2x"),
    "fast": _own("3x"),
}


def preset_config(preset: str, architecture: str) -> CacheConfig:
    """The settings that a preset has for an architecture, or a ``ValueError`` that lists the known names."""
    return lookup(lookup(PRESETS, preset, "preset"), architecture, "architecture")


def resolve(
    architecture: str,
    preset: str = "published",
    policy: Policy | None = None,
    *,
    threshold: float = -1.0,
    probe_depth: int = 0,
    warmup_steps: int = -1,
    max_consecutive: int = -1,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    cache_device: str = "auto",
    residual_bits: int = 16,
) -> CacheConfig:
    """The preset's settings, changed by the policy, changed by what the user typed.

    -1 (for ``probe_depth`` 0) is not a number that was typed: the preset's or the policy's value stays.
    """
    config = preset_config(preset, architecture)
    if policy is not None:
        if not isinstance(policy, Policy):  # a graph written by hand: the host checks links, and no values of own types
            raise ValueError(f"policy is {policy!r}: connect the output of a DiCache Policy node, or leave it open")
        config = policy.applied_to(config)
    typed = {
        name: value
        for name, value, automatic in (
            ("threshold", threshold, -1),
            ("probe_depth", probe_depth, 0),
            ("warmup_steps", warmup_steps, -1),
            ("max_consecutive", max_consecutive, -1),
        )
        if value != automatic
    }
    check_threshold(typed.get("threshold", 0.0))
    if "threshold" in typed:
        typed["target"] = ""  # who types a threshold does not want it steered
    return replace(
        config,
        **typed,
        start_percent=start_percent,
        end_percent=end_percent,
        cache_device=cache_device,
        residual_bits=residual_bits,
    )


def check_threshold(threshold: float) -> None:
    """Raise a ``ValueError`` for a threshold that nobody can mean."""
    if not 0 <= threshold <= LARGEST_THRESHOLD:
        raise ValueError(
            f"threshold is {threshold:g}: write -1 (the preset's value), 0 (never skips) or a number up to "
            f"{LARGEST_THRESHOLD:g}, such as 0.1 to 0.5"
        )


def parse_settings(text: str) -> tuple[str | float, ...]:
    """``"published, 0.2, fast"`` -> preset names and thresholds in order, each once."""
    words = [word.strip() for word in text.replace("\n", ",").split(",") if word.strip()]
    if not words:
        raise ValueError('settings is empty: write presets or thresholds with commas, such as "published, 0.2, fast"')
    return tuple(dict.fromkeys(_setting(word) for word in words))


def settings_of(text: str, architecture: str) -> list[tuple[str, CacheConfig]]:
    """Each of ``parse_settings(text)`` with a label: a preset as it is, a threshold in the published settings."""
    configs = []
    for setting in parse_settings(text):
        if isinstance(setting, str):
            config = resolve(architecture, setting)
            configs.append((f"{setting} ({config.target or f'{config.threshold:g}'})", config))
        else:
            configs.append((f"threshold {setting:g}", resolve(architecture, threshold=setting)))
    return configs


def _setting(word: str) -> str | float:
    if word.lower() in PRESETS:
        return word.lower()
    try:
        threshold = float(word)
    except ValueError:
        raise ValueError(
            f"settings has {word!r}: write a threshold such as 0.2, or one of {', '.join(PRESETS)}"
        ) from None
    check_threshold(threshold)
    return threshold
