"""One of two ranks, of which rank 1 comes to one decision only: ``python lost_rank.py RANK STORE dies|sleeps``.

Rank 0 prints the error that it ends with, and how many seconds it waited.
"""

import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from dicache_core.ranks import RankLostError, summed_over


def main(rank: int, store: str, way: str) -> None:
    dist.init_process_group("gloo", store=dist.FileStore(store, 2), rank=rank, world_size=2)  # waits for half an hour
    reduce = summed_over([dist.group.WORLD], patience=timedelta(seconds=3))
    assert reduce(torch.ones(2)).tolist() == [2.0, 2.0]
    if rank == 1:
        time.sleep(60 if way == "sleeps" else 0)
        return
    began = time.monotonic()
    try:
        while True:
            reduce(torch.ones(2))
    except RankLostError as error:
        print(f"{error}|{time.monotonic() - began}", flush=True)
    os._exit(0)  # the group's own end would wait for the other rank


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
