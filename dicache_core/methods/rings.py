"""Eight rings of spatial frequency of a latent, by products with small matrices: every device has those, and an FFT, or
complex numbers, not all."""

from __future__ import annotations

import math
from functools import cached_property

import torch
from torch import Tensor

RINGS = 8
LONGEST = 1024  # of an axis whose frequencies are told apart: a matrix of 4 MiB


class Rings:
    """The frequencies of latents ``(C, ...)`` of one shape, over all axes but the first.

    Along an axis of ``n`` values the discrete Hartley transform (Hartley, Proc. IRE 30, 1942),
    ``H[k, j] = (cos(2 pi k j / n) + sin(2 pi k j / n)) / sqrt(n)``, is real, orthogonal and its own inverse.  A filter
    whose gain depends on how high a frequency is, whatever its sign, does the same here as under the Fourier transform,
    and sums of products over a ring are the same, too.

    Raises:
        ValueError: for a latent without channels.
    """

    def __init__(self, shape: torch.Size, device: torch.device) -> None:
        if not shape:
            raise ValueError("a latent has at least one axis, that of its channels")
        self.shape = shape
        self.device = device
        self._axes = [axis for axis, size in enumerate(shape) if axis and 1 < size <= LONGEST]

    @cached_property
    def _matrices(self) -> dict[int, Tensor]:
        """Per length of an axis ``H``, ``(n, n)`` float32."""
        return {size: _hartley(size, self.device) for size in {self.shape[axis] for axis in self._axes}}

    @cached_property
    def _ring(self) -> Tensor:
        """``(1, ...)``: the ring of each place, by its frequency's distance from 0 over that of the highest."""
        squares = torch.zeros(1, *self.shape[1:])
        for axis in self._axes:
            size = self.shape[axis]
            index = torch.arange(size)
            height = torch.minimum(index, size - index) / (size / 2)
            squares += height.square().reshape(size, *(1 for _ in self.shape[axis + 1 :]))
        radius = (squares / max(1, len(self._axes))).sqrt()
        return (radius * RINGS).long().clamp(max=RINGS - 1).to(self.device)

    @property
    def held(self) -> list[Tensor]:
        """Tensors kept between steps, once there was need of them."""
        matrices = self.__dict__.get("_matrices", {})
        ring = self.__dict__.get("_ring")
        return [*matrices.values(), *([] if ring is None else [ring])]

    def transform(self, values: Tensor) -> Tensor:
        """The spectrum of ``values`` ``(..., C, ...)`` float32, and of a spectrum its values."""
        first = values.ndim - len(self.shape)
        for axis in self._axes:
            at = first + axis
            values = (values.transpose(at, -1) @ self._matrices[self.shape[axis]]).transpose(at, -1)
        return values

    def sums(self, products: Tensor) -> Tensor:
        """``(K, C, ...)`` to ``(K, RINGS)``: what adds up in each ring."""
        places = products.sum(1, keepdim=True)
        return torch.stack([(places * (self._ring == ring)).flatten(1).sum(1) for ring in range(RINGS)], 1)

    def spread(self, gains: Tensor) -> Tensor:
        """``(RINGS,)`` to ``(1, ...)``: each ring's gain at all of its places."""
        return gains[self._ring]


def _hartley(size: int, device: torch.device) -> Tensor:
    index = torch.arange(size)
    angle = 2 * math.pi * (index[:, None] * index % size).double() / size
    return ((angle.cos() + angle.sin()) / math.sqrt(size)).float().to(device)
