"""The image's tokens in a hidden state, whatever a family's layout: read as ``(N, T, D)``, and written back."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd

import torch
from torch import Tensor, nn

from .family import Arguments, Family, Hidden, Part


class ImageTokens:
    """Where the tokens of ``samples`` samples are during one call of a network.

    ``whole`` takes all of them for the image's: of a part of the stack, later blocks read the text, too.
    """

    def __init__(
        self, family: Family, network: nn.Module, call: Arguments, samples: int, *, whole: bool = False
    ) -> None:
        self.whole = whole
        self.span = family.image_tokens(network, call) if family.image_tokens and not whole else slice(None)
        self.batch_dim = family.batch_dim
        self.samples = samples
        self.rows = family.rows(call, samples) if family.rows else None
        self.image_count = 0  # of the part before a joined one, references among them

    def read(self, hidden: Hidden, part: Part) -> Tensor:
        """The image's tokens ``(N, T, D)``; a view of a hidden state where its layout allows."""
        regions = self._regions(hidden, part)
        width = gcd(*(region.shape[-1] for region in regions))  # streams of different widths, in pieces that fit both
        tokens = [region.reshape(self.samples, region.numel() // self.samples // width, width) for region in regions]
        together = tokens[0] if len(tokens) == 1 else torch.cat(tokens, dim=1)
        return together if self.rows is None else together[list(self.rows)]

    def write(self, hidden: Hidden, part: Part, tokens: Tensor) -> Hidden:
        """``hidden`` with ``tokens`` in it: itself where they are a view of it, else a copy.

        Streams of which all is the image's become pieces of ``tokens``, which ``read`` has put together for them.
        """
        if isinstance(hidden, Tensor) and _shares_memory(hidden, tokens):
            return hidden
        if self.rows is not None:
            tokens = tokens[[self.rows.index(i) for i in range(self.samples)]]
        if isinstance(hidden, tuple) and self.batch_dim == 0 and tokens.numel() == sum(h.numel() for h in hidden):
            return tuple(piece.contiguous() for piece in self._apart(tokens, hidden))
        written = self.copy(hidden)
        regions = self._regions(written, part)
        for region, piece in zip(regions, self._apart(tokens, regions), strict=True):
            region.copy_(piece)
        return written

    def copy(self, hidden: Hidden) -> Hidden:
        """A hidden state in memory of its own, laid out so that ``read`` is a view of it where it can be."""
        if isinstance(hidden, Tensor):
            return hidden.clone(memory_format=torch.contiguous_format)
        return tuple(self.copy(stream) for stream in hidden)

    def _apart(self, tokens: Tensor, streams: Sequence[Tensor]) -> list[Tensor]:
        """The pieces of ``tokens`` that are each stream's, in its shape."""
        counts = [stream.numel() // self.samples // tokens.shape[-1] for stream in streams]
        pieces = tokens.split(counts, dim=1)
        return [piece.reshape(stream.shape) for piece, stream in zip(pieces, streams, strict=True)]

    def _regions(self, hidden: Hidden, part: Part) -> Sequence[Tensor]:
        """Per stream, the image's tokens ``(samples or 1, T, D)``."""
        return [self._region(stream, part) for stream in ([hidden] if isinstance(hidden, Tensor) else hidden)]

    def _region(self, stream: Tensor, part: Part) -> Tensor:
        stream = stream.unsqueeze(0) if self.batch_dim is None else stream.movedim(self.batch_dim, 0)
        stream = stream.flatten(1, -2)
        if self.whole:
            return stream
        if part.joined == "text first":
            stream = stream[:, stream.shape[1] - self.image_count :]
        elif part.joined == "image first":
            stream = stream[:, : self.image_count]
        else:
            self.image_count = stream.shape[1]
        return stream[:, self.span]


def _shares_memory(hidden: Tensor, tokens: Tensor) -> bool:
    return hidden.untyped_storage().data_ptr() == tokens.untyped_storage().data_ptr()
