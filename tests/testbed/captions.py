"""Captions of the testbed's little world: ``background color [color2] | shape color size move | ...``.

An empty caption is the unconditional one.  ``CAPTIONS`` is the fixed set that tests, demo and benches share; it stays
within what the checkpoints were trained on (plain, gradient and stripes; medium and large; one or two shapes).
"""

import torch

from .scenes import BACKGROUNDS, COLORS, MOVES, SHAPES, SIZES, caption_ids

CAPTIONS = (
    "stripes red blue | circle yellow large left",
    "plain green | star white medium still",
    "gradient purple cyan | square orange large right",
    "stripes black white | ring pink medium up",
    "plain blue | triangle yellow large spin",
    "gradient orange red | cross white medium down",
    "stripes green yellow | circle black medium right | star white medium left",
    "plain pink | ring blue large still | square green medium up",
    "gradient black blue | star yellow large spin",
    "stripes cyan purple | triangle white large down",
    "plain white | cross red large left | circle blue medium right",
    "gradient green white | ring purple large up",
    "stripes orange black | square cyan medium still",
    "plain red | circle white large down | triangle black medium spin",
    "gradient yellow pink | cross blue large right",
    "stripes white red | star green large up | ring black medium left",
)


def parse(text: str) -> torch.Tensor:
    """(20,) vocabulary ids of a caption; an error names the word that does not fit and the words that do."""
    background, *objects = [part.split() for part in text.split("|")]
    if not 2 <= len(background) <= 3:
        raise ValueError(f"A caption starts with a background and one or two colors, found {' '.join(background)!r}.")
    if len(objects) > 2:
        raise ValueError(f"The testbed knows scenes of up to two objects, found {len(objects)} in {text!r}.")
    _check("background", background[0], BACKGROUNDS)
    for color in background[1:]:
        _check("color", color, COLORS)
    for words in objects:
        if len(words) != 4:
            raise ValueError(f"An object is 'shape color size move', found {' '.join(words)!r}.")
        for what, word, known in zip(
            ("shape", "color", "size", "move"), words, (SHAPES, COLORS, SIZES, MOVES), strict=True
        ):
            _check(what, word, known)
    return caption_ids(background[0], background[1], background[2] if len(background) == 3 else None, objects)


def _check(what: str, word: str, known) -> None:
    if word not in known:
        raise ValueError(f"{word!r} is not a {what} of the testbed's world; known are {', '.join(known)}.")
