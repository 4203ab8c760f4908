"""DiCache Apply (Ray) with real Ray actors: ``python ray_child.py COMFY small|rest``, in an environment with Ray.

This process is ComfyUI, with the pack and the stand-in for raylight loaded by its own loader; the actors of
``ray_rank`` are ranks.  Prints one line of JSON: per run what every rank decided, and how far the picture is from that
of one rank.
"""

import json
import logging
import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.extend([str(HERE.parent), str(HERE)])
os.environ.update(
    PYTHONPATH=str(HERE),
    RAY_USAGE_STATS_ENABLED="0",
    RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
    RAY_worker_niceness="0",  # Ray's own 15 would leave the actors without a core on a busy machine
    RAY_AUTH_MODE="token",
    RAY_AUTH_TOKEN=secrets.token_hex(32),  # else Ray writes one into the user's home
)

import ray  # noqa: E402
import torch  # noqa: E402
from inprocess import start  # noqa: E402
from layout import RAYLIGHT, base_directory  # noqa: E402
from ray_rank import Rank  # noqa: E402
from testbed.captions import CAPTIONS  # noqa: E402

STEPS, CFG, PATIENCE = 12, 3.0, 120
ACTORS = {"small": 2, "rest": 4}
EVEN, UNEVEN = {"size": 8, "frames": 3}, {"size": 6, "frames": 3}  # 48 tokens of Wan's, and 27
PAPER = {"threshold": 0.25, "warmup_steps": 2}
RUNS = {  # model, size, ranks for tokens, ranks for conds, and the node's widgets; last what these come to, if not that
    "tokens over 2": ("wan", EVEN, 2, 1, PAPER),
    "tokens over 4": ("wan", EVEN, 4, 1, PAPER),
    "uneven tokens over 2": ("wan", UNEVEN, 2, 1, PAPER),
    "uneven tokens over 4": ("wan", UNEVEN, 4, 1, PAPER),
    "tokens over 2, balanced": ("wan", EVEN, 2, 1, {"preset": "balanced"}),
    "conds over 2": ("wan", EVEN, 1, 2, {"preset": "balanced"}),
    "conds over 2, by a measure": ("wan", EVEN, 1, 2, {"policy": "easycache"}),
    "conds over 2, Flux": ("flux", {"size": 16}, 1, 2, {"preset": "fast"}),
    "conds over 2, preset of blocks": ("flux", {"size": 16}, 1, 2, {"preset": "published"}, {"preset": "balanced"}),
    "tokens over 2, blocks by a plan": ("wan", EVEN, 2, 1, {"policy": "profilingdit", "mask": "blocks 1-2"}),
    "tokens over 2, conds over 2": ("wan", EVEN, 2, 2, {"preset": "balanced"}),
    "tokens over 2, conds over 2, by a measure": ("wan", EVEN, 2, 2, {"policy": "easycache"}),
}
SMALL = ("tokens over 2", "conds over 2")  # of these; what `make test` runs


class Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


class Cluster:
    """The actors, and runs on the first few of them."""

    def __init__(self, comfy, folder: Path, actors: int) -> None:
        self.comfy = comfy
        self.folder = folder
        self.files = 0
        actor = ray.remote(num_cpus=1)(Rank)
        self.workers = [actor.remote(str(comfy.path), str(HERE.parent)) for _ in range(actors)]

    def all(self, workers: list, method: str, *arguments):
        return ray.get([getattr(w, method).remote(*arguments) for w in workers], timeout=PATIENCE)

    def begin(self, architecture: str, tokens: int, conds: int, patience: float = PATIENCE, first: int = 0) -> list:
        """The actors that share the work from now on, with fresh models."""
        workers = self.workers[first : first + tokens * conds]
        self.files += 1
        store, wait = str(self.folder / f"store-{self.files}"), timedelta(seconds=patience)
        futures = [w.begin.remote(rank, tokens, conds, store, wait) for rank, w in enumerate(workers)]
        ray.get(futures, timeout=PATIENCE)
        self.all(workers, "load", architecture)
        return workers

    def apply(self, workers: list, policy: str | None = None, mask: str = "", **widgets):
        """What the node returns."""
        if policy is not None:
            typed = {"mask": mask} if mask else {"threshold": 0.3}
            widgets["policy"] = self.comfy.pack.dicache_core.policies.chosen_policy(policy, **typed)
        return self.comfy.node("DiCacheApplyRay", ray_actors={"workers": workers}, **widgets)

    def run(self, architecture: str, size: dict, tokens: int, conds: int, widgets: dict | None) -> tuple:
        """Per rank latent and decisions, and rank 0's statistics, as DiCache Report fetches them."""
        workers = self.begin(architecture, tokens, conds)
        log = None if widgets is None else self.apply(workers, **widgets)[1]
        found = self.all(workers, "sample", CAPTIONS[0], size, STEPS, CFG)
        return found, [] if log is None else log.runs


