"""The image at the head of the README, docs/same_time.png: ``make picture``.

Four emoji, each from one seed in five ways: all steps, and four that compute half of them.  Seconds are the KSampler's,
of the four together, and the PSNR is the mean of theirs.
"""

import statistics
import sys
from dataclasses import replace
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "bench"))
import bench
from comfy_server import ComfyServer
from demo import SHOWS, quickly, warm_up
from provision import running_host
from sampling import BALANCED, EASYCACHE, FEWER, PAPER_AT_2X, WITHOUT, Way, all_ways
from sheet import head

MODEL = "flux_emoji"
TITLES = {
    WITHOUT: "Without a cache",
    FEWER: "Half the steps",
    EASYCACHE: "EasyCache",
    PAPER_AT_2X: "DiCache, paper's rule",
    BALANCED: "DiCache Apply, default",
}
ORDER = (WITHOUT, BALANCED, PAPER_AT_2X, FEWER, EASYCACHE)  # the default beside what it should look like


def title(ways: list[Way]) -> list[str]:
    """Name, cost and closeness of one way of sampling, ``ways`` being its images."""
    computed, seconds = statistics.fmean(way.computed for way in ways), sum(way.seconds for way in ways)
    lines = [TITLES[ways[0].name], f"{computed:g} steps, {seconds:.1f} s"]
    return lines if ways[0].psnr is None else [*lines, f"PSNR {statistics.fmean(way.psnr for way in ways):.1f} dB"]


def main() -> None:
    show, target = replace(SHOWS[MODEL], ways=ORDER), bench.DOCS / "same_time.png"
    if bench.parser(__doc__).parse_args().quick:
        show, target = quickly(show), bench.QUICK / target.name
        bench.QUICK.mkdir(parents=True, exist_ok=True)
    with ComfyServer(running_host()) as server:
        warm_up(server, MODEL, show)
        images = [all_ways(server, MODEL, caption, show, seed) for seed, caption in enumerate(show.captions)]
    columns = list(zip(*images, strict=True))
    head([([way.frames[0] for way in ways], title(ways)) for ways in columns], target)
    print("\n".join(", ".join(title(ways)) for ways in columns))
    print(f"wrote {target}")


if __name__ == "__main__":
    main()
