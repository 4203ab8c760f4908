"""Every policy with its own settings, loose enough to skip something on a small model within a few steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

STEPS = 12
MASK = "1,1,1,1,0,0,1,0,0,1,0,1"
NEVER_AT_THIS_SIZE = {"teacache"}  # its polynomial was fitted to the real Flux
POLICIES = (  # by name, as the pack is only imported once ComfyUI runs
    "dicache", "dicache_delta_minus", "trajectory_error", "trajectory_error_output", "output_reuse", "output_line",
    "corrected_line", "foreseen", "fbcache", "teacache", "easycache", "magcache", "taylorseer_1", "taylorseer_2",
    "foca", "hyca", "sensitivity", "fixed_interval", "step_mask", "spectrum", "spectrum_output", "seacache", "hicache",
    "freqca", "tc_pade", "worldcache", "cachequant", "deepcache", "smoothcache", "procache", "meancache",
    "fastercache",
)  # fmt: skip
LOOSE = 5.0  # times a method's own threshold: the small model moves more from step to step than a large one


def recorded(passes: Any) -> Any:
    """The curve of one full run of ``STEPS`` steps."""
    runs: list = []
    model = passes.comfy.pack.model_patchers.attach(passes.model(), passes.core.calibration(), runs=runs)
    passes.sample(model, steps=STEPS)
    return passes.core.curve_of(runs[0])


def loosened(core: Any, name: str, curve: Any, architecture: str = "flux") -> Any:
    """Settings of the policy of that name for ``STEPS`` steps."""
    policy = core.POLICIES[name]
    policy = replace(policy, mask=MASK) if name == "step_mask" else replace(policy, curve=curve)
    config = core.resolve(architecture, policy=policy)
    if not config.target and policy.limited_by == "threshold":
        config = replace(config, threshold=LOOSE * config.threshold)
    if config.earned:  # a count is taken at its word
        config = replace(config, target=str(STEPS // 2))
    return config
