"""What the presets mean, and how a preset, a policy and typed numbers become one ``CacheConfig``.

The preset ``tuned`` has no settings of its own: they are what DiCache Tune found for the model at hand, a policy that
whoever keeps it hands in.

Who wins, from the strongest: a number typed on DiCache Apply, a number typed on DiCache Policy, the policy's own, the
preset's.  A threshold or a probe depth typed without a policy means the paper's method with that number, whatever the
preset; the number of warm-up steps and the longest run of skipped steps count for whatever rule is in force.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .config import CacheConfig, check_threshold
from .methods import deepcache, dicache
from .methods.dicache import UNPUBLISHED_SPEED, papers_method
from .names import display_name
from .policies import named_policy
from .policy import LIMITS, Policy
from .registry import lookup
from .target import FEW_STEPS

PUBLISHED_PRESET = "published"
DEFAULT_PRESET = "balanced"
TUNED_PRESET = "tuned"

PUBLISHED: dict[str, CacheConfig] = {**dicache.PUBLISHED, **deepcache.PUBLISHED}  # by architecture


@dataclass(frozen=True)
class Preset:
    """What a preset is, and what people are told of it; menus, tooltips and help tables are made from that.

    Attributes:
        speed: that the forecast method is asked for; empty for another method.
        skips: what it skips, half a sentence; a node's name in asterisks.
        use: what it is for.
        label: on the menu; empty: its name, with the speed.
    """

    speed: str
    skips: str
    use: str
    label: str = ""


# In the order of the menu: "published" is the paper and never changes, the others may improve.
MENU: dict[str, Preset] = {
    "fidelity": Preset("1.5x", "up to 1/3 of the steps (1.5x)", "final images"),
    "balanced": Preset("2x", "up to 1/2 of the steps (2x)", "most work; the default"),
    "fast": Preset("3x", "up to 2/3 of the steps (3x)", "trying prompts"),
    PUBLISHED_PRESET: Preset(
        "",
        "what the paper's rule allows",
        "comparing with results of others; it never changes",
        "published (paper)",
    ),
    TUNED_PRESET: Preset(
        "", "what *DiCache Tune* found for your model", "your own model, sampler and taste", "tuned (by DiCache Tune)"
    ),
}
PRESETS: dict[str, str] = {name: preset.speed for name, preset in MENU.items() if name != TUNED_PRESET}


NOT_TUNED = f"this {{}} model is not tuned yet: run DiCache Tune with it once, or choose the preset {DEFAULT_PRESET}"


def preset_config(preset: str, architecture: str) -> CacheConfig:
    """The settings that a preset has for an architecture.

    Raises:
        ValueError: there is no such preset; lists the known ones.
    """
    speed = lookup(PRESETS, preset, "preset")
    return own_config(speed, architecture) if speed else published(architecture)


def published(architecture: str) -> CacheConfig:
    """The published settings of an architecture; where there are none, the paper's rule under a speed target."""
    return PUBLISHED.get(architecture) or papers_method(architecture)


def published_note(architecture: str) -> str | None:
    """What to say of the preset ``published`` where nothing was published; ``None`` where something was."""
    if architecture in PUBLISHED:
        return None
    return f"The paper has no numbers for {display_name(architecture)}: its rule is used, at {UNPUBLISHED_SPEED}."


def own_config(target: str, architecture: str) -> CacheConfig:
    """This pack's own policy at a speed or a number of computed steps, for any architecture."""
    return replace(named_policy("forecast"), target=target).applied_to(CacheConfig(architecture=architecture))


def forecast_instead(config: CacheConfig) -> CacheConfig:
    """The forecast method in place of one that looks at blocks: at its target, else at the default preset's speed, and
    with the numbers that count for whatever rule is in force."""
    return replace(
        own_config(config.target or PRESETS[DEFAULT_PRESET], config.architecture),
        warmup_steps=config.warmup_steps,
        max_consecutive=config.max_consecutive,
        start_percent=config.start_percent,
        end_percent=config.end_percent,
        cache_device=config.cache_device,
        residual_bits=config.residual_bits,
    )


def needs_tuned(
    preset: str,
    policy: Policy | None = None,
    *,
    threshold: float | None = None,
    probe_depth: int | None = None,
    **_others: object,
) -> bool:
    """Whether ``resolve`` needs what was tuned: nothing else that was chosen takes the place of the preset's method."""
    return preset == TUNED_PRESET and policy is None and threshold is None and probe_depth is None


def resolve(
    architecture: str,
    preset: str = DEFAULT_PRESET,
    policy: Policy | None = None,
    *,
    threshold: float | None = None,
    probe_depth: int | None = None,
    warmup_steps: int | None = None,
    max_consecutive: int | None = None,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    cache_device: str = "auto",
    residual_bits: int = 16,
    tuned: Policy | None = None,
) -> CacheConfig:
    """The settings that preset, policy and typed numbers mean together, see above; ``None`` was not typed.

    ``architecture`` may be any name, ``tuned`` is what the preset of that name means.

    Raises:
        ValueError: for what nobody can mean, and for a number that the connected policy does not know.
    """
    if threshold is not None:
        check_threshold(threshold)
    if policy is not None and not isinstance(policy, Policy):  # the host checks links, and no values of own types
        raise ValueError(f"policy is {policy!r}: connect the output of a DiCache Policy, or nothing")
    if needs_tuned(preset, policy, threshold=threshold, probe_depth=probe_depth):
        if tuned is None:
            raise ValueError(NOT_TUNED.format(display_name(architecture)))
        policy = tuned
    config = preset_config(DEFAULT_PRESET if preset == TUNED_PRESET else preset, architecture)
    if policy is not None:
        _refuse_unknown_numbers(policy, threshold, probe_depth)
        config = policy.applied_to(config if policy.rules_are_of(config) else papers_method(architecture))
    elif threshold is not None or probe_depth is not None:
        few_steps = 0 if preset == PUBLISHED_PRESET and published_note(architecture) is None else FEW_STEPS
        config = replace(papers_method(architecture), few_steps=few_steps)
    numbers = {
        "threshold": threshold,
        "probe_depth": probe_depth,
        "warmup_steps": warmup_steps,
        "max_consecutive": max_consecutive,
        "target": None if threshold is None else "",  # who types a threshold does not want it steered
    }
    typed = {name: value for name, value in numbers.items() if value is not None}
    return replace(
        config,
        **typed,
        start_percent=start_percent,
        end_percent=end_percent,
        cache_device=cache_device,
        residual_bits=residual_bits,
    )


def _refuse_unknown_numbers(policy: Policy, threshold: float | None, probe_depth: int | None) -> None:
    """Raise a ``ValueError`` for a number typed on DiCache Apply that the connected policy would not look at.

    A threshold of 0 is no such number: it never skips, whatever the policy.
    """
    if threshold:
        if policy.target:
            raise ValueError(
                f"threshold is {threshold:g}, but the connected DiCache Policy has the target {policy.target}: "
                "write -1 here, or clear that target"
            )
        if policy.limited_by != "threshold":
            raise ValueError(f"threshold is {threshold:g}, but {LIMITS[policy.limited_by]}")
    if probe_depth is not None and not policy.probes:
        raise ValueError(f"probe_depth is {probe_depth}, but the connected DiCache Policy runs no probe: write -1 here")
