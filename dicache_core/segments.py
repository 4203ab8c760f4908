"""Parts of a stack: what is decided and rebuilt together, from one block of it to the whole.

A *segment* is a stretch of neighbouring blocks of one part of a stack.  It never crosses a *seam*, as hidden states
change their layout there: of Flux and its relatives between double and single blocks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

WRITE_BLOCKS = "write the blocks that are reused, such as double 6-19, single 0 2 4-7, or blocks 0 2-7"
# No stack has a thousand blocks, and of a longer number a range would fill the memory.
LISTED = re.compile(r"(double|single|blocks)((?:[ ,]+\d{1,3}(?:-\d{1,3})?(?![\d-]))+)[ ,]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring blocks that are skipped together or run together, numbered from 0 through the whole stack.

    Attributes:
        first, last: its blocks, both of them included.
        part: which part of the stack it lies in, from 0.
        probe: how many of its blocks, the first ones, run at every call before it is decided.
        behind_probe: whether what is kept is what the blocks behind the probe add, and not what all of them do.
    """

    first: int
    last: int
    part: int = 0
    probe: int = 0
    behind_probe: bool = False

    @property
    def blocks(self) -> int:
        """How many of its blocks are skipped where it is."""
        return self.last - self.first + 1 - self.probe


@dataclass(frozen=True, slots=True)
class StackShape:
    """How many blocks each part of a stack has; 57 blocks of Flux are ``(19, 38)``, 40 of Wan ``(40,)``."""

    parts: tuple[int, ...]

    @property
    def blocks(self) -> int:
        return sum(self.parts)

    @property
    def names(self) -> tuple[str, ...]:
        """What people call the parts."""
        return ("double", "single") if len(self.parts) == 2 else ("blocks",)

    def begin(self, part: int) -> int:
        """The first block of a part."""
        return sum(self.parts[:part])

    def stretches(self, listed: Mapping[str, Collection[int]]) -> tuple[Segment, ...]:
        """The fewest segments of these blocks, which are numbered within their parts.

        Raises:
            ValueError: for a part or a block that is not there.
        """
        found: list[Segment] = []
        for name, numbers in listed.items():
            if name not in self.names:
                raise ValueError(f"the list says {name}, but this model has {' and '.join(self.names)}: {WRITE_BLOCKS}")
            part = self.names.index(name)
            for number in sorted(numbers):
                if number >= self.parts[part]:
                    raise ValueError(
                        f"the list says {name} {number}, but this model has {self.parts[part]} of them: "
                        f"write 0 to {self.parts[part] - 1}"
                    )
                block = self.begin(part) + number
                if found and (found[-1].part, found[-1].last) == (part, block - 1):
                    found[-1] = Segment(found[-1].first, block, part)
                else:
                    found.append(Segment(block, block, part))
        return tuple(sorted(found, key=lambda segment: segment.first))


def parse_blocks(text: str) -> dict[str, frozenset[int]]:
    """``"double 6-8, single 0 2"`` -> the numbers per part, ``{"double": {6, 7, 8}, "single": {0, 2}}``.

    Raises:
        ValueError: for anything else.
    """
    found: dict[str, frozenset[int]] = {}
    text = text.strip()
    while listed := LISTED.match(text):
        name, numbers = listed.groups()
        for word in numbers.replace(",", " ").split():
            ends = [int(end) for end in word.split("-")]
            stretch = range(ends[0], ends[-1] + 1)
            if not stretch:
                raise ValueError(f"mask has {name} {word!r}, which is no block: {WRITE_BLOCKS}")
            found[name] = found.get(name, frozenset()).union(stretch)
        text = text[listed.end() :]
    if text:
        raise ValueError(f"mask has {text!r}: {WRITE_BLOCKS}")
    return found
