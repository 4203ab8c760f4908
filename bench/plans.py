"""Choices of computed calls: which of a schedule's calls run the model."""

from __future__ import annotations

from itertools import combinations, product

Plan = tuple[bool, ...]  # per call, whether it is computed


def every_choice(total: int, computed: int) -> list[Plan]:
    """All that compute the first call, the last one and so many in all."""
    between = combinations(range(1, total - 1), computed - 2)
    return [tuple(call in {0, *chosen, total - 1} for call in range(total)) for chosen in between]


def even_plans(total: int, computed: int) -> list[Plan]:
    """One to four computed calls at the start, one to three at the end, and between them skipped ones spread evenly
    over single computed calls or pairs of them."""
    found = (
        spread(total - start - end, computed - start - end, start, end, together)
        for start, end, together in product((1, 2, 3, 4), (1, 2, 3), (1, 2))
        if computed - start - end >= 1
    )
    return list(dict.fromkeys(found))


def spread(between: int, computed: int, start: int, end: int, together: int) -> Plan:
    """``start`` computed calls, ``between`` of which ``computed`` are, in groups of ``together``, and ``end`` more."""
    groups = max(1, round(computed / together))
    skipped = _shares(between - computed, groups + 1)
    middle = []
    for gap, group in zip(skipped, (*_shares(computed, groups), 0), strict=True):
        middle += [False] * gap + [True] * group
    return (*[True] * start, *middle, *[True] * end)


def _shares(whole: int, parts: int) -> list[int]:
    return [whole // parts + (part < whole % parts) for part in range(parts)]
