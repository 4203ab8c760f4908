"""What the tests of one session showed of each family of models, for the table in docs/models.md."""

import json
import sys
from collections import Counter
from pathlib import Path

KINDS = ("toy", "sampled", "trained")
FOUND = (*KINDS, "comfyui")  # of a row, what tests found


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
        before = json.loads(path.read_text(encoding="utf-8"))["families"] if path.is_file() else []
        earlier = {row["name"]: row for row in before}
        found = [row | self._found(row["name"], host, earlier) for row in rows()]
        path.write_text(json.dumps({"comfyui": host, "families": found}, indent=1) + "\n", encoding="utf-8")

    def _found(self, family, host, earlier):
        """A family that nothing was shown of here, as its classes are newer, keeps what another ComfyUI showed."""
        counts = {kind: self.passed[family, kind] for kind in KINDS}
        if not any(counts.values()):
            return {name: earlier.get(family, counts | {"comfyui": None})[name] for name in FOUND}
        return counts | {"comfyui": host}


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
