"""The own presets wherever people sample, all trained models: ``make bench-settings``.

Every cell is one model under one setting (bench/settings_cells.py) at one speed: the own policy, the paper's rule
steered to the calls that the own one computed for each picture, and the same sampler with fewer steps, each against
the full run. What was measured is kept in output/settings by what it depends on, so an interrupted run goes on where it
stopped, and a change of the own policy measures nothing else again. ``--page`` only makes docs/settings.md again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from settings_runs import Cell

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO), str(REPO / "tests"), str(REPO / "tests" / "host")])
RESULTS = BENCH / "results" / "settings.json"
BEFORE = BENCH / "results" / "settings_before.json"
PARTS = REPO / "output" / "settings"

from settings_cells import JUDGED, MODELS, MORE, Model, Setting  # noqa: E402


def code_state(pack: Path) -> str:
    """Names the code of a pack."""
    digest = hashlib.sha256()
    for folder in ("dicache_core", "model_patchers"):
        for path in sorted((pack / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def chosen(options: argparse.Namespace) -> list[tuple[Model, Setting]]:
    """The cells that were asked for, models in turn so that shards take equally long."""
    cells = [(m, s) for m in MODELS.values() if not options.model or m.name in options.model for s in m.settings]
    return [(m, s) for m, s in cells if not options.setting or s.name in options.setting]


def spans(text: str) -> list[list[int]]:
    """``"8-15"`` -> 8 to 15, ``"4"`` -> the first four, ``"8-15,24-31"`` -> the two, one after the other."""
    return [span(part) for part in text.split(",")]


def span(text: str) -> list[int]:
    first, _, last = text.rpartition("-")
    return list(range(int(first), int(last) + 1)) if first else list(range(int(last)))


def cells_of(pictures: str, comfy: Any, model: Model, setting: Setting, folder: Path) -> list[Cell]:
    """A cell for each span of pictures."""
    from settings_runs import Cell

    return [Cell(comfy, model, setting, numbers, folder) for numbers in spans(pictures)]


def measure_part(options: argparse.Namespace) -> None:
    """Every ``--shards``-th of the cells, in this process; one line of JSON per row."""
    import inprocess
    import torch
    from layout import base_directory
    from provision import running_host

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder), options.pack))
        comfy.pack_state = code_state(options.pack)
        logging.getLogger().setLevel(logging.WARNING)
        for model, setting in chosen(options)[options.part :: options.shards]:
            cells = cells_of(options.pictures, comfy, model, setting, options.parts)
            more = cells_of(MORE, comfy, model, setting, options.parts) if options.pictures == JUDGED else []
            for target in options.target or model.targets:
                print("ROW", json.dumps(decided_row(cells, more, target, options.own_only)), flush=True)


def decided_row(cells: Sequence[Cell], more: Sequence[Cell], target: str, own_only: bool) -> dict:
    """A line of the table, with ``more`` pictures where the first ones leave open who is first."""
    from settings_runs import undecided

    row = row_of(cells, target, own_only)
    leads = list(row.get("lead", {}).values())
    return row_of([*cells, *more], target, own_only) if leads and more and undecided(leads) else row


def row_of(cells: Sequence[Cell], target: str, own_only: bool) -> dict:
    """A line of the table: all pictures of the cells, which differ in nothing else."""
    from settings_runs import lead, summary, together

    model, setting, total = cells[0].model, cells[0].setting, cells[0].reference[1]
    own = [cell.own(target) for cell in cells]
    row = {"model": model.name, "setting": setting.name, "group": setting.group, "target": target}
    row |= {"calls": total, "tuned": model.tuned}
    ways = {"own": own}
    if not own_only:
        for name in ("paper", "fewer"):
            ways[name] = [getattr(cell, name)(found) for cell, found in zip(cells, own, strict=True)]
        if model.outer:
            row["skip_share"] = round(cells[0].skip_share, 3)
            work = [cell.paper_at_work(found) for cell, found in zip(cells, own, strict=True)]
            ways |= {"work": work} if all(work) else {}
    found = {name: together(rows) for name, rows in ways.items()}
    row["pictures"] = len(found["own"]["psnr"])
    if not own_only:
        row["lead"] = {name: lead(found["own"], found[name]) for name in ("paper", "fewer")}
    return row | {name: summary(rows, total) for name, rows in found.items()}


def measure(options: argparse.Namespace) -> list[dict]:
    """All rows, ``--jobs`` processes of one thread each at a time."""
    from tqdm import tqdm

    options.parts.mkdir(parents=True, exist_ok=True)
    cells = chosen(options)
    options.shards = min(options.shards, len(cells))
    expected = sum(len(options.target or model.targets) for model, _ in cells)
    bar = tqdm(total=expected, unit="cell", smoothing=0.1)

    def run(part: int) -> list[dict]:
        command = [sys.executable, __file__, *sys.argv[1:], "--part", str(part), "--shards", str(options.shards)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        rows, log = [], options.parts / f"part-{os.getpid()}-{part}.log"
        with log.open("w") as errors:
            child = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True)
            for line in child.stdout:
                if line.startswith("ROW "):
                    rows.append(json.loads(line[4:]))
                    bar.update()
        if child.wait():
            raise SystemExit(f"measuring failed:\n{log.read_text()[-3000:]}")
        log.unlink()
        return rows

    with ThreadPoolExecutor(options.jobs) as pool:
        rows = [row for part in pool.map(run, range(options.shards)) for row in part]
    bar.close()
    order = {(m.name, s.name): i for i, (m, s) in enumerate(chosen(options))}
    return sorted(rows, key=lambda row: order[row["model"], row["setting"]])


def joined(rows: list[dict]) -> list[dict]:
    """With the own policy's numbers of the version before, where they were measured for the same cell."""
    if not BEFORE.is_file():
        return rows
    before = json.loads(BEFORE.read_text(encoding="utf-8"))
    found = {(r["model"], r["setting"], r["target"], before["pictures"]): r["own"] for r in before["rows"]}
    keys = [(r["model"], r["setting"], r["target"], JUDGED) for r in rows]
    return [row | ({"before": found[key]} if key in found else {}) for row, key in zip(rows, keys, strict=True)]


