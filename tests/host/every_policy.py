"""Every policy with its own settings, loose enough to skip something on a small model within a few steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dicache_core.policies import NAMED

STEPS = 12
MASK = "1,1,1,1,0,0,1,0,0,1,0,1"
BLOCKS = {"flux": "double 1-2, single 2-6", "hunyuan_video": "double 1-2, single 2-6"}  # of the testbed's; elsewhere
FEW_BLOCKS = "blocks 1-2"
NEVER_AT_THIS_SIZE = {"teacache"}  # its polynomial was fitted to the real Flux
POLICIES = tuple(NAMED)
LOOSE = 5.0  # times a method's own threshold: the small model moves more from step to step than a large one,
LESS_LOOSE = 2.0  # but no more than this where each stage of the stack is compared with its own last step


def recorded(passes: Any) -> Any:
    """The curve of one full run of ``STEPS`` steps."""
    runs: list = []
    model = passes.comfy.pack.model_patchers.attach(
        passes.model(), passes.core.calibration.recording_config(), runs=runs
    )
    passes.sample(model, steps=STEPS)
    return passes.core.calibration.calibration_of(runs[0])


def loosened(core: Any, name: str, curve: Any, architecture: str = "flux") -> Any:
    """Settings of the policy of that name for ``STEPS`` steps."""
    policy = core.policies.POLICIES[name]
    if policy.limited_by == "mask":
        policy = replace(policy, mask=BLOCKS.get(architecture, FEW_BLOCKS) if policy.in_parts else MASK)
    else:
        policy = replace(policy, calibration=curve)
    config = core.resolve(architecture, policy=policy)
    if not config.target and policy.limited_by == "threshold":
        config = replace(config, threshold=(LESS_LOOSE if policy.in_parts else LOOSE) * config.threshold)
    if config.adaptive:  # a count is taken at its word
        config = replace(config, target=str(STEPS // 2))
    return config
