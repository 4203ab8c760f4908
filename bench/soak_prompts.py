"""The prompts of bench/soak.py."""

import random
from dataclasses import dataclass

from comfy_server import Graph
from testbed.captions import CAPTIONS

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
        a, unet = self.architecture, f"{self.architecture}.safetensors"
        size = {"width": self.width, "height": self.height, "batch_size": self.batch}
        latent = {"class_type": "EmptySD3LatentImage", "inputs": size}
        if a != "flux":
            latent = {"class_type": "EmptyHunyuanLatentVideo", "inputs": size | {"length": self.frames}}
        apply = {"model": ["1", 0], "threshold": -1.0, "probe_depth": 0, "warmup_steps": -1, "preset": self.preset}
        sampler = {"model": ["2", 0], "positive": ["3", 0], "negative": ["4", 0], "latent_image": ["5", 0]}
        sampler |= {"seed": self.seed, "steps": self.steps, "cfg": self.cfg, "sampler_name": self.sampler}
        graph = {
            "1": {"class_type": "UNETLoader", "inputs": {"unet_name": unet, "weight_dtype": "default"}},
            "2": {"class_type": "DiCacheApply", "inputs": apply},
            "3": {"class_type": "DiCacheTestbedCaption", "inputs": {"architecture": a, "text": self.caption}},
            "4": {"class_type": "DiCacheTestbedCaption", "inputs": {"architecture": a, "text": ""}},
            "5": latent,
            "6": {"class_type": "KSampler", "inputs": sampler | {"scheduler": "simple", "denoise": 1.0}},
            "7": {
                "class_type": "DiCacheTestbedDecode",
                "inputs": {"samples": ["6", 0], "model": ["1", 0], "unet_name": unet},
            },
            "8": {"class_type": "SaveImage", "inputs": {"images": ["7", 0], "filename_prefix": "soak"}},
        }
        if self.policy:
            policy = {"policy": self.policy, "target": "", "threshold": -1.0, "warmup_steps": -1}
            graph["9"] = {"class_type": "DiCachePolicy", "inputs": policy}
            apply["policy"] = ["9", 0]
        return graph
