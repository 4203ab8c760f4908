"""Check plans as this pack reads them: ``python plans/check.py FILE ...``, all of this folder without a name.

Needs torch and no ComfyUI.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
NO_TORCH = (
    "this needs a Python that has torch: run it with the Python of your ComfyUI, or, in a clone of this repository, by "
    "python3 tests/host/run.py --at-hand --script plans/check.py FILE"
)
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\.json")


def problem(path: Path) -> str:
    """What is wrong with a file; empty where nothing is."""
    from dicache_core.calibration import LARGEST_FILE
    from dicache_core.names import NAMES
    from dicache_core.tuning.shared_plan import SharedPlan

    if not NAME.fullmatch(path.name):
        return "its name is not made of letters, digits, - and _, with .json"
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            plan = SharedPlan.from_json(file.read(LARGEST_FILE + 1))
    except (OSError, ValueError) as error:
        return str(error)
    return "" if plan.architecture in NAMES else f"the pack knows no architecture {plan.architecture!r}"


def main(names: list[str]) -> int:
    """How many files have a problem; a line for each file."""
    sys.path.insert(0, str(HERE.parent))
    found = {path: problem(path) for path in (map(Path, names) if names else HERE.glob("*.json"))}
    for path, wrong in sorted(found.items()):
        print(f"{path.name}: {wrong or 'sound'}")
    return sum(map(bool, found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]) if importlib.util.find_spec("torch") else NO_TORCH)
