"""Checkpoints of the testbed are packed to the bit, and take little of a clone."""

import random

import pytest
from testbed import packing

MOST = 60_000_000  # bytes of all


@pytest.mark.parametrize("numbers", [0, 1, 1001])
def test_what_is_unpacked_is_what_was_packed(numbers):
    draw, header = random.Random(numbers), b'{"made up": 1}'
    data = len(header).to_bytes(8, "little") + header + draw.randbytes(2 * numbers)
    assert packing.unpack(packing.pack(data)) == data


def test_sign_and_exponent_that_repeat_cost_next_to_nothing():
    body = bytes(byte for low in random.Random(1).randbytes(4000) for byte in (low, 0x3C))
    assert len(packing.pack((0).to_bytes(8, "little") + body)) < 0.55 * len(body)


def test_a_newer_pack_is_unpacked_again(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "PACKED", tmp_path)
    monkeypatch.setattr(packing, "UNPACKED", tmp_path / "unpacked")
    for body in (b"ab", b"cd"):
        source = tmp_path / "model.safetensors.xz"
        source.write_bytes(packing.pack(bytes(8) + body))
        (folder,) = {packing.all_unpacked(), packing.unpacked("model").parent}
        assert (folder / "model.safetensors").read_bytes() == bytes(8) + body
        past = source.stat().st_mtime - 10
        packing.os.utime(folder / "model.safetensors", (past, past))


def test_all_checkpoints_together_are_small():
    assert sum(path.stat().st_size for path in packing.PACKED.iterdir()) <= MOST
