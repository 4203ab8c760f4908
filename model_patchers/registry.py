"""Which family a network belongs to.  A new one is one more row in ``FAMILIES``."""

from __future__ import annotations

from torch import nn

from .families import FAMILIES
from .family import Family, class_name


def family_of(network: nn.Module) -> Family | None:
    """The family of a diffusion model, by its class; ``None`` where it is not in the table."""
    found = class_name(network)
    return next((family for family in FAMILIES if found in family.models), None)


def known_family(network: nn.Module) -> Family:
    """The family of a diffusion model, or a ``ValueError`` that names the class found and the families known."""
    family = family_of(network)
    if family is None:
        raise ValueError(
            f"DiCache does not know the model class {class_name(network)}. It supports "
            f"{', '.join(sorted(family.name for family in FAMILIES))}: "
            "load one of these, or remove the DiCache node from this model"
        )
    return family
