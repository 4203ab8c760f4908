"""The prompts of bench/soak.py."""

import random
from dataclasses import dataclass

from comfy_server import Graph
from demo_graph import APPLY, LATENT, demo_graph
from testbed.captions import CAPTIONS

POLICY = "9"  # a node id that the demo's graph leaves free
POLICIES = ("dicache", "dicache_delta_minus", "fbcache", "easycache", "teacache", "taylorseer_1", "output_line")


@dataclass(frozen=True)
class Prompt:
    """One of the distinct prompts."""

    architecture: str
    width: int
    height: int
    frames: int
    batch: int
    cfg: float
    sampler: str
    steps: int
    seed: int
    caption: str
    preset: str
    policy: str

    @classmethod
    def drawn(cls, draw: random.Random, presets: list[str]) -> "Prompt":
        architecture = draw.choice(("flux", "flux", "hunyuan_video", "wan"))
        return cls(
            architecture,
            width=draw.choice((64, 96, 128) if architecture == "flux" else (32, 64)),
            height=draw.choice((64, 96) if architecture == "flux" else (32, 64)),
            frames=1 if architecture == "flux" else draw.choice((5, 9)),
            batch=draw.choice((1, 1, 2)),
            cfg=draw.choice((1.0, 3.0)),
            sampler=draw.choice(("euler", "euler_ancestral", "heun", "dpmpp_2m", "uni_pc")),
            steps=draw.randint(9, 12),
            seed=draw.randrange(2**32),
            caption=draw.choice(CAPTIONS),
            preset=draw.choice(presets),
            policy=draw.choice(POLICIES) if draw.random() < 0.3 else "",
        )

    def graph(self) -> Graph:
        """The demo's graph with a latent of this size, and the policy's node where there is one."""
        sampler = {"seed": self.seed, "steps": self.steps, "cfg": self.cfg, "sampler_name": self.sampler}
        graph = demo_graph(self.caption, self.architecture, **sampler)
        graph[APPLY]["inputs"]["preset"] = self.preset
        size = {"width": self.width, "height": self.height, "batch_size": self.batch}
        graph[LATENT] = {"class_type": "EmptySD3LatentImage", "inputs": size}
        if self.architecture != "flux":
            graph[LATENT] = {"class_type": "EmptyHunyuanLatentVideo", "inputs": size | {"length": self.frames}}
        if self.policy:
            policy = {"policy": self.policy, "target": "", "threshold": -1.0, "warmup_steps": -1}
            graph[POLICY] = {"class_type": "DiCachePolicy", "inputs": policy}
            graph[APPLY]["inputs"]["policy"] = [POLICY, 0]
        return graph
