"""Quality against computed steps, all policies on the six testbed models: ``make bench-quality``.

Real sampling through the host: 30 euler steps, every policy at about 50%, 40% and 33% computed steps, against the
uncached run of the same seed.  Rows are written as they are measured; an interrupted run goes on where it stopped.
With ``--architecture``, ``--policy`` or ``--level`` the new rows take the place of their like, and all others stay.
``--tables`` only makes the README's table and the plots again from bench/results/quality.json.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

BENCH = Path(__file__).resolve().parent
REPO = BENCH.parent
sys.path.extend([str(BENCH), str(REPO), str(REPO / "tests"), str(REPO / "tests" / "host")])
RESULTS = BENCH / "results" / "quality.json"
PARTS = REPO / "output" / "quality"
ARCHITECTURES = ("flux", "hunyuan_video", "wan", "z_image", "qwen_image", "unet")
SHARES = (0.5, 0.4, 1 / 3)
LEFT_OUT = ("step_mask",)  # whatever mask one writes
BASELINES = ("fewer_steps", "comfyui_easycache", "comfyui_lazycache")


def policies() -> list[str]:
    """Names of everything in the table, costly ones first, so that parts take equally long."""
    from dicache_core import POLICIES

    return [*BASELINES[1:], *[name for name in POLICIES if name not in LEFT_OUT], BASELINES[0]]


def measure_part(options: argparse.Namespace) -> None:
    """All rows of one model for some policies, in this process."""
    import inprocess
    import torch
    from layout import base_directory
    from provision import running_host
    from quality_runs import STEPS, Lab

    torch.set_num_threads(1)
    rows = json.loads(options.part.read_text()) if options.part.is_file() else []
    options.part.write_text(json.dumps(rows, indent=1))  # also where no policy applies
    done = {(row["policy"], row["level"]) for row in rows}
    with tempfile.TemporaryDirectory() as folder:
        comfy = inprocess.start(Path(running_host().comfy), base_directory(Path(folder)))
        lab = Lab(comfy, options.architecture[0], options.captions, options.seeds)
        for name in filter(lab.applies, options.policy):
            levels = options.level or [round(share * STEPS) for share in SHARES]
            missing = [level for level in levels if (name, level) not in done]
            if missing:
                for row in rows_of(lab, name, missing):
                    rows.append(row)
                    options.part.write_text(json.dumps(rows, indent=1))
                    print(
                        f"{row['architecture']:14} {name:24} {row['computed_steps']:5.1f} {row['psnr_mean']:6.2f} dB",
                        flush=True,
                    )


def rows_of(lab, name: str, levels: list[int]):
    """Rows of one policy, made one after another."""
    import numpy as np
    import torch
    from quality_runs import (
        HOST_NODES,
        PROBED,
        STEPS,
        Matcher,
        psnr_per_sample,
        run_fewer,
        run_host_node,
        run_policy,
        ssim,
        with_target,
    )

    captions = min(PROBED, lab.captions)
    core, dtype = lab.core, torch.bfloat16 if name in HOST_NODES else torch.float32
    if name in HOST_NODES:
        matcher = Matcher(lambda t: float(np.mean(run_host_node(lab, name, t, captions).computed)), 0.1)
    elif name != "fewer_steps":
        from dataclasses import replace

        policy = core.POLICIES[name]
        if policy.calibrated:
            lab.curve = lab.curve or lab.calibrate()
            policy = replace(policy, curve=lab.curve)
        config = core.resolve(lab.family.architecture, policy=policy)
        # Where no threshold was published users get a target, and so does the table.
        steered = policy.limited_by != "threshold" or bool(config.target)
        matcher = Matcher(
            lambda t: float(np.mean(run_policy(lab, replace(config, threshold=t), captions).computed)), config.threshold
        )
    for level in levels:
        begin, threshold = time.perf_counter(), None
        if name == "fewer_steps":
            result = run_fewer(lab, level)
        elif name in HOST_NODES:
            threshold = matcher.threshold(level)
            result = run_host_node(lab, name, threshold)
        elif steered:
            result = run_policy(lab, with_target(config, level))
        else:
            threshold = matcher.threshold(level)
            result = run_policy(lab, replace(config, threshold=threshold))
        if float(np.mean(result.computed)) >= STEPS:
            continue  # however loose, it skips nothing here
        reference = lab.reference(dtype)
        psnr = psnr_per_sample(result.pictures, reference, lab.captions * lab.seeds)
        yield {
            "architecture": lab.architecture,
            "policy": name,
            "computed_steps": round(float(np.mean(result.computed)), 2),
            "psnr_mean": round(float(np.mean(psnr)), 2),
            "psnr_p10": round(float(np.percentile(psnr, 10)), 2),
            "ssim_mean": round(ssim(result.pictures, reference), 4),
            "seconds": round(result.seconds, 3),
            "level": level,
            "threshold": None if threshold is None else float(f"{threshold:.4g}"),
            "samples": len(psnr),
            "measured_in": round(time.perf_counter() - begin, 1),
        }


def merged(old: list[dict], new: list[dict]) -> list[dict]:
    """``new`` rows, and those of ``old`` that none of them measures again."""

    def place(row: dict) -> tuple[str, str, int]:
        return row["architecture"], row["policy"], row["level"]

    again = {place(row) for row in new}
    return [row for row in old if place(row) not in again] + new


def code_state() -> str:
    """Names the measured code: an interrupted run goes on where it was, never with another version's rows."""
    digest = hashlib.sha256()
    for folder in ("dicache_core", "model_patchers", "bench"):
        for path in sorted((REPO / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:10]


def measure(options: argparse.Namespace) -> None:
    """Every model and policy, ``--jobs`` processes of one thread each at a time."""
    PARTS.mkdir(parents=True, exist_ok=True)
    names = options.policy or policies()
    tasks, state = [], code_state()
    for shard in range(options.shards):
        mine = names[shard :: options.shards]
        for architecture in options.architecture or ARCHITECTURES:
            tag = f"{state}-{architecture}-{options.captions}x{options.seeds}-{'-'.join(mine)[:60]}"
            tasks.append((architecture, mine, PARTS / f"{tag}.json"))

    def run(task: tuple[str, list[str], Path]) -> list[dict]:
        architecture, mine, part = task
        command = [sys.executable, __file__, "--part", str(part), "--architecture", architecture]
        command += ["--captions", str(options.captions), "--seeds", str(options.seeds)]
        command += [word for name in mine for word in ("--policy", name)]
        command += [word for level in options.level or () for word in ("--level", str(level))]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        log = part.with_suffix(".log")
        with log.open("w") as errors:
            if subprocess.run(command, env=environment, stderr=errors, check=False).returncode:
                raise SystemExit(f"measuring {architecture} failed:\n{log.read_text()[-3000:]}")
        return json.loads(part.read_text())

    begin = time.perf_counter()
    with ThreadPoolExecutor(options.jobs) as pool:
        rows = [row for part in pool.map(run, tasks) for row in part]
    measured = len(rows)
    if (options.architecture or options.policy or options.level) and options.output.is_file():
        rows = merged(json.loads(options.output.read_text(encoding="utf-8")), rows)
    order = {name: i for i, name in enumerate([*BASELINES, *dict.fromkeys([*policies(), *names])])}
    rows.sort(key=lambda r: (r["architecture"], order.get(r["policy"], len(order)), r["policy"], -r["level"]))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(f"{measured} rows in {time.perf_counter() - begin:.0f} s, wrote {options.output}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Measure how close each policy stays to the uncached picture.")
    parser.add_argument("--architecture", action="append", choices=ARCHITECTURES, help="only this one (repeatable)")
    parser.add_argument("--policy", action="append", help="only this one (repeatable)")
    parser.add_argument("--level", action="append", type=int, help="only so many computed steps (repeatable)")
    parser.add_argument("--captions", type=int, default=16)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time, each with one thread")
    parser.add_argument("--shards", type=int, default=2, help="parts per model, so that processes end together")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("--tables", action="store_true", help="measure nothing, write table and plots")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        measure_part(options)
        return 0
    if not options.tables:
        measure(options)
    if options.tables or options.output == RESULTS:  # a trial's numbers stay out of the README
        from quality_table import publish

        publish(json.loads(options.output.read_text(encoding="utf-8")), options.output.parent)
    return 0


if __name__ == "__main__":
    sys.exit(main())
