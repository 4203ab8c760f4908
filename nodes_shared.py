"""What the pack's nodes have in common: where they are found, and the types of their own sockets."""

from __future__ import annotations

from comfy_api.latest import io

CATEGORY = "model/acceleration"
ALIASES = ["dicache", "cache", "speed up", "accelerate", "teacache", "faster"]

Statistics = io.Custom("DICACHE_STATS")  # a dicache_core.RunLog
PolicyType = io.Custom("DICACHE_POLICY")  # a dicache_core.Policy
