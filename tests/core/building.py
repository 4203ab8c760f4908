"""The worked examples of docs/building.md: what their code blocks add to a checkout."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "building.md"
EXAMPLES = {"policy": "Add a policy", "family": "Add a family of models", "preset": "Add a preset"}
MOST_FILES = {"policy": 6, "family": 3, "preset": 3}  # written by hand, tests and translations included


@dataclass(frozen=True)
class Block:
    """A code block of an example: a file's whole text, or lines to add to it.

    Attributes:
        file: relative to the checkout.
        text: of a new file; empty for an old one.
        hunks: pairs of the lines that are there and the same with the new ones.
    """

    file: str
    text: str = ""
    hunks: tuple[tuple[str, str], ...] = ()

    def add_to(self, checkout: Path) -> None:
        """Raises ``ValueError`` where the lines around an addition are not there exactly once."""
        path = checkout / self.file
        if self.text:
            if path.exists():
                raise ValueError(f"{self.file} is there already")
            path.write_text(self.text, encoding="utf-8")
            return
        content = path.read_text(encoding="utf-8")
        for before, after in self.hunks:
            if content.count(before) != 1:
                raise ValueError(f"{self.file} has {content.count(before)} times:\n{before}")
            content = content.replace(before, after)
        path.write_text(content, encoding="utf-8")


def example(name: str) -> list[Block]:
    """The blocks of the section that adds a policy, a family or a preset."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {EXAMPLES[name]}\n", 1)[1].split("\n## ", 1)[0]
    return [_block(kind, code) for kind, code in re.findall(r"```(python|diff)\n(.*?)```\n?", section, re.DOTALL)]


def _block(kind: str, code: str) -> Block:
    first, _, rest = code.partition("\n")
    if kind == "python":
        return Block(first.removeprefix("# "), text=rest)
    hunks = []
    for hunk in rest.split("@@\n")[1:]:
        lines = hunk.splitlines()
        before = "".join(f"{line[1:]}\n" for line in lines if not line.startswith("+"))
        hunks.append((before, "".join(f"{line[1:]}\n" for line in lines)))
    return Block(first.removeprefix("+++ "), hunks=tuple(hunks))
