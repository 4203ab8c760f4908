"""How to rebuild a skipped step. A new predictor is one file and one line in ``PREDICTORS``."""

from __future__ import annotations

from ..known.cachequant import ChannelCorrection
from ..known.easycache import OutputDifference
from ..known.fastercache import FromConditional
from ..known.foca import FoCa
from ..known.freqca import FreqCa
from ..known.hicache import HiCache
from ..known.hyca import HyCa
from ..known.meancache import MeanVelocity
from ..known.reuse import OutputReuse, Reuse
from ..known.spectrum import Spectrum, SpectrumOutput
from ..known.taylorseer import Taylor1, Taylor2
from ..known.tcpade import TcPade
from ..known.worldcache import LeastSquaresGamma
from ..predictor import Predictor, Space
from ..registry import lookup
from .corrected import CorrectedLine
from .output import OutputLine
from .trajectory import TrajectoryAlignment

PREDICTORS: dict[str, type[Predictor]] = {
    "trajectory": TrajectoryAlignment,
    "output_line": OutputLine,
    "corrected_line": CorrectedLine,
    # Known methods.
    "reuse": Reuse,
    "taylor1": Taylor1,
    "taylor2": Taylor2,
    "foca": FoCa,
    "hyca": HyCa,
    "hicache": HiCache,
    "freqca": FreqCa,
    "tc_pade": TcPade,
    "least_squares_gamma": LeastSquaresGamma,
    "channel_correction": ChannelCorrection,
    "output_reuse": OutputReuse,
    "output_difference": OutputDifference,
    "mean_velocity": MeanVelocity,
    "spectrum": Spectrum,
    "spectrum_output": SpectrumOutput,
    "from_conditional": FromConditional,
}


def predictor_class(name: str) -> type[Predictor]:
    """The predictor of that name, or a ``ValueError`` that lists the known ones."""
    return lookup(PREDICTORS, name, "predictor")


__all__ = ["PREDICTORS", "Predictor", "Space", "predictor_class"]
