"""A real ComfyUI inside the test process: its own modules, its own loader, its own sampling path, no HTTP."""

import asyncio
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType

import torch
from layout import PACK, TESTBED
from testbed import conditioning as testbed


@dataclass
class Comfy:
    """The host: its modules by name, its node classes, and models of the testbed."""

    path: Path
    base: Path
    device: str
    models: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        sys.path.insert(0, str(self.path))
        # Before anything else of ComfyUI is imported: most of its modules read the command line at import.
        args = importlib.import_module("comfy.cli_args").args
        args.cpu = self.device == "cpu"
        args.base_directory = str(self.base)
        args.disable_api_nodes = True
        # As main.py does: nodes.py puts the folder "comfy" on the path, whose utils.py would then hide the package.
        importlib.import_module("utils.extra_config")
        self.loop = asyncio.new_event_loop()
        server = importlib.import_module("server")
        self.nodes = importlib.import_module("nodes")
        self.server = server.PromptServer(self.loop)  # packs and progress reports expect PromptServer.instance
        self.version = importlib.import_module("comfyui_version").__version__
        self.testbed = self.load_pack(TESTBED)

    def load_pack(self, name: str) -> ModuleType:
        """Load a folder of custom_nodes exactly as ComfyUI's start does, and return its module."""
        folder = str(self.base / "custom_nodes" / name)
        loaded = self.loop.run_until_complete(self.nodes.load_custom_node(folder))
        if not loaded:
            raise RuntimeError(f"ComfyUI {self.version} did not load {name}; its log above says why.")
        return sys.modules[folder.replace(".", "_x_")]

    @cached_property
    def pack(self) -> ModuleType:
        """The DiCache pack, loaded by ComfyUI; its parts are ``pack.dicache_core`` and so on."""
        return self.load_pack(PACK)

    def module(self, name: str) -> ModuleType:
        """A module of ComfyUI, e.g. ``comfy.samplers`` or ``comfy_extras.nodes_custom_sampler``."""
        return importlib.import_module(name)

    def load_model(self, architecture: str):
        """A fresh clone of the testbed's ModelPatcher; weights are loaded once per session."""
        if architecture not in self.models:
            self.models[architecture] = self.module("testbed.models").build_model(architecture)
        return self.models[architecture].clone()

    def node(self, node_id: str, **inputs) -> tuple:
        """Run a node as the executor would, widgets at their defaults unless given; V1 and V3 nodes alike."""
        self.pack  # noqa: B018 - its nodes are there from its loading on
        cls = self.nodes.NODE_CLASS_MAPPINGS[node_id]
        if not hasattr(cls, "GET_SCHEMA"):
            return getattr(cls(), cls.FUNCTION)(**inputs)
        defaults = {i.id: i.default for i in cls.GET_SCHEMA().inputs if getattr(i, "default", None) is not None}
        return cls.PREPARE_CLASS_CLONE(None).execute(**{**defaults, **inputs}).result

    def sample(
        self,
        model,
        captions: str | Sequence[str],
        *,
        architecture: str = "flux",
        steps: int = 30,
        cfg: float = 1.0,
        sampler: str = "euler",
        scheduler: str = "simple",
        seed: int = 0,
        size: int | None = None,
        frames: int | None = None,
        batch: int | None = None,
        latent: torch.Tensor | None = None,
        **ksampler,
    ) -> torch.Tensor:
        """Sample by ComfyUI's ``common_ksampler`` and return the latent, (B, 16, [T,] h, w).

        Several captions make one batch with a caption per sample.  Sample i of a batch starts from its own noise, the
        i-th that ``seed`` draws; see ``latent`` for a start picture and ``ksampler`` for denoise, start_step and so on.
        """
        texts = [captions] if isinstance(captions, str) else list(captions)
        batch = batch or len(texts)
        start = testbed.empty_latent(architecture, batch, size, frames) if latent is None else latent
        positive = self._conditioning(architecture, texts)
        negative = testbed.conditioning(architecture, "")
        (out,) = self.nodes.common_ksampler(
            model, seed, steps, cfg, sampler, scheduler, positive, negative, {"samples": start}, **ksampler
        )
        return out["samples"]

    def pictures(self, samples: torch.Tensor, architecture: str = "flux") -> torch.Tensor:
        """(B, 16, [T,] h, w) latent -> (B * T, H, W, 3) pictures in [0, 1]."""
        latent_format = self.load_model(architecture).get_model_object("latent_format")
        return testbed.pictures(samples, latent_format, testbed.channel_std(testbed.weights(architecture)))

    @staticmethod
    def _conditioning(architecture: str, texts: list[str]) -> list:
        conds = [testbed.conditioning(architecture, text)[0] for text in texts]
        extras = {k: torch.cat([c[1][k] for c in conds]) if k == "pooled_output" else v for k, v in conds[0][1].items()}
        return [[torch.cat([c[0] for c in conds]), extras]]


def start(path: Path, base: Path) -> Comfy:
    """Start ComfyUI in this process; once per process, as it keeps its state in modules."""
    logging.getLogger().setLevel(logging.INFO)
    return Comfy(path, base, os.environ.get("DICACHE_TEST_DEVICE", "cpu"))
