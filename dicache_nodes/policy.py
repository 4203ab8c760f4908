"""The nodes that choose another way of caching: declarations only."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..dicache_core import LARGEST_COUNT, LARGEST_THRESHOLD, CacheConfig, check_threshold
from ..dicache_core.policies import POLICIES, check_companions, chosen_policy
from ..model_patchers import calibration_fingerprint, check_calibration_name, load_calibration, saved_curves
from .shared import CATEGORY, NUMBER, PolicyType, all_typed, checkable, typed

COUNTING = [name for name, policy in POLICIES.items() if policy.limited_by == "interval"]
CALIBRATED = [name for name, policy in POLICIES.items() if policy.calibrated]


class DiCachePolicy(io.ComfyNode):
    """Names another way of caching, for the policy input of DiCache Apply."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="DiCachePolicy",
            display_name="DiCache Policy",
            category=CATEGORY,
            description=(
                "Chooses another method: when steps are skipped, and how a skipped step is rebuilt. Or sets a "
                "speed to meet. For experiments: the presets of DiCache Apply need no policy."
            ),
            search_aliases=["fbcache", "spectrum", "taylorseer", "foca", "target speed"],
            inputs=[
                io.Combo.Input(
                    "policy",
                    options=list(POLICIES),
                    default="dicache",
                    tooltip=(
                        "The method. The menu has seven groups: the paper's, those developed here, published "
                        "methods that judge every step, methods that need a calibration, methods that compute every "
                        "n-th step, methods that skip parts of the model, and plans. The help page explains each one."
                    ),
                ),
                io.String.Input(
                    "target",
                    default="",
                    tooltip=(
                        "A speed to meet, such as 1.5x, 2x or 3x, or a number of steps to compute, such as 12. "
                        "Empty: the method's threshold or interval decides."
                    ),
                ),
                io.Float.Input(
                    "threshold",
                    default=-1.0,
                    min=-1.0,
                    max=LARGEST_THRESHOLD,
                    step=0.001,
                    tooltip=(
                        "How large the method's error measure may grow before a step is computed. -1 uses the "
                        "method's value for this model. 0 never skips. Methods that compute every n-th step use "
                        "interval instead."
                    ),
                ),
                io.Int.Input(
                    "warmup_steps",
                    default=-1,
                    min=-1,
                    max=10000,
                    tooltip="Steps at the start that are never skipped. -1 uses the method's number.",
                ),
                io.String.Input(
                    "mask",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip=(
                        "For step_mask: 1 computes a step and 0 skips it, such as 1,1,1,0,1,0,0,1. For profilingdit: "
                        "the blocks to skip, such as double 6-19, single 0 2 4-7."
                    ),
                ),
                io.Combo.Input(
                    "curve",
                    display_name="calibration",
                    options=["", *saved_curves()],
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip=f"For {', '.join(CALIBRATED)}: a calibration that DiCache Calibrate saved.",
                ),
                io.Int.Input(
                    "interval",
                    default=-1,
                    min=-1,
                    max=LARGEST_COUNT,
                    optional=True,
                    tooltip=(
                        f"For the methods that compute every n-th step ({', '.join(COUNTING)}): n. 3 computes "
                        "every third step. -1 uses the method's number (2 to 6)."
                    ),
                ),
            ],
            outputs=[PolicyType.Output("policy", tooltip="Connect it to DiCache Apply.")],
        )

    @classmethod
    def validate_inputs(
        cls,
        target: str | None = "",
        threshold: float | None = -1.0,
        mask: str | None = "",
        curve: str | None = "",
        interval: int | None = -1,
    ) -> bool | str:
        threshold, interval = typed(checkable(threshold, NUMBER)), typed(checkable(interval, int))
        target, mask, curve = (checkable(text, str) for text in (target, mask, curve))
        try:
            if threshold is not None:
                check_threshold(threshold)
            if interval is not None:
                CacheConfig(interval=interval)
            CacheConfig(target=target or "", mask=mask or "")
            if curve:
                check_calibration_name(curve)
        except ValueError as error:
            return str(error)
        return True

    @classmethod
    def fingerprint_inputs(cls, curve: str | None = "", **_others: Any) -> str:
        """A curve that was calibrated again is another one, whatever its name."""
        return calibration_fingerprint(curve) if checkable(curve, str) else ""

    @classmethod
    def execute(cls, policy: str, mask: str = "", curve: str = "", **numbers: Any) -> io.NodeOutput:
        check_companions(policy, mask, curve)
        loaded = load_calibration(curve) if curve else None
        return io.NodeOutput(chosen_policy(policy, mask=mask, calibration=loaded, **all_typed(numbers)))
