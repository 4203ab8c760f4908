"""What DiCache Tune remembers of a model: choices by sampler, steps and part of the schedule, and their file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..calibration import LARGEST_FILE
from ..call_plan import CallPlan
from ..config import CacheConfig
from ..names import display_name
from ..policies import chosen_policy
from ..policy import Policy
from .context import RunContext, SamplerFamily, TunedMatch

VERSION = 3
OLDEST = 2  # had no plans
MOST_STEPS = 1_000_000
MOST_CHOICES = 64  # per model; of under 1000 characters each
MOST_CALLS = 100  # of the model in a step
AGAIN = "delete the file, or run DiCache Tune again"


@dataclass(frozen=True)
class Choice:
    """What one tuning ended with.

    Attributes:
        context: in which it was measured.
        goal: what was asked for, in the user's words.
        policy, target: what to sample with, as ``chosen_policy`` reads them.
        speed: that was measured.
        psnr, ssim: lowest that were measured; ``psnr`` in decibels. 0 where they were not.
        plan: which calls the forecast method computes, where a search found better ones than its own.
    """

    context: RunContext
    goal: str
    policy: str
    target: str
    speed: float
    psnr: float
    ssim: float
    plan: CallPlan | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.context.calls <= MOST_CALLS or not 1 <= self.context.steps <= MOST_STEPS:
            raise ValueError("it has no steps, or no calls in a step")
        if not 0 <= self.context.begin <= self.context.end <= 1:
            raise ValueError("its begin and end are not a part of a schedule")
        if not 0 < len(self.goal) <= 100 or len(self.target) > 20:
            raise ValueError("its wish or its target is empty or too long")
        if not all(math.isfinite(value) and value >= 0 for value in (self.speed, self.psnr, self.ssim)):
            raise ValueError("speed, psnr or ssim is not a number of 0 or more")
        if self.made().limited_by == "mask" or self.made().calibrated:
            raise ValueError(f"the policy {self.policy!r} needs more than a target")

    def made(self) -> Policy:
        """The policy, for ``resolve``."""
        return chosen_policy(self.policy, target=self.target, plan=self.plan)

    @classmethod
    def read(cls, content: Any) -> Choice:
        """From what a file says.

        Raises:
            ValueError: for anything that ``Choice`` would not write.
        """
        try:
            texts = {name: as_kind(str, content[name]) for name in ("goal", "policy", "target")}
            numbers = {name: float(as_kind((int, float), content[name])) for name in ("speed", "psnr", "ssim")}
            where = as_kind(dict, content["context"])
            kinds = {"steps": int, "patched": bool, "begin": (int, float), "end": (int, float), "calls": int}
            parts = {name: as_kind(kind, where[name]) for name, kind in kinds.items()}
            context = RunContext(SamplerFamily(as_kind(str, where["sampler"])), **parts)
            return cls(context, **texts, **numbers, plan=read_plan(content.get("plan")))
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__} {error}") from None


@dataclass(frozen=True)
class TunedModel:
    """All choices of one model, the latest last.

    Attributes:
        architecture: the model's, by name.
        fingerprint: what tells it from other models of that architecture.
    """

    architecture: str
    fingerprint: str
    choices: tuple[Choice, ...] = ()

    def find(self, context: RunContext) -> Choice | None:
        """The choice that serves a run; of several the one from the most alike situation, of those the latest."""
        fitting = [choice for choice in reversed(self.choices) if choice.context.serves(context)]
        return min(fitting, key=lambda c: c.context.distance(context), default=None)

    def match(self, context: RunContext) -> tuple[Choice | None, TunedMatch]:
        """The choice that serves a run, and what to say of it."""
        choice = self.find(context)
        if choice is None:
            return None, TunedMatch(self._lacks(context), "", context.steps)
        without = context.patched and not choice.context.patched
        return choice, TunedMatch("patched" if without else "fits", choice.goal, context.steps)

    def _lacks(self, context: RunContext) -> str:
        """The first thing that no choice has in common with a run that none serves, see ``TunedMatch.found``."""
        alike = [c.context for c in self.choices if c.context.samples_like(context)]
        if not alike:
            return "sampler" if self.choices else "model"
        return "part" if any(other.is_near(context) for other in alike) else "steps"

    def with_choice(self, choice: Choice) -> TunedModel:
        """With one more, in place of an earlier one for the same steps of the same schedule and kind of sampler."""
        same = replace(choice.context, patched=False)
        others = [c for c in self.choices if replace(c.context, patched=False) != same]
        kept = TunedModel(self.architecture, self.fingerprint, (*others, choice)[-MOST_CHOICES:])
        while len(kept.to_json()) > LARGEST_FILE:  # plans of many calls
            kept = replace(kept, choices=kept.choices[1:])
        return kept

    def describe(self) -> str:
        """A line per choice."""
        return "\n".join(
            f"{display_name(self.architecture)} ({self.fingerprint[:8]}), {c.context.range[0]} to "
            f"{c.context.range[1]} steps, {c.context.sampler_text}{_part(c.context)}: {c.policy} {c.target}".rstrip()
            + f" for {c.goal!r}: {c.speed:.2f}x, "
            + (f"PSNR {c.psnr:.1f} dB, SSIM {c.ssim:.3f}" if c.psnr else "quality not measured")
            + (", with a plan" if c.plan else "")
            + (", tuned with a LoRA" if c.context.patched else "")
            for c in self.choices
        )

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> TunedModel:
        """What a file remembers.

        Raises:
            ValueError: says what is wrong with it.
        """
        content = read_content(text, "tuned model", range(OLDEST, VERSION + 1), AGAIN)
        try:
            names = [as_kind(str, content[name]) for name in ("architecture", "fingerprint")]
            choices = tuple(map(Choice.read, as_kind(list, content["choices"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"it does not hold settings ({error}): {AGAIN}") from None
        return cls(*names, choices[-MOST_CHOICES:])


@dataclass(frozen=True)
class TunedSettings:
    """Settings that are chosen when a run begins, as its sampler and steps are not known before.

    Attributes:
        remembered: what was tuned for the model.
        fallback: where nothing of it serves a run.
        configs: what each choice means, with the numbers that the user typed.
    """

    remembered: TunedModel
    fallback: CacheConfig
    configs: Mapping[Choice, CacheConfig]

    def for_run(self, context: RunContext) -> tuple[CacheConfig, TunedMatch]:
        choice, tuned_match = self.remembered.match(context)
        return (self.fallback if choice is None else self.configs[choice]), tuned_match


def read_plan(content: Any) -> CallPlan | None:
    """What ``asdict`` made of a plan, or of none.

    Raises:
        KeyError, TypeError, ValueError, OverflowError: for anything else.
    """
    if content is None:
        return None
    shares = tuple(float(as_kind((int, float), share)) for share in as_kind(list, as_kind(dict, content)["shares"]))
    return CallPlan(shares, as_kind(int, content["calls"]))


def _part(context: RunContext) -> str:
    """Which part of the schedule, for people; nothing of a whole one."""
    whole = (context.begin, context.end) == (0.0, 1.0)
    return "" if whole else f", {context.begin:.0%} to {context.end:.0%} of the schedule"


def read_content(text: str, what: str, versions: range, again: str) -> dict[str, Any]:
    """The content of a kept file of the pack, of one of the ``versions``.

    Raises:
        ValueError: for anything else; it ends with ``again``, what to do.
    """
    if len(text) > LARGEST_FILE:
        raise ValueError(f"it has {len(text)} characters, {LARGEST_FILE} is the most: {again}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"it is not JSON ({error}): {again}") from None
    if not isinstance(content, dict) or "version" not in content:
        raise ValueError(f"DiCache Tune did not write it, it is no {what}: {again}")
    version = content["version"]
    if type(version) is not int or version not in versions:
        known = f"{versions[0]} to {versions[-1]}" if len(versions) > 1 else f"{versions[0]}"
        raise ValueError(f"it has version {version!r:.40}, this pack reads {known}: {again}")
    return content


def as_kind(kind: type | tuple[type, ...], value: Any) -> Any:
    """``value`` where it is of a kind; JSON's true and false are no numbers."""
    wanted = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in wanted):
        raise TypeError(f"{value!r:.40} is not a {' or '.join(k.__name__ for k in wanted)}")
    return value
