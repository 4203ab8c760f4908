"""Sampling for the settings bench: one model of the testbed under one setting, kept in a file per cell."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from quality_runs import LARGEST_PSNR, psnr_per_sample
from settings_cells import Model, Setting
from testbed import conditioning as testbed
from testbed import scenes
from testbed.captions import CAPTIONS
from torch.utils.flop_counter import FlopCounterMode

BELOW = 0.25  # calls that the paper's rule may compute less than the own policy, on average
TRIES = 3
FEWEST_COMPUTED = 2  # the first call and the last
UNDECIDED = 2.0  # standard errors of a lead: within them either way may be the better one


@dataclass
class Cell:
    """One model under one setting, for some pictures: its uncached latents and whatever was measured against them.

    A picture is a number: of its caption, in turn, and of its noise.
    ``path`` holds rows by what they depend on: "fewer" on nothing but the cell, "paper" and "own" on the code.
    """

    comfy: Any
    model: Model
    setting: Setting
    pictures: Sequence[int]
    folder: Path
    rows: dict[str, dict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.path = self.folder / f"{self.model.name}-{self.setting.name}-{self._digest()}.json"
        if self.path.is_file():
            self.rows = json.loads(self.path.read_text())

    def _digest(self) -> str:
        """Of all that the uncached pictures depend on."""
        model = replace(self.model, settings=(), tuned=False, outer=False)
        text = f"{model} {self.setting} {list(self.pictures)} {self.comfy.version}"
        return hashlib.sha256(testbed.weights(self.model.name).read_bytes() + text.encode()).hexdigest()[:8]

    # Models and latents of the host

    def patcher(self) -> Any:
        """The model, with the setting's own shift where it has one."""
        model = self.comfy.load_model(self.model.name)
        if not self.setting.shifted:
            return model
        sampling, shift = model.get_model_object("model_sampling"), self.model.shift
        nodes = self.comfy.module("comfy_extras.nodes_model_advanced")
        if isinstance(sampling, self.comfy.module("comfy.model_sampling").ModelSamplingFlux):
            return nodes.ModelSamplingFlux().patch(model, max_shift=shift, base_shift=shift, width=1024, height=1024)[0]
        return nodes.ModelSamplingSD3().patch(model, shift, sampling.multiplier)[0]

    @property
    def cfg(self) -> float:
        return self.model.guided if self.setting.guided else testbed.SHAPES[self.model.name].cfg

    def start(self) -> torch.Tensor:
        """The latent to start from, ``(N, 16, [T,] h, w)``: empty, or of drawn scenes for image to image."""
        size = round(self.model.size * self.setting.scale)
        empty = testbed.empty_latent(self.model.name, len(self.pictures), size, self.model.frames)
        if self.setting.denoise == 1:
            return empty
        g = torch.Generator().manual_seed(11)
        video, _ = scenes.random_scenes(max(self.pictures) + 1, 8 * size, self.model.frames, "cpu", g)
        latent = scenes.encode(video, testbed.channel_std(testbed.weights(self.model.name)))[list(self.pictures)]
        format = self.comfy.load_model(self.model.name).get_model_object("latent_format")
        return format.process_out(latent.reshape(empty.shape))

    def sample(self, model: Any, steps: int = 0) -> tuple[torch.Tensor, float]:
        """Latents of all pictures in one batch, each from its own noise, and calls of the model per picture."""
        compare = sys.modules[f"{self.comfy.pack.__name__}.model_patchers.compare"]
        s, rows = self.setting, [0]
        captions = [CAPTIONS[i % len(CAPTIONS)] for i in self.pictures]
        network = model.model.diffusion_model
        count = network.register_forward_pre_hook(lambda _, args: rows.__setitem__(0, rows[0] + len(args[0])))
        try:
            samples = compare.Sampling(
                seed=0, steps=steps or s.steps, cfg=self.cfg, sampler_name=s.sampler, scheduler=s.scheduler,
                positive=self.comfy._conditioning(self.model.name, captions),
                negative=testbed.conditioning(self.model.name, ""),
                latent={"samples": self.start(), "batch_index": list(self.pictures)}, denoise=s.denoise,
            ).run(model)  # fmt: skip
        finally:
            count.remove()
        return samples, rows[0] / len(self.pictures) / self.streams

    @property
    def streams(self) -> int:
        """How often a call runs the model: with guidance, also for the empty caption."""
        return 1 if self.cfg == 1 else 2

    # What is measured

    @cached_property
    def reference(self) -> tuple[torch.Tensor, float]:
        """Uncached latents and their calls, from the disk where they are."""
        path = self.path.with_suffix(".pt")
        if not path.is_file():
            torch.save(self.sample(self.patcher()), path)
        return torch.load(path)

    def psnr(self, samples: torch.Tensor) -> list[float]:
        """Decibels of each caption, all its frames together."""
        both = (samples, self.reference[0])
        ours, plain = (self.comfy.pictures(latent, self.model.name).clamp(0, 1) for latent in both)
        return [round(found, 2) for found in psnr_per_sample(ours, plain, len(self.pictures))]

    def cached(self, config: Any) -> dict:
        """A run of the pack with these settings."""
        pack, runs = self.comfy.pack, []
        samples, _ = self.sample(pack.model_patchers.attach(self.patcher(), config, runs=runs))
        computed = [0.0] * len(self.pictures)
        for passed in runs[-1].passes:
            for key, decision in zip(passed.keys, passed.decisions, strict=True):
                computed[key.row] += (not decision.reuse) / self.streams
        return {"calls": float(np.mean(computed)), "each": computed, "psnr": self.psnr(samples)}

    def own(self, target: str) -> dict:
        """This pack's own policy at a speed."""
        return self._row("own", f"{self.comfy.pack_state}-{target}", lambda: self.cached(self.own_config(target)))

    def paper(self, own: dict) -> dict:
        """The paper's rule, for each picture steered to the calls that the own policy computed for it."""
        return self._at(own, self.paper_at)

    def fewer(self, own: dict) -> dict:
        """The same sampler, for each picture with the steps whose calls are nearest to those that it got."""
        return self._at(own, self.fewer_at)

    def _at(self, own: dict, way: Callable[[float], dict]) -> dict:
        """Each picture's decibels at its own number of calls; with all of them any way is the full run."""
        total = self.reference[1]
        full = {"calls": total, "psnr": [LARGEST_PSNR] * len(self.pictures)}
        rows = {calls: full if calls >= total else way(calls) for calls in sorted(set(own["each"]))}
        chosen = [rows[calls] for calls in own["each"]]
        psnr = [row["psnr"][i] for i, row in enumerate(chosen)]
        return {"calls": float(np.mean([row["calls"] for row in chosen])), "psnr": psnr}

    def paper_at(self, calls: float) -> dict:
        """The paper's rule, steered to as many computed calls; one step more where it would stay below."""
        steps, row = max(1, round(calls * self.setting.steps / self.reference[1])), {}
        for more in range(TRIES):
            config = self._paper_config(steps + more)
            row = self._row("paper", f"{paper_state(self.comfy)}-{steps + more}", lambda c=config: self.cached(c))
            if row["calls"] >= calls - BELOW:
                break
        return row

    def paper_at_work(self, own: dict) -> dict | None:
        """The paper's rule, for each picture with as much work in all as the own policy's calls, see ``skip_share``.

        ``None`` where what it runs on every call is more than that by itself.
        """
        calls, share = self.reference[1], self.skip_share
        spent = {each: (each - calls * share) / (1 - share) for each in own["each"]}
        if min(spent.values()) < FEWEST_COMPUTED:
            return None
        return self._at(own, lambda each: self.paper_at(spent[each]))

    @property
    def skip_share(self) -> float:
        """Work of a call that the paper's rule skips against one that it computes: operations of convolutions,
        matrix products and attention."""
        return self._row("share", paper_state(self.comfy), self._count_work)["share"]

    def _count_work(self) -> dict:
        config = replace(self._paper_config(FEWEST_COMPUTED), target="", threshold=10.0, warmup_steps=1)
        runs, worked = [], []
        for model in (self.patcher(), self.comfy.pack.model_patchers.attach(self.patcher(), config, runs=runs)):
            with FlopCounterMode(display=False) as counted:
                self.sample(model)
            worked.append(counted.get_total_flops())
        skipped = sum(all(d.reuse for d in passed.decisions) for passed in runs[-1].passes)
        return {"share": 1 - (1 - worked[1] / worked[0]) * len(runs[-1].passes) / skipped}

    def fewer_at(self, calls: float) -> dict:
        """The same sampler with the number of steps whose calls are nearest; in doubt the larger one."""
        twice = self.reference[1] > self.setting.steps
        steps = min(
            range(self.setting.steps, 0, -1), key=lambda n: abs((2 * n - 1 if twice else n) - calls)
        )  # the first of equals

        def run() -> dict:
            samples, found = self.sample(self.patcher(), steps)
            return {"calls": found, "psnr": self.psnr(samples)}

        return self._row("fewer", str(steps), run)

    def own_config(self, target: str) -> Any:
        """The own policy's settings for a speed, or a number of computed steps."""
        return self.comfy.pack.dicache_core.own_config(target, self._family())

    def _paper_config(self, steps: int) -> Any:
        core = self.comfy.pack.dicache_core
        policy = replace(core.POLICIES["dicache"], target=str(steps))
        return replace(core.resolve(self._family(), "published", policy=policy), few_steps=0)

    def _family(self) -> str:
        registry = sys.modules[f"{self.comfy.pack.__name__}.model_patchers.registry"]
        return registry.architecture_of(self.comfy.load_model(self.model.name))

    def _row(self, kind: str, key: str, run: Any) -> dict:
        kept = self.rows.setdefault(kind, {})
        if key not in kept:
            kept[key] = run()
            part = self.path.with_suffix(f".{id(self)}")
            part.write_text(json.dumps(self.rows))
            part.replace(self.path)
        return kept[key]


