"""What is known of a family of models: which blocks form the stack, and where the image's tokens are.

A family is a row of data in ``families.py``; the cache around its stack (``stack.py``) is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import Parameter, signature
from math import prod
from typing import Any

from torch import Tensor, nn

from ..dicache_core import display_name
from ..dicache_core.segments import StackShape

Arguments = Mapping[str, Any]  # of one call, by name
Hidden = Tensor | tuple[Tensor, ...]  # several where a model carries several streams that it makes, sound and video say


@dataclass(frozen=True, slots=True)
class SideWork:
    """Work beside the stack that the host looks up in ``owner.attribute`` after each block.

    While a pass is skipped ``idle`` stands there, which does only what is still needed.
    """

    owner: nn.Module
    attribute: str
    idle: Any


@dataclass(frozen=True, slots=True)
class Part:
    """A list of blocks that run one after another.

    Attributes:
        path: where the list is in the network, "transformer_blocks" or "decoder.layers".
        hidden: argument of a block's forward that is the hidden state; a number where the host gives no names.
        returns: the arguments that a block's result consists of, in its order; empty for the hidden state alone.
        joined: "text first" or "image first" where the hidden state is text and image in one sequence while parts
            before it see the image alone.
        key: first half of its key in ``patches_replace["dit"]``; empty where the host takes no replacements.
        patched: name of the hidden state for such a replacement, in and out; empty where its result is a bare tensor.
        method: the block's method that the host calls.
    """

    path: str
    hidden: str | int
    returns: tuple[str | int, ...] = ()
    joined: str = ""
    key: str = ""
    patched: str = "img"
    method: str = "forward"


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a network's stack, ``key`` being its key in ``patches_replace["dit"]``."""

    module: nn.Module
    part: Part
    key: tuple[str, int]

    def argument(self, name: str | int, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """An argument of a call of this block, by name or by place."""
        if isinstance(name, int):
            return args[name]
        return kwargs[name] if name in kwargs else args[self.names.index(name)]

    def by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """All arguments of a call by name, in their order."""
        return {**dict(zip(self.names, args, strict=False)), **kwargs}

    @property
    def names(self) -> tuple[str, ...]:
        own = type(getattr(self.module, "_orig_mod", self.module))  # a compiled block's own
        return parameter_names(getattr(own, self.part.method))


@dataclass(frozen=True, slots=True)
class Family:
    """A row of the table.

    Attributes:
        architecture: name of its published settings and thresholds, and in ``dicache_core.names``.
        models: full names of the host's classes.
        parts: the stack's blocks in the order in which they run.
        patch: attribute with the edge of a patch, or its edges, of the last dimensions of a latent; 1 for none.
        width: attribute with the channels of a hidden state.
        values: attribute with the values of a latent per token, where the host hands several latents over as one.
        image_tokens: tokens of the image that is being made, from the network and a call's arguments; ``None`` for
            all.  Others take part in the blocks, but the host drops them after the stack.
        batch_dim: of a hidden state, whose last dimension is the channels; ``None`` where samples follow one another.
        rows: order of the samples in a hidden state, where it is not that of the model's output.
        left_out: keys of blocks that a network has and does not run.
        aside: whether a call of a block is not the stack's, from its arguments.
        must_run: whether a block's other results are needed even on a skipped pass, from its arguments.
        opening: blocks that run on every pass, as what is behind the stack needs something that they leave behind.
        modulated: modulated input of the first block, from its arguments: what TeaCache and SeaCache look at.
        side_work: work beside the stack that a skipped pass must not pay for, from the network, the number of its last
            block and a block's arguments; what the host adds after the last block acts on the estimate as on a
            computed output, so that has to stay.
        batched: arguments of a block with one row per sample, where a batch may be split; empty where it may not.
        entangled: those of ``models`` whose loop needs the whole batch beside the blocks.
        sliced: those of ``models`` whose blocks all hold the same slice of the image where ranks share its tokens
            (raylight, xDiT): one stream from the first block to the last, with nothing in front of the image.
        unet: whether it is a U-Net, whose deep part has the place of a stack; ``parts`` is empty then.
        streams_weights: whether the host may load the weights of skipped blocks all the same.
        called: its name for people where several families have one architecture.
    """

    architecture: str
    models: tuple[str, ...]
    parts: tuple[Part, ...]
    patch: str | int = "patch_size"
    width: str = "hidden_size"
    values: str = ""
    image_tokens: Callable[[nn.Module, Arguments], slice] | None = None
    batch_dim: int | None = 0
    rows: Callable[[Arguments, int], Sequence[int] | None] | None = None
    left_out: Callable[[nn.Module], set[tuple[str, int]]] | None = None
    aside: Callable[[Arguments], bool] | None = None
    must_run: Callable[[Arguments], bool] | None = None
    opening: int = 0
    modulated: Callable[[nn.Module, Arguments], Tensor] | None = None
    side_work: Callable[[nn.Module, int, Arguments], list[SideWork]] | None = None
    batched: tuple[str, ...] = ()
    entangled: tuple[str, ...] = ()
    sliced: tuple[str, ...] = ()
    unet: bool = False
    streams_weights: bool = False
    called: str = ""

    @property
    def name(self) -> str:
        """For people, "Qwen-Image"."""
        return self.called or display_name(self.architecture)

    def blocks(self, network: nn.Module) -> list[Block]:
        """The stack in the order in which it runs."""
        left_out = self.left_out(network) if self.left_out else set()
        found = [
            Block(m, part, (part.key, i)) for part in self.parts for i, m in enumerate(_listed(network, part.path))
        ]
        return [block for block in found if block.key not in left_out]

    def shape(self, network: nn.Module) -> StackShape:
        """How many blocks each part of the stack has; HunyuanVideo 1.5 does without the second one."""
        paths = [block.part.path for block in self.blocks(network)]
        return StackShape(tuple(count for part in self.parts if (count := paths.count(part.path))))

    def depth(self, network: nn.Module) -> int:
        """Blocks of which some, but not all, can be the probe; on a U-Net those of one side."""
        return len(network.input_blocks) if self.unet else len(self.blocks(network))

    def grid(self, network: nn.Module, latent: Sequence[int]) -> tuple[int, ...]:
        """Tokens along each edge of a sample of a latent ``(N, C, [T,] H, W)``, references aside."""
        return grid_of(network, latent, self.patch)

    def size(self, network: nn.Module, latent: Sequence[int]) -> tuple[int, int]:
        """Tokens and width of one sample of a latent ``(N, C, ...)``, before any call; references aside."""
        width = attribute(network, self.width)
        if self.values:
            per_token = attribute(network, self.values) * prod(patch_edges(network, self.patch, 3))
            return prod(latent[1:]) // per_token, width
        return patches_in(network, latent, self.patch), width


def attribute(network: nn.Module, path: str) -> Any:
    """``network.a.b`` by its path."""
    found: Any = network
    for name in path.split("."):
        found = getattr(found, name)
    return found


def patches_in(network: nn.Module, latent: Sequence[int], patch: str | int) -> int:
    """Patches of one sample of a latent ``(N, C, [T,] [H,] W)``; ``patch`` as in ``Family``."""
    return prod(grid_of(network, latent, patch))


def grid_of(network: nn.Module, latent: Sequence[int], patch: str | int) -> tuple[int, ...]:
    """The same along each edge."""
    sizes = latent[2:]
    return tuple(map(patches_of, sizes, patch_edges(network, patch, len(sizes))))


def patch_edges(network: nn.Module, patch: str | int, dimensions: int) -> tuple[int, ...]:
    """Edges of a patch along the last ``dimensions`` of a latent; one number is the edge of a square."""
    edges = attribute(network, patch) if isinstance(patch, str) else patch
    if isinstance(edges, int):
        edges = (edges, edges)
    edges = tuple(edges)[-dimensions:]
    return (1,) * (dimensions - len(edges)) + edges


def patches_of(size: int, patch: int) -> int:
    """Patches along an edge of ``size`` latent pixels, the last one padded."""
    return -(-size // patch)


def class_name(model: nn.Module) -> str:
    """Full name of a model's class, ``package.module.Class``."""
    return f"{type(model).__module__}.{type(model).__qualname__}"


@cache  # of classes: as many as the host has
def parameter_names(function: Callable[..., Any]) -> tuple[str, ...]:
    """Names of a method's parameters that can be given by place."""
    kinds = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return tuple(p.name for p in signature(function).parameters.values() if p.kind in kinds)[1:]


def _listed(network: nn.Module, path: str) -> Sequence[nn.Module]:
    found = attribute(network, path)
    return list(found.values()) if isinstance(found, nn.ModuleDict) else list(found)
