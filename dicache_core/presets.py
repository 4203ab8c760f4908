"""What the presets mean, and how a preset, a policy and typed numbers become one ``CacheConfig``.

The preset ``tuned`` has no settings of its own: they are what DiCache Tune found for the model at hand, a policy that
whoever keeps it hands in.

Who wins, from the strongest: a number typed on DiCache Apply, a number typed on DiCache Policy, the policy's own, the
preset's.  A threshold or a probe depth typed without a policy means the paper's method with that number, whatever the
preset; the number of warm-up steps and the longest run of skipped steps count for whatever rule is in force.
"""

from __future__ import annotations

from dataclasses import replace

from .config import CacheConfig, check_threshold
from .names import display_name
from .policies import named_policy
from .policy import LIMITS, Policy
from .published import papers_method, published, published_note
from .registry import lookup
from .target import FEW_STEPS

PUBLISHED_PRESET = "published"
DEFAULT_PRESET = "balanced"
TUNED_PRESET = "tuned"

# Each with the speed of this pack's own policy: "published" is the paper and never changes, the others may improve.
PRESETS: dict[str, str] = {"fidelity": "1.5x", "balanced": "2x", "fast": "3x", PUBLISHED_PRESET: ""}


NOT_TUNED = (
    f"nothing was tuned for this {{}} model yet: run DiCache Tune with it once, or choose the preset {DEFAULT_PRESET}"
)


def preset_config(preset: str, architecture: str) -> CacheConfig:
    """The settings that a preset has for an architecture, or a ``ValueError`` that lists the known presets."""
    speed = lookup(PRESETS, preset, "preset")
    return own_config(speed, architecture) if speed else published(architecture)


def own_config(target: str, architecture: str) -> CacheConfig:
    """This pack's own policy at a speed or a number of computed steps, for any architecture."""
    return replace(named_policy("foreseen"), target=target).applied_to(CacheConfig(architecture=architecture))


def asks_memory(
    preset: str, policy: Policy | None = None, *, threshold: float = -1.0, probe_depth: int = -1, **_others: object
) -> bool:
    """Whether ``resolve`` needs what was tuned: nothing else that was chosen takes the place of the preset's method."""
    return preset == TUNED_PRESET and policy is None and threshold == -1 and probe_depth == -1


def resolve(
    architecture: str,
    preset: str = DEFAULT_PRESET,
    policy: Policy | None = None,
    *,
    threshold: float = -1.0,
    probe_depth: int = -1,
    warmup_steps: int = -1,
    max_consecutive: int = -1,
    start_percent: float = 0.0,
    end_percent: float = 1.0,
    cache_device: str = "auto",
    residual_bits: int = 16,
    tuned: Policy | None = None,
) -> CacheConfig:
    """The settings that preset, policy and typed numbers mean together, see above; -1 was not typed.

    ``architecture`` may be any name, ``tuned`` is what the preset of that name means.  Raises ``ValueError`` for what
    nobody can mean, and for a number that the connected policy does not know.
    """
    if threshold != -1:
        check_threshold(threshold)
    if policy is not None and not isinstance(policy, Policy):  # the host checks links, and no values of own types
        raise ValueError(f"policy is {policy!r}: connect the output of a DiCache Policy node, or leave it open")
    if asks_memory(preset, policy, threshold=threshold, probe_depth=probe_depth):
        if tuned is None:
            raise ValueError(NOT_TUNED.format(display_name(architecture)))
        policy = tuned
    config = preset_config(DEFAULT_PRESET if preset == TUNED_PRESET else preset, architecture)
    if policy is not None:
        _refuse_unknown_numbers(policy, threshold, probe_depth)
        config = policy.applied_to(config if policy.rules_are_of(config) else papers_method(architecture))
    elif threshold != -1 or probe_depth != -1:
        few_steps = 0 if preset == PUBLISHED_PRESET and published_note(architecture) is None else FEW_STEPS
        config = replace(papers_method(architecture), few_steps=few_steps)
    typed = {
        name: value
        for name, value in (
            ("threshold", threshold),
            ("probe_depth", probe_depth),
            ("warmup_steps", warmup_steps),
            ("max_consecutive", max_consecutive),
        )
        if value != -1
    }
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


def _refuse_unknown_numbers(policy: Policy, threshold: float, probe_depth: int) -> None:
    """Raise a ``ValueError`` for a number typed on DiCache Apply that the connected policy would not look at.

    A threshold of 0 is no such number: it never skips, whatever the policy.
    """
    if threshold not in (-1, 0):
        if policy.target:
            raise ValueError(
                f"threshold is {threshold:g}, but the connected DiCache Policy aims for {policy.target}: "
                "write -1 here, or empty its target"
            )
        if policy.limited_by != "threshold":
            raise ValueError(f"threshold is {threshold:g}, but {LIMITS[policy.limited_by]}")
    if probe_depth != -1 and not policy.probes:
        raise ValueError(
            f"probe_depth is {probe_depth}, but the connected DiCache Policy decides without running any block: "
            "write -1 here"
        )
