"""What DiCache Tune remembers of a model: choices by sampler and number of steps, and the file they are written in."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from .config import CacheConfig
from .curve import LARGEST_FILE
from .names import display_name
from .policies import chosen_policy
from .policy import Policy
from .situation import Recall, Situation

VERSION = 1
MOST_STEPS = 1_000_000
MOST_CHOICES = 64  # per model; of under 1000 characters each
AGAIN = "delete the file, or run DiCache Tune again"


@dataclass(frozen=True)
class Choice:
    """What one tuning ended with.

    Slots:
        situation: in which it was measured.
        wish: what was asked for, in the user's words.
        policy, target: what to sample with, as ``chosen_policy`` reads them.
        speed: that was measured.
        psnr, ssim: lowest that were measured; ``psnr`` in decibels.
    """

    situation: Situation
    wish: str
    policy: str
    target: str
    speed: float
    psnr: float
    ssim: float

    def __post_init__(self) -> None:
        if not 0 < len(self.situation.sampler) <= 100 or not 1 <= self.situation.steps <= MOST_STEPS:
            raise ValueError("its sampler's name is too long, or empty, or its steps are none")
        if not 0 < len(self.wish) <= 100 or len(self.target) > 20:
            raise ValueError("its wish or its target is too long, or empty")
        if not all(math.isfinite(value) and value >= 0 for value in (self.speed, self.psnr, self.ssim)):
            raise ValueError("speed, psnr or ssim is no number of 0 or more")
        if self.made().limited_by == "mask" or self.made().calibrated:
            raise ValueError(f"the policy {self.policy!r} needs more than a target")

    def made(self) -> Policy:
        """The policy, for ``resolve``."""
        return chosen_policy(self.policy, target=self.target)

    @classmethod
    def read(cls, content: Any) -> Choice:
        """From what a file says; a ``ValueError`` for anything that ``Choice`` would not write."""
        try:
            texts = {name: _as(str, content[name]) for name in ("wish", "policy", "target")}
            numbers = {name: float(_as((int, float), content[name])) for name in ("speed", "psnr", "ssim")}
            where = content["situation"]
            kinds = {"sampler": str, "steps": int, "patched": bool}
            return cls(Situation(**{name: _as(kind, where[name]) for name, kind in kinds.items()}), **texts, **numbers)
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__} {error}") from None


@dataclass(frozen=True)
class Remembered:
    """All choices of one model, the latest last.

    Slots:
        architecture: the model's, by name.
        fingerprint: what tells it from other models of that architecture.
    """

    architecture: str
    fingerprint: str
    choices: tuple[Choice, ...] = ()

    def find(self, situation: Situation) -> Choice | None:
        """The choice that serves a run; of several the one with the nearest number of steps, of those the latest."""
        fitting = [choice for choice in reversed(self.choices) if choice.situation.serves(situation)]
        return min(fitting, key=lambda c: abs(math.log(c.situation.steps / situation.steps)), default=None)

    def recall(self, situation: Situation) -> tuple[Choice | None, Recall]:
        """The choice that serves a run, and what to say of it."""
        choice = self.find(situation)
        if choice is None:
            same = any(c.situation.sampler == situation.sampler for c in self.choices)
            return None, Recall("steps" if same else "sampler", "", situation.steps)
        without = situation.patched and not choice.situation.patched
        return choice, Recall("patched" if without else "fits", choice.wish, situation.steps)

    def with_choice(self, choice: Choice) -> Remembered:
        """With one more, in place of an earlier one for the same sampler and number of steps."""
        same = (choice.situation.sampler, choice.situation.steps)
        others = [c for c in self.choices if (c.situation.sampler, c.situation.steps) != same]
        return Remembered(self.architecture, self.fingerprint, (*others, choice)[-MOST_CHOICES:])

    def describe(self) -> str:
        """A line per choice."""
        return "\n".join(
            f"{display_name(self.architecture)} ({self.fingerprint[:8]}), {c.situation.range[0]} to "
            f"{c.situation.range[1]} steps, {c.situation.sampler}: {c.policy} {c.target}".rstrip()
            + f" for {c.wish!r}: {c.speed:.2f}x, PSNR {c.psnr:.1f} dB, SSIM {c.ssim:.3f}"
            + (", tuned with a LoRA" if c.situation.patched else "")
            for c in self.choices
        )

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Remembered:
        """What a file remembers, or a ``ValueError`` that says what is wrong with it."""
        if len(text) > LARGEST_FILE:
            raise ValueError(f"it has {len(text)} characters, {LARGEST_FILE} is the most: {AGAIN}")
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"it is no JSON ({error}): {AGAIN}") from None
        if not isinstance(content, dict) or "version" not in content:
            raise ValueError(f"it is not one of DiCache Tune's: {AGAIN}")
        if content["version"] != VERSION:
            raise ValueError(f"it is of version {content['version']!r}, this pack reads {VERSION}: {AGAIN}")
        try:
            names = [_as(str, content[name]) for name in ("architecture", "fingerprint")]
            choices = tuple(map(Choice.read, _as(list, content["choices"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"it holds something else than choices ({error}): {AGAIN}") from None
        return cls(*names, choices[-MOST_CHOICES:])


@dataclass(frozen=True)
class TunedSettings:
    """Settings that are chosen when a run begins, as its sampler and steps are not known before.

    Slots:
        remembered: what was tuned for the model.
        fallback: where nothing of it serves a run.
        configs: what each choice means, with the numbers that the user typed.
    """

    remembered: Remembered
    fallback: CacheConfig
    configs: Mapping[Choice, CacheConfig]

    def for_run(self, situation: Situation) -> tuple[CacheConfig, Recall]:
        choice, recall = self.remembered.recall(situation)
        return (self.fallback if choice is None else self.configs[choice]), recall


def _as(kind: type | tuple[type, ...], value: Any) -> Any:
    """``value`` where it is of a kind; JSON's true and false are no numbers."""
    wanted = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kind) or (isinstance(value, bool) and bool not in wanted):
        raise TypeError(f"{value!r:.40} is not of the kind {' or '.join(k.__name__ for k in wanted)}")
    return value
