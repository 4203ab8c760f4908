"""One model under one run's cache, called pass by pass as the sampler would."""

import contextlib
import functools
import sys
from dataclasses import dataclass, field

import torch

SIGMAS = tuple(1 - i / 10 for i in range(11))
NEVER, ALWAYS = 1e-30, 1e9  # thresholds: compose but compute, and reuse as soon as there is an anchor


@dataclass
class Cached:
    """One variant under one run's cache: a cond per row, so that rows may come together or apart.

    Attributes:
        conds: names of the rows' conds; one cond with all rows unless said otherwise.
        sigmas: of the schedule.
    """

    pack: object
    variant: object
    threshold: float
    settings: dict = field(default_factory=dict)
    conds: tuple = ()
    sigmas: tuple = SIGMAS

    def __post_init__(self):
        core, patchers = self.pack.dicache_core, self.pack.model_patchers
        self.core, self.stack = core, sys.modules[f"{patchers.__name__}.stack"]
        self.family = patchers.family_of(self.variant.model)
        settings = dict(warmup_steps=0, predictor="reuse") | self.settings
        config = core.CacheConfig(threshold=self.threshold, **settings)
        shape = sys.modules[f"{patchers.__name__}.registry"].shape_for(config, self.family, self.variant.model)
        self.session = core.CacheSession(config, core.schedule.Schedule(self.sigmas), shape=shape)

    def __call__(self, x, step, options=None, conds=None, **more):
        first = first_of(x)
        names = conds or self.conds or ["one"] * len(first)
        keys = [self.core.SampleKey(name, names[:i].count(name)) for i, name in enumerate(names)]
        cache = self.session.forward(keys, self.session.schedule.step_at(self.sigmas[step]), first)
        with self.stack.stack_around(self.family, self.variant.model, cache):
            out = self.variant(x, options_of(step, options, self.sigmas), **more)
        cache.check_completed()
        if isinstance(out, torch.Tensor) and isinstance(cache, self.core.ForwardPass):
            out = cache.observe(out)
        self.session.close(cache, self.core.timing.Stopwatch(first.device))
        return out

    @property
    def decisions(self):
        return [d.reason for p in self.session.statistics.passes for d in p.decisions]


def first_of(x):
    """The tensor that tells the batch: models with several latents take a list."""
    return x if isinstance(x, torch.Tensor) else x[0]


def options_of(step, more=None, sigmas=SIGMAS):
    """``transformer_options`` of a pass at ``step``; the model's own timestep does not move with it."""
    return dict(sigmas=torch.tensor([sigmas[step]]), sample_sigmas=torch.tensor(sigmas)) | (more or {})


def plain(model, x, step=0, rows=None, **options):
    """Without a cache; a toy also takes some of its rows alone."""
    return model(x, options_of(step, options), **({} if rows is None else {"rows": rows}))


@contextlib.contextmanager
def watched(modules, see):
    """``see(i, args, kwargs)`` whenever module ``i`` really runs; a hook would also see blocks that are skipped."""

    def watching(i, original):
        def forward(*args, **kwargs):
            see(i, args, kwargs)
            return original(*args, **kwargs)

        return forward

    for i, module in enumerate(modules):
        module.forward = watching(i, module.forward)
    try:
        yield
    finally:
        for module in modules:
            del module.forward


@contextlib.contextmanager
def counted(modules):
    """How often each module really runs."""
    calls = [0] * len(modules)

    def count(i, *_):
        calls[i] += 1

    with watched(modules, count):
        yield calls


@functools.cache
def built(make):
    """Building takes longer than running; weights are never changed."""
    return make()


def stack_of(wrapped):
    return [block.module for block in wrapped.family.blocks(wrapped.variant.model)]


def tensors(out):
    return [out] if isinstance(out, torch.Tensor) else list(out)


def scaled(x, factor):
    return [part * factor for part in x] if isinstance(x, list) else x * factor


def assert_same(ours, theirs):
    assert all(torch.equal(a, b) for a, b in zip(tensors(ours), tensors(theirs), strict=True))


def assert_near(ours, theirs, tolerance=2e-5):
    for a, b in zip(tensors(ours), tensors(theirs), strict=True):
        assert (a - b).abs().max() <= tolerance * b.abs().max().clamp(min=1.0)


def changed(block, result, factor=1.1):
    """A block's result with a louder hidden state."""
    part = block.part
    if not part.returns:
        return tuple(scaled(list(result), factor)) if isinstance(result, tuple) else result * factor
    place = part.returns.index(part.hidden)
    return (*result[:place], result[place] * factor, *result[place + 1 :])
