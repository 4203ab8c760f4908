"""One model under one run's cache, called pass by pass as the sampler would."""

from dataclasses import dataclass, field
from types import SimpleNamespace

import torch

SIGMAS = tuple(1 - i / 10 for i in range(11))
NEVER, ALWAYS = 1e-30, 1e9  # thresholds: compose but compute, and reuse as soon as there is an anchor


@dataclass
class Cached:
    """One variant under one run's cache, called pass by pass as the sampler would."""

    pack: object
    variant: object
    threshold: float
    settings: dict = field(default_factory=dict)

    def __post_init__(self):
        core, patchers = self.pack.dicache_core, self.pack.model_patchers
        self.adapter = patchers.adapter_for(self.variant.model)
        settings = dict(warmup_steps=0, predictor="reuse") | self.settings
        config = core.CacheConfig(threshold=self.threshold, **settings)
        self.session = core.CacheSession(config, core.Schedule(SIGMAS))
        reporter = patchers.reporter.Reporter(self.session.statistics, None, 0)
        self.wrapper = patchers.passes.CachedPass(self.adapter, self.session, reporter)

    def __call__(self, x, step, options=None, **more):
        """The toy's own output in the place of what the host's model around it would make of that."""
        from comfy.patcher_extension import WrapperExecutor

        patcher = SimpleNamespace(current_hooks=None)
        model = SimpleNamespace(diffusion_model=self.variant.model, current_patcher=patcher)
        run = lambda x, transformer_options: self.variant(x, transformer_options, **more)  # noqa: E731
        return WrapperExecutor.new_class_executor(run, model, [self.wrapper]).execute(x, self.options(step, options))

    def options(self, step, more=None):
        """``transformer_options`` of a pass at ``step``; the model's own timestep does not move with it."""
        options = dict(sigmas=torch.tensor([SIGMAS[step]]), sample_sigmas=torch.tensor(SIGMAS), uuids=["one"])
        return options | (more or {})

    @property
    def decisions(self):
        return [d.reason for p in self.session.statistics.passes for d in p.decisions]


def plain(variant, x, step=0, **options):
    return variant(x, dict(sigmas=torch.tensor([SIGMAS[step]]), sample_sigmas=torch.tensor(SIGMAS)) | options)
