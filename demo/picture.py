"""README's picture, docs/same_time.png: ``make picture`` samples one seed in four ways, three computing equally much.

All steps first; then, at half of its computed steps, simply fewer steps, the paper's rule steered to that speed (its
published threshold skips more than half on this model), and the default.
"""

import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]
sys.path.extend([str(REPO / "tests"), str(REPO / "tests" / "host")])
from comfy_server import ComfyServer  # noqa: E402
from provision import running_host  # noqa: E402
from sampling import BALANCED, FEWER, PAPER_AT_2X, WITHOUT, Way, all_ways  # noqa: E402
from sheet import sheet  # noqa: E402

from demo import SHOWS, warm_up  # noqa: E402

WAYS = (WITHOUT, FEWER, PAPER_AT_2X, BALANCED)
TITLES = {
    WITHOUT: "All steps",
    FEWER: "Simply fewer steps",
    PAPER_AT_2X: "DiCache, the paper's rule at 2x",
    BALANCED: "DiCache Apply, preset balanced",
}
MODEL, CAPTIONS_SHOWN = "flux", 2
TARGET = REPO / "docs" / "same_time.png"


def titles(ways: list[Way]) -> list[str]:
    """Name, computed steps and closeness of each; a step costs all the same, and ``make demo`` has the seconds."""
    ends = ["", *(f", PSNR {way.psnr:.1f} dB" for way in ways[1:])]
    return [f"{TITLES[way.name]}\n{way.computed} steps computed{end}" for way, end in zip(ways, ends, strict=True)]


def main() -> None:
    show = SHOWS[MODEL]
    with ComfyServer(running_host()) as server:
        warm_up(server, MODEL, show)
        rows = [
            all_ways(server, MODEL, caption, show, WAYS, seed)
            for seed, caption in enumerate(show.captions[:CAPTIONS_SHOWN])
        ]
    sheet([(ways, titles(ways)) for ways in rows], TARGET)
    print("\n".join(line.replace("\n", ": ") for ways in rows for line in titles(ways)))
    print(f"wrote {TARGET}")


if __name__ == "__main__":
    main()
