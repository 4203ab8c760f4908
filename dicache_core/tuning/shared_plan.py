"""A plan that was found on somebody's model, as a file for others with a model of the same architecture."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from ..names import display_name
from ..target import Target
from .store import Choice, as_kind, read_content

VERSION = 1
IMPORTED = ", imported"
LONGEST = 100  # characters of a name, and of what it was found with
AGAIN = "export it again, or ask who sent it for another file"


@dataclass(frozen=True)
class SharedPlan:
    """One plan.

    Attributes:
        architecture: of the models that it is for, by name; whose weights does not matter.
        found_with: what found it, in words.
        choice: the plan, in which runs it was found, and what it gave there; a PSNR and SSIM of 0 were not measured.

    Raises:
        ValueError: it has no plan or no speed, was found where none is followed, or a text is none.
    """

    architecture: str
    found_with: str
    choice: Choice

    def __post_init__(self) -> None:
        if self.choice.plan is None:
            raise ValueError("it has no plan")
        for name in ("architecture", "found_with"):
            text = getattr(self, name)
            if not 0 < len(text) <= LONGEST or not text.isprintable():
                raise ValueError(f"{name} is not a line of up to {LONGEST} characters")
        if Target.parse(self.choice.target).factor <= 1:  # a count would be taken at its word, whatever the run says
            raise ValueError(f"its target is {self.choice.target}: write a speed above 1x, such as 2x")
        if not self.choice.context.may_follow_plans:
            raise ValueError("plans are for samplers that add no noise and evaluate the model once a step")

    def for_model(self, architecture: str) -> Choice:
        """What to remember of a model; its goal says that it was imported.

        Raises:
            ValueError: it is of another architecture.
        """
        if architecture != self.architecture:
            raise ValueError(
                f"this plan is for {display_name(self.architecture)} models, but this model is "
                f"{display_name(architecture)}: choose a plan for it, or run DiCache Tune"
            )
        return replace(self.choice, goal=f"{self.choice.goal[: 100 - len(IMPORTED)]}{IMPORTED}")

    @property
    def label(self) -> str:
        """A line for people."""
        context, plan = self.choice.context, self.choice.plan
        return (
            f"{display_name(self.architecture)}, {len(plan.shares)} of {plan.calls} steps computed "
            f"({self.choice.target}), for {context.range[0]} to {context.range[1]} steps, by {self.found_with}"
        )

    def to_json(self) -> str:
        return json.dumps({"version": VERSION, **asdict(self)}, indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> SharedPlan:
        """What a file holds.

        Raises:
            ValueError: says what is wrong with it.
        """
        content = read_content(text, "plan", range(1, VERSION + 1), AGAIN)
        try:
            texts: list[Any] = [as_kind(str, content[name]) for name in ("architecture", "found_with")]
            return cls(*texts, Choice.read(as_kind(dict, content["choice"])))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"it does not hold a plan ({error}): {AGAIN}") from None