def show(rows: list[dict]) -> None:
    """Rows as lines: mean (10th percentile, worst) of each way, and where the own one is behind."""
    for row in rows:
        ways = [n for n in ("own", "before", "paper", "work", "fewer") if n in row]
        told = "  ".join(
            f"{n} [{w['calls']:4.1f}] {w['psnr_mean']:5.1f} ({w['psnr_p10']:4.1f}, {w['psnr_worst']:4.1f})"
            for n, w in ((n, row[n]) for n in ways)
        )
        best = max([row[n]["psnr_mean"] for n in ("paper", "fewer") if n in row], default=0)
        behind = f"  BEHIND {best - row['own']['psnr_mean']:.1f}" if best > row["own"]["psnr_mean"] else ""
        worse = row["own"]["psnr_p10"] < row.get("paper", row["own"])["psnr_p10"] - 1
        print(f"{row['model']:13} {row['setting']:12} {row['target']:4} of {row['calls']:2.0f}  {told}{behind}"
              f"{'  P10' if worse else ''}")  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure the own policy under the settings that people sample with.")
    parser.add_argument("--model", action="append", choices=MODELS, help="only this one (repeatable)")
    parser.add_argument("--setting", action="append", help="only this one (repeatable), see settings_cells.py")
    parser.add_argument("--target", action="append", help="speed, in place of 2x and 3x (repeatable)")
    parser.add_argument("--pictures", default=JUDGED, help="8-15, or a number: so many from the first, see Cell")
    parser.add_argument("--own-only", action="store_true", help="neither the paper's rule nor fewer steps")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, each with one thread")
    parser.add_argument("--shards", type=int, default=4, help="parts of the work")
    parser.add_argument("--pack", type=Path, default=REPO, help="another version of the pack")
    parser.add_argument("--parts", type=Path, default=PARTS, help="where measured cells are kept")
    parser.add_argument("--output", type=Path, help=f"default: {RESULTS.name} for the whole table, else none")
    parser.add_argument("--page", action="store_true", help="measure nothing, write docs/settings.md")
    parser.add_argument("--part", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    unknown = set(options.setting or []) - {setting.name for _, setting in chosen(options)}
    if unknown:
        known = dict.fromkeys(s.name for m in MODELS.values() for s in m.settings)
        parser.error(f"no chosen model has the setting {', '.join(sorted(unknown))}: known are {', '.join(known)}")
    if options.part is not None:
        measure_part(options)
        return 0
    whole = not (options.model or options.setting or options.target or options.own_only) and options.pictures == JUDGED
    output = options.output or (RESULTS if whole else None)
    if not options.page:
        begin = time.perf_counter()
        rows = measure(options)
        if options.pictures == JUDGED and options.pack == REPO:
            rows = joined(rows)
        show(rows)
        print(f"{len(rows)} rows in {time.perf_counter() - begin:.0f} s")
        if output:
            about = {
                "pictures": options.pictures,
                "tuned_on": {"models": [m.name for m in MODELS.values() if m.tuned], "pictures": "0-7"},
                "judged_only": {"models": [m.name for m in MODELS.values() if not m.tuned], "pictures": JUDGED},
            }
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n", encoding="utf-8")
            print(f"wrote {output}")
    if options.page or output == RESULTS:
        from settings_page import publish

        publish(json.loads(RESULTS.read_text(encoding="utf-8")))
    return 0


if __name__ == "__main__":
    sys.exit(main())
