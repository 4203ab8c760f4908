"""A rank of a run over Ray: ComfyUI as a library, a testbed's model, and its part of the work by xDiT's groups.

The split of tokens is our own and small: the first block gets this rank's slice, attention brings keys and values of
all ranks together, and behind the last block the slices are put together again.  Conds are split as raylight does it,
inside the host's ``DIFFUSION_MODEL`` wrapper.
"""

import os
import sys
import time
from datetime import timedelta
from types import ModuleType, SimpleNamespace


class Rank:
    """One actor.  ``model_function_runner`` and ``..._get_values`` are raylight's."""

    def __init__(self, comfy: str, tests: str) -> None:
        sys.path.insert(0, comfy)
        sys.path.extend([tests, f"{tests}/host"])
        from comfy.cli_args import args

        args.cpu = True
        import torch

        torch.set_num_threads(1)
        self.model = None
        self.tokens = self.conds = 1

    # ------------------------------------------------------------ what raylight's nodes call

    def model_function_runner(self, work, *args, **kwargs):
        self.model = work(self.model, *args, **kwargs)

    def model_function_runner_get_values(self, work, *args, **kwargs):
        return work(self.model, *args, **kwargs)

    # ------------------------------------------------------------ the split

    def begin(self, rank: int, tokens: int, conds: int, store: str, patience: timedelta) -> None:
        """Join a run in which ``tokens * conds`` ranks share each batch; ``store`` is a file of their own."""
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
        world = tokens * conds
        self.tokens, self.conds = tokens, conds
        self.token_rank, self.cond_rank = rank % tokens, rank // tokens
        dist.init_process_group(
            "gloo", store=dist.FileStore(store, world), rank=rank, world_size=world, timeout=patience
        )
        rows = [[cond * tokens + token for token in range(tokens)] for cond in range(conds)]
        columns = [list(column) for column in zip(*rows, strict=True)]
        self.token_group = self._mine(rows, rank, patience)
        self.cond_group = self._mine(columns, rank, patience)
        self._as_xdit()

    @staticmethod
    def _mine(members: list[list[int]], rank: int, patience: timedelta):
        """The group that this rank belongs to; every rank has to take part in making all of them."""
        import torch.distributed as dist

        groups = [dist.new_group(ranks, timeout=patience) for ranks in members]  # else half an hour
        return next(group for ranks, group in zip(members, groups, strict=True) if rank in ranks)

    def _as_xdit(self) -> None:
        """xDiT's module of groups, with as much of it as others read."""
        module = ModuleType("xfuser.core.distributed")
        module.model_parallel_is_initialized = lambda: True
        for name, group, size in (
            ("sp", self.token_group, self.tokens),
            ("cfg", self.cond_group, self.conds),
            ("pp", None, 1),
        ):
            coordinator = SimpleNamespace(device_group=group, world_size=size)
            setattr(module, f"get_{name}_group", lambda coordinator=coordinator: coordinator)
        sys.modules[module.__name__] = module

    def load(self, architecture: str) -> None:
        """A fresh model, split as the run is."""
        from comfy.patcher_extension import WrappersMP
        from testbed.models import build_model

        self.architecture = architecture
        self.model = build_model(architecture)
        if self.conds > 1:
            self.model.add_wrapper(WrappersMP.DIFFUSION_MODEL, self._own_conds)
        if self.tokens > 1:
            self._split_tokens(self.model.model.diffusion_model)

    def _own_conds(self, executor, *args, **kwargs):
        """The forward for this rank's part of the batch; the output of all."""
        import torch

        batch = args[0].shape[0]

        def own(value):
            rows = isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape[0] == batch
            return value.chunk(self.conds)[self.cond_rank] if rows else value

        mine = executor(*map(own, args), **{name: own(value) for name, value in kwargs.items()})
        return self._together(mine, 0, self.cond_group, [batch // self.conds] * self.conds)

    def _split_tokens(self, network) -> None:
        blocks = list(network.blocks)

        def own_slice(_block, args, kwargs):
            return (self._slice(args[0]), *args[1:]), kwargs

        def own_positions(_block, args, kwargs):
            return args, {**kwargs, "freqs": self._slice(kwargs["freqs"])}

        blocks[0].register_forward_pre_hook(own_slice, with_kwargs=True)
        for block in blocks:
            block.register_forward_pre_hook(own_positions, with_kwargs=True)
            block.self_attn.register_forward_pre_hook(self._sees_all_tokens, with_kwargs=True)
        blocks[-1].register_forward_hook(lambda _block, _args, result: self._all_tokens(result))

    def _sees_all_tokens(self, _module, args, kwargs):
        def attention(plain, q, k, v, *rest, **options):
            return plain(q, self._all_tokens(k), self._all_tokens(v), *rest, **options)

        options = {**kwargs["transformer_options"], "optimized_attention_override": attention}
        return args, {**kwargs, "transformer_options": options}

    def _slice(self, whole):
        self.count = whole.shape[1]
        return whole.tensor_split(self.tokens, dim=1)[self.token_rank]

    def _all_tokens(self, mine):
        sizes = [self.count // self.tokens + (i < self.count % self.tokens) for i in range(self.tokens)]
        return self._together(mine, 1, self.token_group, sizes)

    @staticmethod
    def _together(mine, dim: int, group, sizes: list[int]):
        """The parts of all ranks of a group side by side; gloo wants one size, so shorter ones are filled up."""
        import torch
        import torch.distributed as dist

        longest = max(sizes)
        shape = list(mine.shape)
        shape[dim] = longest
        filled = mine.new_zeros(shape)
        filled.narrow(dim, 0, mine.shape[dim]).copy_(mine)
        parts = [torch.empty_like(filled) for _ in sizes]
        dist.all_gather(parts, filled, group=group)
        return torch.cat([part.narrow(dim, 0, size) for part, size in zip(parts, sizes, strict=True)], dim=dim)

    # ------------------------------------------------------------ a run

    def sample(self, caption: str, size: dict, steps: int, cfg: float):
        """The latent, and per sample (step, reused, error): what this rank's cache decided."""
        import comfy.sample
        import torch
        from testbed import conditioning as testbed

        latent = testbed.empty_latent(self.architecture, 1, **size)
        conds = [testbed.conditioning(self.architecture, text) for text in (caption, "")]
        with torch.inference_mode():
            samples = comfy.sample.sample(
                self.model,
                comfy.sample.prepare_noise(latent, 0),
                steps,
                cfg,
                "euler",
                "simple",
                *conds,
                latent,
                disable_pbar=True,
                seed=0,
            )
        runs = [run for sampling in self.model.get_wrappers("outer_sample", "dicache") for run in sampling.runs.runs]
        decided = (
            [[(s.step_index, d.reuse, d.error) for s, d in sample] for sample in runs[-1].by_sample().values()]
            if runs
            else []
        )
        return samples, decided

    def fail_at(self, call: int, seconds: float | None) -> None:
        """At this call of the first block die without a word, or stop for so many ``seconds``."""
        calls = []

        def count(_block, _args):
            calls.append(1)
            if len(calls) == call:
                if seconds is None:
                    os._exit(1)
                time.sleep(seconds)

        self.model.model.diffusion_model.blocks[0].register_forward_pre_hook(count)