def compared(
    cluster: Cluster, alone: dict, architecture: str, size: dict, tokens: int, conds: int, widgets, used=None
) -> dict:
    """One run against the same one on a single rank, or against ``used``, the widgets whose settings are used in it."""
    key = json.dumps([architecture, size, used or widgets])
    if key not in alone:
        alone[key] = cluster.run(architecture, size, 1, 1, used or widgets)
    ((theirs, decided),), _ = alone[key]
    found, runs = cluster.run(architecture, size, tokens, conds, widgets)
    return {
        "alone": decided,
        "ranks": [decided for _, decided in found],
        "equal": all(torch.equal(latent, found[0][0]) for latent, _ in found),
        "difference": float((found[0][0] - theirs).abs().max() / theirs.abs().max()),
        "cells": [run.cells for run in runs],
        "seconds": [len(run.seconds(set("wclrmp"))) for run in runs],
        "report": cluster.comfy.node("DiCacheReport", after=None, statistics=Kept(runs))[1] if runs else None,
    }


class Kept:
    def __init__(self, runs: list) -> None:
        self.runs = runs


def refused(cluster: Cluster, workers: list, **widgets) -> str:
    """The node's error."""
    try:
        cluster.apply(workers, **widgets)
    except ValueError as error:
        return str(error)
    return ""


def failing(cluster: Cluster, first: int, seconds: float | None, patience: float) -> dict:
    """A run on two actors in which rank 1 dies, or stops for ``seconds``: the errors, and how long they took."""
    workers = cluster.begin("wan", 2, 1, patience, first)
    cluster.apply(workers, **PAPER)
    ray.get(workers[1].fail_at.remote(7, seconds), timeout=PATIENCE)
    began, errors = time.monotonic(), []
    futures = [w.sample.remote(CAPTIONS[0], EVEN, STEPS, CFG) for w in workers]
    try:
        ray.get(futures, timeout=PATIENCE)  # as raylight's sampler waits
    except ray.exceptions.RayError as error:
        errors.append(type(error).__mro__[1].__name__ if hasattr(error, "cause") else type(error).__name__)
    return {"errors": errors, "seconds": time.monotonic() - began}


@contextmanager
def ray_running(actors: int) -> Iterator[Path]:
    """Ray on this machine alone, small, and gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="dicache-ray-"))  # a short path: sockets' names have an upper length
    try:
        ray.init(
            "local",
            num_cpus=actors,
            num_gpus=0,
            object_store_memory=80 * 2**20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.WARNING,
            _node_ip_address="127.0.0.1",
            _temp_dir=str(folder),
        )
        yield folder
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def main(path: str, part: str) -> None:
    """Of ``RUNS`` the ones in ``SMALL``, or all others and what goes wrong."""
    answer: dict = {}
    with ray_running(ACTORS[part]) as folder:
        comfy = start(Path(path), base_directory(folder / "comfy"))
        assert comfy.pack
        comfy.load_pack(RAYLIGHT)  # behind the pack: no order is promised
        lines = Lines()
        logging.getLogger("dicache").addHandler(lines)
        cluster, alone = Cluster(comfy, folder, ACTORS[part]), {}
        answer["runs"] = {}
        for name, run in [(name, run) for name, run in RUNS.items() if (name in SMALL) == (part == "small")]:
            lines.lines.clear()
            answer["runs"][name] = {**compared(cluster, alone, *run), "log": list(lines.lines)}
            found = answer["runs"][name]
            print(f"{name}: {found['cells']}, off by {found['difference']:.1e}", flush=True, file=sys.stderr)
        if part == "rest":
            answer |= what_goes_wrong(cluster)
    print(json.dumps(answer))


def what_goes_wrong(cluster: Cluster) -> dict:
    workers = cluster.begin("wan", 1, 2)
    refusals = {
        "policy": refused(cluster, workers, policy="dicache"),
        "threshold": refused(cluster, workers, threshold=0.2),
        "probe depth": refused(cluster, cluster.begin("wan", 2, 1), probe_depth=99),
    }
    stuck = failing(cluster, 2, seconds=40, patience=4)
    dead = failing(cluster, 0, seconds=None, patience=PATIENCE)
    return {"refused": refusals, "stuck": stuck, "dead": dead}


if __name__ == "__main__":
    main(*sys.argv[1:])
