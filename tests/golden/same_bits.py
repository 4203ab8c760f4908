"""Do two commits give the same to the last bit?  ``python3 tests/golden/same_bits.py main~1 main [--toy]``.

Both are checked out side by side and run on this machine by every policy and preset, a toy and a trained model; latents
and decisions are compared bit for bit, so that a refactoring shows that it changed nothing.  Each commit runs its own
``tests/golden``; one from before there was any gets that of the other.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[2]
HERE = Path("tests") / "golden"
# Names of runs, reasons and the like that differ from an older commit on purpose: old to new.
RENAMED: dict[str, str] = {"foreseen": "forecast", "corrected_line": "forecast_even"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("commits", nargs=2, help="two commits; . is the working tree")
    parser.add_argument("--toy", action="store_true", help="the toy alone, without a ComfyUI")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trees = [checked_out(commit, Path(folder) / str(n)) for n, commit in enumerate(options.commits)]
        try:
            with_golden = next((tree for tree in trees if (tree / HERE / "make.py").is_file()), REPO)
            for tree in trees:
                if not (tree / HERE / "make.py").is_file():
                    shutil.copytree(with_golden / HERE, tree / HERE)
            found = [bits(tree, Path(folder) / f"{n}.json", options.toy) for n, tree in enumerate(trees)]
        finally:
            for tree in trees:
                if tree != REPO:
                    git("worktree", "remove", "--force", str(tree))
    apart = list(differing(renamed(found[0]), renamed(found[1])))
    runs = sum(len(of_model) for of_model in found[0].values())
    print(
        *apart,
        f"{runs - len({line.partition(':')[0] for line in apart})} of {runs} runs are equal to the bit",
        sep="\n",
    )
    return 1 if apart else 0


def checked_out(commit: str, tree: Path) -> Path:
    if commit == ".":
        return REPO
    git("worktree", "add", "--detach", "--quiet", str(tree), commit)
    return tree


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=REPO, check=True)


def bits(tree: Path, target: Path, toy: bool) -> dict[str, Any]:
    """What ``make.py`` of that commit writes."""
    command = [sys.executable, "tests/host/run.py", *(["--at-hand"] if toy else []), "--script", str(HERE / "make.py")]
    command += ["--bits", str(target), *(["--toy"] if toy else [])]
    done = subprocess.run(command, cwd=tree, check=False, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{tree}: {done.stderr[-3000:]}")
    return json.loads(target.read_text(encoding="utf-8"))


def renamed(content: Any) -> Any:
    """With today's names."""
    if isinstance(content, dict):
        return {RENAMED.get(name, name): renamed(value) for name, value in content.items()}
    if isinstance(content, list):
        return [renamed(value) for value in content]
    quoted = isinstance(content, str) and content[:1] == content[-1:] == "'"
    return repr(RENAMED.get(content[1:-1], content[1:-1])) if quoted else content


def differing(old: dict[str, Any], new: dict[str, Any]) -> Any:
    """A line per run and part of it that is not the same."""
    for model in old.keys() | new.keys():
        runs = old.get(model, {}), new.get(model, {})
        for name in runs[0].keys() | runs[1].keys():
            one, other = (of.get(name) for of in runs)
            if one is None or other is None:
                yield f"{model}, {name}: only in {'the second' if one is None else 'the first'}"
                continue
            for part in one:
                if one[part] != other.get(part):
                    yield f"{model}, {name}: {part} differs"


if __name__ == "__main__":
    sys.exit(main())
