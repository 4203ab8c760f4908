"""Stands in for the pack raylight, whose own actors need CUDA: the same socket type and the same two decorators.

Written against raylight 1.5.1 (github.com/komikndr/raylight); our own code.  ``ray_rank.py`` is its actor.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "src"))

from raylight.nodes import NODE_CLASS_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS"]
