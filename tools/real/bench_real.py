"""Measure DiCache on your own ComfyUI and models, and send the numbers.

    python bench_real.py "../../example_workflows/01 Flux.1 dev.json"

Start ComfyUI with this pack in it, and run this with ComfyUI's Python and a workflow that has DiCache Apply: a
template, a saved workflow or an API export.  Each of 20 prompts is sampled without a cache, with every preset, and in
three ways that compute as many calls of the model as ``balanced``: EasyCache's rule, the paper's rule, and fewer steps.
A workflow that loads an image keeps its own prompt, and only the seed varies.  Stop it whenever you like; started again
it goes on.

Written are ``bench-real.json`` and ``sheet.jpg``.  The JSON has no prompts of yours, no names of files and no folders.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from api_prompt import WorkflowError, api_prompt
from findings import run_of, speedup, worst_first

try:
    import numpy as np
    from comfy_client import Comfy, ComfyError, Done, Place, RunError
    from measures import DEFINITIONS, lpips_measure, psnr, ssim
    from real_sheet import draw, thumbnail
except ImportError as error:
    sys.exit(f"{error}: run this with the Python of your ComfyUI, which has it")
from ways import BALANCED, FEWER, TITLES, WAYS, WITHOUT, Bench

REPO = Path(__file__).resolve().parents[2]
PROMPTS = Path(__file__).with_name("prompts.json")
RESULT, SHEET = "bench-real.json", "sheet.jpg"
FORMAT = 1
SEED = 4000  # of the first prompt; the others follow
LOADING_SEED = 1_000_000  # and more, for runs that only load
CLOSENESS = ("very close", "close", "visible")  # from near to far
ENDS = (WorkflowError, ComfyError)  # that are told in one line


class Results:
    """What was measured so far, and the images that are still needed, in a folder."""

    def __init__(self, folder: Path, about: dict[str, Any], again: bool) -> None:
        self.folder, self.file = folder, folder / RESULT
        self.found = {**about, "runs": []}
        if self.file.is_file() and not again:
            earlier = json.loads(self.file.read_text(encoding="utf-8"))
            different = [key for key in about if earlier.get(key) != about[key]]
            if different:
                raise WorkflowError(
                    f"{self.file} was made with another {', '.join(different)}: name another folder by --out, or begin "
                    "anew with --again"
                )
            self.found = earlier
        (folder / "images").mkdir(parents=True, exist_ok=True)

    def has(self, prompt: int, way: str) -> bool:
        """Whether a run was made, failed or not."""
        return any((run["prompt"], run["way"]) == (prompt, way) for run in self.found["runs"])

    def add(self, run: dict[str, Any]) -> None:
        """Write it down at once: the next run may be the one that is stopped."""
        others = [r for r in self.found["runs"] if (r["prompt"], r["way"]) != (run["prompt"], run["way"])]
        runs = sorted([*others, run], key=lambda r: (r["prompt"], WAYS.index(r["way"])))
        common = {key: value for key, value in self.found.items() if key != "runs"}
        self.found = {**common, "runs": runs}
        part = self.file.with_suffix(".part")
        part.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
        part.replace(self.file)

    def image(self, prompt: int, way: str) -> Path:
        """Of the sheet, and as small as there; the middle one of a video's frames."""
        return self.folder / "images" / f"{prompt:02}-{way}.png"

    def reference(self, prompt: int) -> Path:
        """The images without a cache, kept until every way was compared with them."""
        return self.folder / "images" / f"{prompt:02}-{WITHOUT}.npy"

    def write_sheet(self) -> None:
        """Of the prompts so far."""
        if worst_first(self.found):
            draw(self.found, self.image).save(self.folder / SHEET, quality=92)
            print(f"wrote {self.file} and {self.folder / SHEET}")


