"""What the tests of one session showed of each family of models, for the table in docs/models.md."""

import json
import sys
from collections import Counter
from pathlib import Path

KINDS = ("toy", "sampled", "trained")


class Shown:
    """Counts tests that passed, by family and by how the model was run; one that failed ends the record."""

    def __init__(self):
        self.passed = Counter()
        self.failed = []

    def add(self, report):
        if report.failed:
            self.failed.append(report.nodeid)
        if report.when == "call" and report.passed:
            self.passed.update(value for name, value in report.user_properties if name == "shows")

    def write(self, path: Path):
        if self.failed:
            raise RuntimeError(f"{path} is not written, as tests failed: {', '.join(self.failed)}")
        host = sys.modules["comfyui_version"].__version__
        found = {"comfyui": host, "families": [row | self._counts(row["name"]) for row in rows()]}
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")

    def _counts(self, family):
        return {kind: self.passed[family, kind] for kind in KINDS}


def rows():
    """The family table as far as a reader of the page wants it."""
    patchers = next(module for name, module in sys.modules.items() if name.endswith(".model_patchers"))
    return [
        {
            "name": family.name,
            "architecture": family.architecture,
            "classes": [name.removeprefix("comfy.ldm.") for name in family.models],
            "blocks": [part.path for part in family.parts],
            "streams_weights": family.streams_weights,
        }
        for family in patchers.FAMILIES
    ]
