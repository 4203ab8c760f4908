"""The nodes of the pack: declarations only."""

from __future__ import annotations

from comfy_api.latest import ComfyExtension, io

from .dicache_nodes.apply import DiCacheApply
from .dicache_nodes.calibrate import DiCacheCalibrate
from .dicache_nodes.compare import DiCacheCompare
from .dicache_nodes.policy import DiCachePolicy
from .dicache_nodes.report import DiCacheReport
from .dicache_nodes.tune import DiCacheTune


class DiCacheExtension(ComfyExtension):
    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        from .dicache_nodes.apply_ray import ray_nodes  # it has the widgets of DiCacheApply

        return [DiCacheApply, DiCacheReport, DiCacheCompare, DiCachePolicy, DiCacheCalibrate, DiCacheTune, *ray_nodes()]