class Sampling:
    """A workflow sampled in every way, one prompt after the other."""

    def __init__(self, comfy: Comfy, bench: Bench, results: Results, prompts: list[str]) -> None:
        self.comfy, self.bench, self.results, self.prompts = comfy, bench, results, prompts
        self.ways = [way for way in WAYS if way != FEWER or bench.has_steps]
        self.ahead = [(number, way) for number in range(len(prompts)) for way in self._missing(number)]
        self.took: list[float] = []  # seconds of each run of this session, with fetching and measuring

    def _missing(self, number: int) -> list[str]:
        found = [way for way in self.ways if not self.results.has(number, way)]
        # The others are compared with its images, which are there no more where a prompt was finished.
        lost = found and WITHOUT not in found and not self.results.reference(number).is_file()
        return [WITHOUT, *found] if lost else found

    def all(self) -> None:
        done = len(self.prompts) * len(self.ways) - len(self.ahead)
        if done > 0:
            print(f"{done} runs are in {self.results.file} already")
        for number, text in enumerate(self.prompts):
            if ways := [way for at, way in self.ahead if at == number]:
                self._prompt(number, text, ways)

    def _prompt(self, number: int, text: str, ways: list[str]) -> None:
        print(f"prompt {number + 1} of {len(self.prompts)}: loading models and text", flush=True)
        loading = self.bench.seeded(LOADING_SEED + number, text)
        self.comfy.run(loading.short(), loading.samplers)
        bench = self.bench.seeded(SEED + number, text)
        for way in ways:
            began = time.perf_counter()
            run = self._run(bench, number, way)
            self.results.add(run)
            self.took.append(time.perf_counter() - began)
            print(f"  {TITLES[way]}: {self._line(run)}; {self._left()}", flush=True)
        self.results.reference(number).unlink()

    def _run(self, bench: Bench, number: int, way: str) -> dict[str, Any]:
        """A way of a prompt, as it is written down."""
        about = {"prompt": number, "way": way}
        balanced = run_of(self.results.found, number, BALANCED)
        counted = _computed_by_node(balanced) if balanced else []
        prompt = bench.way(way, dict(zip(bench.applies, counted, strict=False)), balanced and balanced["evaluations"])
        try:
            done = self.comfy.run(prompt, bench.samplers)
        except RunError as error:
            if way in (WITHOUT, BALANCED):
                raise  # the others need both
            print(f"  {TITLES[way]}: {error}", flush=True)
            return {**about, "failed": error.kind}
        if way == WITHOUT:
            np.save(self.results.reference(number), done.images)
        elif way == BALANCED:
            self._know(done)
        thumbnail(done.images[len(done.images) // 2]).save(self.results.image(number, way))
        steps = next((node["inputs"]["steps"] for node in prompt.values() if "steps" in node["inputs"]), None)
        run = {**about, "seconds": round(done.seconds, 3), "sampling_seconds": round(done.sampling_seconds, 3)}
        run |= {"steps": steps, **_told(bench, done), **self._similarity(number, way, done.images)}
        if way == FEWER:  # nobody counts there: as many calls for a step as with a cache
            full = run_of(self.results.found, number, WITHOUT)["steps"]
            run["computed"] = run["evaluations"] = round(balanced["evaluations"] * steps / full)
        return run

    def _know(self, done: Done) -> None:
        """The family, which DiCache says, and the size of the images."""
        notes = [note for of_node in done.notes.values() for note in of_node]
        if not notes:
            raise ComfyError("DiCache told nothing of its run: update the pack in that ComfyUI and restart it")
        images, height, width, _ = done.images.shape
        self.results.found |= {"family": notes[0]["architecture"], "name": notes[0]["name"]}
        self.results.found |= {"width": width, "height": height, "images": images}

    def _similarity(self, number: int, way: str, images: np.ndarray) -> dict[str, float | None]:
        if way == WITHOUT:
            return {"psnr": None, "ssim": None, "lpips": None}
        reference = np.load(self.results.reference(number))
        lpips, decibels = lpips_measure(), psnr(images, reference)
        return {
            "psnr": decibels and round(decibels, 2),
            "ssim": round(ssim(images, reference), 4),
            "lpips": lpips and round(lpips(images, reference), 4),
        }

    def _line(self, run: dict[str, Any]) -> str:
        if "failed" in run:
            return "failed, left out"
        seconds = f"{run['sampling_seconds']:.3g} s"
        if run["way"] == WITHOUT:
            return seconds
        closeness = "no difference" if run["psnr"] is None else f"{run['psnr']:.1f} dB"
        calls = f"{run['computed']} of {run['evaluations']} computed"
        return f"{seconds}, {calls}, {speedup(self.results.found, run):.2f}x, {closeness}"

    def _left(self) -> str:
        seconds = (len(self.ahead) - len(self.took)) * sum(self.took) / len(self.took)
        return f"about {seconds / 60:.0f} min left" if seconds >= 60 else f"about {seconds:.0f} s left"


def _told(bench: Bench, done: Done) -> dict[str, Any]:
    """What DiCache noted: each of its runs, and all of them together."""
    parts = [
        {
            "node": bench.applies.index(node),
            **{key: note[key] for key in ("evaluations", "computed", "cells", "closeness", "image_error", "policy")},
            "nothing": note["nothing"] and note["nothing"]["reason"],
        }
        for node, notes in done.notes.items()
        for note in notes
    ]
    words = [part["closeness"] for part in parts]
    errors = [part["image_error"] for part in parts]
    known = bool(parts) and None not in words
    return {
        "evaluations": sum(part["evaluations"] for part in parts) if parts else None,
        "computed": sum(part["computed"] for part in parts) if parts else None,
        "closeness": max(words, key=CLOSENESS.index) if known else None,
        "image_error": max(errors) if known else None,
        "dicache": parts,
    }


def _computed_by_node(run: dict[str, Any]) -> list[int]:
    """For each DiCache Apply, the computed calls of a run of its; in the mean where it had several."""
    count = 1 + max(part["node"] for part in run["dicache"])
    of_node = [[part["computed"] for part in run["dicache"] if part["node"] == node] for node in range(count)]
    return [round(sum(counts) / len(counts)) for counts in of_node]


def about(bench: Bench, place: Place, prompts: list[str], ours: bool) -> dict[str, Any]:
    """What all runs have in common; runs of something else are not put beside them."""
    sampling = {
        "steps": bench.values("steps"),
        "sampler": bench.values("sampler_name"),
        "scheduler": bench.values("scheduler"),
        "cfg": bench.values("cfg", "guidance"),
        "denoise": bench.values("denoise"),
        "weight_dtype": bench.values("weight_dtype"),
        "loras": sum("lora" in node["class_type"].lower() for node in bench.prompt.values()),
    }
    texts = "of the workflow" if not bench.texts else "of the bench" if ours else "of a list"
    measured = {key: text for key, text in DEFINITIONS.items() if key != "lpips" or lpips_measure()}
    same = json.dumps([bench.seeded(SEED, "").prompt, prompts[:1]], sort_keys=True)
    return {
        "format": FORMAT,
        "pack": pack_version(),
        "code": code_digest(),
        "place": asdict(place),
        "sampling": sampling,
        "prompts": texts,
        "measures": measured,
        "workflow": hashlib.sha256(same.encode()).hexdigest()[:12],
    }


def pack_version() -> str:
    """Of the checkout that this script is in, which should be the one that ComfyUI runs."""
    return re.search(r'^version = "(.+)"$', (REPO / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)[1]


def code_digest() -> str:
    """Names the code of the pack between two versions."""
    digest = hashlib.sha256()
    for folder in ("dicache_core", "model_patchers"):
        for path in sorted((REPO / folder).rglob("*.py")):
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()[:10]


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("workflow", nargs="?", type=Path, help="a workflow file with DiCache Apply in it")
    made.add_argument("--url", default="http://127.0.0.1:8188", help="of your ComfyUI (default: %(default)s)")
    made.add_argument(
        "--prompts", type=int, default=20, metavar="N", help="how many are sampled (default: %(default)s)"
    )
    made.add_argument("--list", type=Path, metavar="FILE", help="a JSON list of prompts to take in place of ours")
    made.add_argument("--out", type=Path, metavar="FOLDER", help="where to write (default: output/real/ and its name)")
    made.add_argument("--again", action="store_true", help="begin anew where results of something else are")
    return made


def measure(options: argparse.Namespace) -> None:
    """Sample what is missing and write the sheet, also of what there is when it is stopped."""
    workflow = _read(options.workflow)
    prompts = _read(options.list or PROMPTS)[: options.prompts]
    comfy = Comfy(options.url)
    place = Place.of(comfy.system())
    info = comfy.nodes()
    bench = Bench.of(api_prompt(workflow, info), info)
    folder = options.out or REPO / "output" / "real" / re.sub(r"\W+", "_", options.workflow.stem)
    results = Results(folder, about(bench, place, prompts, ours=options.list is None), options.again)
    if not bench.texts:
        print("The workflow keeps its own prompt: only the seed varies.")
    try:
        Sampling(comfy, bench, results, prompts).all()
    finally:
        results.write_sheet()


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WorkflowError(f"{path} cannot be read as JSON ({error}): name a workflow file") from error


def main(arguments: list[str] | None = None) -> int:
    made = parser()
    options = made.parse_args(arguments)
    if options.workflow is None:
        made.error("name a workflow file, such as one of example_workflows/")
    try:
        measure(options)
    except ENDS as error:
        print(f"{type(error).__name__.removesuffix('Error')}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