def paper_state(comfy: Any) -> str:
    """What the paper's rule makes of three short runs: its rows stay good for as long as these come out the same."""
    if not hasattr(comfy, "_paper_state"):
        from settings_cells import MODELS

        digest = hashlib.sha256()
        for setting, guided in (("euler12", False), ("heun16", False), ("euler8", True)):
            chosen = MODELS["flux"].setting(setting)
            chosen = replace(chosen, steps=min(chosen.steps, 9), guided=guided)
            cell = Cell(comfy, replace(MODELS["flux"], size=8), chosen, [0, 1], Path())
            config = cell._paper_config(5)
            runs: list = []
            samples, _ = cell.sample(comfy.pack.model_patchers.attach(cell.patcher(), config, runs=runs))
            digest.update(f"{runs[-1].cells} {(samples * 1e3).round().int().tolist()}".encode())
        comfy._paper_state = digest.hexdigest()[:8]
    return comfy._paper_state


def together(rows: Sequence[dict]) -> dict:
    """One row of cells that differ in their pictures alone."""
    counts = [len(row["psnr"]) for row in rows]
    return {
        "calls": float(np.average([row["calls"] for row in rows], weights=counts)),
        "psnr": [psnr for row in rows for psnr in row["psnr"]],
    }


def lead(own: dict, other: dict) -> dict:
    """Decibels that the own policy is ahead of another way, picture by picture: their mean and its standard error."""
    ahead = np.subtract(own["psnr"], other["psnr"])
    error = float(np.std(ahead, ddof=1) / len(ahead) ** 0.5) if len(ahead) > 1 else 0.0
    return {"mean": round(float(np.mean(ahead)), 2), "error": round(error, 2)}


def undecided(leads: Sequence[dict]) -> bool:
    """Whether chance may have decided who is first: by the lead over the best of the other ways."""
    least = min(leads, key=lambda found: found["mean"])
    return abs(least["mean"]) < UNDECIDED * least["error"]


def summary(row: dict, total: float) -> dict:
    """Columns of one way to sample."""
    return {
        "calls": round(row["calls"], 2),
        "speed": round(total / row["calls"], 2),
        "psnr_mean": round(float(np.mean(row["psnr"])), 2),
        "psnr_p10": round(float(np.percentile(row["psnr"], 10)), 2),
        "psnr_worst": round(min(row["psnr"]), 2),
    }
