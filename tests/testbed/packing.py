"""Checkpoints in two thirds of their bytes, the same to the bit: ``python packing.py FILE.safetensors`` packs one.

Of a trained bfloat16 number the high byte (sign and exponent) repeats and the low one is nearly random: with all low
bytes first and all high ones behind them, xz makes the latter small.  Needs neither torch nor ComfyUI.
"""

import lzma
import os
import sys
from pathlib import Path

PACKED = Path(__file__).resolve().parent / "weights"
UNPACKED = PACKED.parents[2] / "output" / "weights"


def pack(data: bytes) -> bytes:
    """A safetensors file of 16-bit numbers, smaller."""
    body = _body(data)
    return lzma.compress(data[:body] + data[body::2] + data[body + 1 :: 2], preset=9)


def unpack(packed: bytes) -> bytes:
    """The file that was packed."""
    data = lzma.decompress(packed)
    body, found = _body(data), bytearray(data)
    middle = body + (len(data) - body) // 2
    found[body::2], found[body + 1 :: 2] = data[body:middle], data[middle:]
    return bytes(found)


def _body(data: bytes) -> int:
    """Where the numbers begin: behind the header, whose length the first eight bytes hold."""
    return 8 + int.from_bytes(data[:8], "little")


def unpacked(name: str) -> Path:
    """The checkpoint as it is loaded, unpacked where it is not yet, or from an older pack."""
    source, target = PACKED / f"{name}.safetensors.xz", UNPACKED / f"{name}.safetensors"
    if not target.is_file() or target.stat().st_mtime < source.stat().st_mtime:
        UNPACKED.mkdir(parents=True, exist_ok=True)
        part = target.with_suffix(f".{os.getpid()}")  # several processes may unpack at once
        part.write_bytes(unpack(source.read_bytes()))
        part.replace(target)
    return target


def all_unpacked() -> Path:
    """The folder of all checkpoints as they are loaded."""
    for path in PACKED.glob("*.safetensors.xz"):
        unpacked(path.name.partition(".")[0])
    return UNPACKED


if __name__ == "__main__":
    given = Path(sys.argv[1])
    (PACKED / f"{given.name}.xz").write_bytes(pack(given.read_bytes()))
