"""Samples of a batch that disagree: blocks behind the probe run only on those that are computed."""

import contextlib
import sys

import pytest
import torch
import variants
import variants_wan
from cached import Cached, stack_of, watched

MAKES = [
    variants.flux,
    variants.flux_2_reference_at_timestep_zero,
    variants.chroma,
    variants.hunyuan_text_to_video,
    variants.hunyuan_1_5,
    variants_wan.wan_text_to_video,
]
STILL, JUMPS = 0.0, 1.0


@contextlib.contextmanager
def rows_seen(blocks):
    """Per call of a block, the rows of its hidden state."""
    seen = []

    def look(_, args, kwargs):
        seen.append((args[0] if args else kwargs["img"] if "img" in kwargs else kwargs["x"]).shape[0])

    with watched(blocks, look):
        yield seen


def repeated(variant, batch):
    """A variant for another batch size: its samples again and again."""
    rows = [i % len(variant.x) for i in range(batch)]
    variant.x, variant.timestep = variant.x[rows], variant.timestep[rows]
    variant.arguments = {k: take(v, rows) for k, v in variant.arguments.items()}
    return variant


def take(value, rows):
    if isinstance(value, list):
        return [take(v, rows) for v in value]
    return value[rows] if isinstance(value, torch.Tensor) else value


def run(pack, variant, moves, options=None, **arguments):
    """(cache, output, rows per block call) of a second pass in which sample i moved by ``moves[i]``."""
    cached = Cached(pack, variant, 1e-6)
    cached(variant.x.clone(), 0, options)
    x = moved(variant.x, moves)
    with rows_seen(stack_of(cached)) as rows:
        out = cached(x, 1, options, **arguments)
    return cached, out, rows


def moved(x, moves):
    return x + torch.tensor(moves).reshape(-1, *[1] * (x.ndim - 1)) * (x + 1)


@pytest.mark.parametrize("make", MAKES, ids=lambda make: make.__name__)
@pytest.mark.parametrize("moves", [[STILL, JUMPS, STILL], [JUMPS, STILL, JUMPS], [JUMPS, JUMPS, STILL]])
def test_only_the_rows_that_are_computed_run(pack, make, moves):
    variant = repeated(make(), 3)
    cached, out, rows = run(pack, variant, moves)
    assert cached.decisions[3:] == ["error" if m else "reused" for m in moves]
    assert rows == [3] + [int(sum(moves))] * (len(rows) - 1)
    assert len(rows) == len(stack_of(cached))
    for row, move in enumerate(moves):
        alone = repeated(make(), 3)
        alone.x, alone.timestep = alone.x[row : row + 1], alone.timestep[row : row + 1]
        alone.arguments = {k: take(v, [row]) for k, v in alone.arguments.items()}
        _, expected, _ = run(pack, alone, [move])
        torch.testing.assert_close(out[row : row + 1], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["wan_vace", "wan_humo", "wan_animate"])
def test_models_that_need_the_whole_batch_get_it(pack, name):
    build = next((b for b in variants.VARIANTS if b.__name__.startswith(name)), None)
    assert build is not None
    variant = build()
    if len(variant.x) == 1:
        pytest.skip("the host runs this variant alone only")
    _, _, rows = run(pack, variant, [STILL, JUMPS])
    assert rows == [2] * len(rows)


def test_nothing_that_sees_the_batch_is_given_a_part_of_it(pack):
    variant = variants.flux()
    seen = []
    key = ("double_block", 1)

    def foreign(args, extra):
        seen.append(args["img"].shape[0])
        return extra["original_block"](args)

    _, _, rows = run(pack, variant, [STILL, JUMPS], {"patches_replace": {"dit": {key: foreign}}})
    assert seen == [2, 2]
    assert rows == [2] * len(rows)
    _, _, rows = run(pack, variants.flux(), [STILL, JUMPS], {"optimized_attention_override": _attention})
    assert rows == [2] * len(rows)


def test_control_gets_the_whole_batch(pack):
    variant = variants.flux()
    added = torch.zeros(2, 16, 32)
    cached = Cached(pack, variant, 1e-6)
    control = {"input": [added], "output": []}
    cached(variant.x.clone(), 0, control=control)
    with rows_seen(stack_of(cached)) as rows:
        cached(moved(variant.x, [STILL, JUMPS]), 1, control=control)
    assert cached.decisions[2:] == ["reused", "error"]
    assert rows == [2] * len(rows)


def _attention(original, *args, **kwargs):
    return original(*args, **kwargs)


def test_arguments_whose_rows_nobody_knows_keep_the_batch_whole(pack):
    subbatch = sys.modules[f"{pack.model_patchers.__name__}.subbatch"]
    split = subbatch.SubBatch([True, False, False], ("img", "txt", "vec", "pe"))
    assert split.fits({"img": torch.zeros(3, 4, 2), "vec": (torch.zeros(1, 2), [torch.zeros(3, 2)]), "pe": None})
    assert not split.fits({"img": torch.zeros(3, 4, 2), "vec": torch.zeros(6, 2)})
    assert not split.fits({"img": torch.zeros(3, 4, 2), "vec": object()})
    narrow = split.narrow(
        {"img": torch.arange(3)[:, None], "vec": (torch.zeros(1, 2),), "transformer_options": 7}, "img"
    )
    assert narrow["img"].tolist() == [[1], [2]]
    assert narrow["vec"][0].shape == (1, 2)
    assert narrow["transformer_options"] == 7
    assert split.widen(torch.ones(2, 1)).tolist() == [[0], [1], [1]]
    assert [stream.tolist() for stream in split.widen((torch.ones(2), torch.ones(3)))] == [[0, 1, 1], [1, 1, 1]]
