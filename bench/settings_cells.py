"""What the settings bench measures: models, and the settings that people sample with."""

from __future__ import annotations

from dataclasses import dataclass

JUDGED = "8-15,24-31"  # pictures of the table: captions 8 to 15 with two noises each; it was tuned on captions 0-7
MORE = "40-47,56-63,72-79,88-95"  # the same captions with four other noises, where JUDGED leave open who is first
TARGETS = ("2x", "3x")
FEW_TARGETS = ("1.5x", "2x", "3x")  # a distilled model's, where 3x is a lot


@dataclass(frozen=True)
class Setting:
    """One way to sample.

    Slots:
        name: as it is typed after ``--setting``.
        group: settings that are hard for the same reason.
        steps, sampler, scheduler, denoise: of the host's KSampler. Below a denoise of 1 a drawn scene is the start.
        guided: with ``Model.guided`` as cfg in place of the model's own.
        shifted: with ``Model.shift`` in place of the model's own.
        scale: edges of the picture against ``Model.size``.
    """

    name: str
    group: str
    steps: int
    sampler: str = "euler"
    scheduler: str = "simple"
    denoise: float = 1.0
    guided: bool = False
    shifted: bool = False
    scale: float = 1.0


@dataclass(frozen=True)
class Model:
    """One checkpoint, at sizes that let the whole table fit into an hour on two cores.

    Slots:
        name: of the testbed.
        size, frames: cells of the latent.
        settings: those it is measured with.
        tuned: whether the policy was tuned on it (with other captions than the table's).
        guided: cfg of the setting that asks for another than its own.
        shift: of the schedule, for the setting that asks for another than its own; 0 where there is none.
        targets: speeds asked for.
        outer: whether the paper's rule runs a good part of the model on calls that it skips, a U-Net's outermost
            blocks, so that it is held against the same work too.
    """

    name: str
    size: int
    settings: tuple[Setting, ...]
    frames: int = 1
    tuned: bool = False
    guided: float = 2.5
    shift: float = 0.0
    targets: tuple[str, ...] = TARGETS
    outer: bool = False

    def setting(self, name: str) -> Setting:
        """The one of that name."""
        return next(setting for setting in self.settings if setting.name == name)


PLAIN, TWO, MULTI, GUIDANCE, NOISE, SHORT, FEW = (
    "plain", "two-call samplers", "multistep samplers", "guidance", "noise", "short", "few",
)  # fmt: skip
GROUPS = (PLAIN, TWO, MULTI, GUIDANCE, NOISE, SHORT, FEW)

COMMON = (
    Setting("euler30", PLAIN, 30),
    Setting("euler50", PLAIN, 50),
    Setting("beta30", PLAIN, 30, scheduler="beta"),
    Setting("quadratic30", PLAIN, 30, scheduler="linear_quadratic"),
    Setting("image30", PLAIN, 30, denoise=0.6),
    Setting("large20", PLAIN, 20, scale=1.5),
    Setting("heun16", TWO, 16, "heun"),
    Setting("dpm2_16", TWO, 16, "dpm_2"),
    Setting("2m_sgm24", MULTI, 24, "dpmpp_2m", "sgm_uniform"),
    Setting("2m_beta30", MULTI, 30, "dpmpp_2m", "beta"),
    Setting("unipc20", MULTI, 20, "uni_pc"),
    Setting("res20", MULTI, 20, "res_multistep"),
    Setting("ipndm20", MULTI, 20, "ipndm"),
    Setting("cfg30", GUIDANCE, 30, guided=True),
    Setting("ancestral30", NOISE, 30, "euler_ancestral"),
    Setting("er_sde30", NOISE, 30, "er_sde"),
    Setting("2m_sde30", NOISE, 30, "dpmpp_2m_sde"),
    Setting("lcm12", NOISE, 12, "lcm"),
    Setting("euler12", SHORT, 12),
    Setting("2m_9", SHORT, 9, "dpmpp_2m"),
    Setting("euler8", FEW, 8),
)
SHIFTED = (Setting("shift30", PLAIN, 30, shifted=True),)
KARRAS = (Setting("karras24", MULTI, 24, "dpmpp_2m", "karras"),)
REFLOWED = (
    Setting("euler4", FEW, 4),
    Setting("euler6", FEW, 6),
    Setting("euler8", FEW, 8),
    Setting("beta8", FEW, 8, scheduler="beta"),
    Setting("quadratic8", FEW, 8, scheduler="linear_quadratic"),
    Setting("shift8", FEW, 8, shifted=True),
    Setting("image8", FEW, 8, denoise=0.6),
    Setting("large8", FEW, 8, scale=1.5),
    Setting("2m_sgm8", FEW, 8, "dpmpp_2m", "sgm_uniform"),
    Setting("unipc8", FEW, 8, "uni_pc"),
    Setting("res8", FEW, 8, "res_multistep"),
    Setting("heun5", FEW, 5, "heun"),
)
CONSISTENT = (
    Setting("lcm4", FEW, 4, "lcm"),
    Setting("lcm6", FEW, 6, "lcm"),
    Setting("lcm8", FEW, 8, "lcm"),
    Setting("lcm_sgm8", FEW, 8, "lcm", "sgm_uniform"),
    Setting("lcm_beta8", FEW, 8, "lcm", "beta"),
    Setting("lcm_shift8", FEW, 8, "lcm", shifted=True),
    Setting("lcm_image8", FEW, 8, "lcm", denoise=0.6),
    Setting("lcm_large8", FEW, 8, "lcm", scale=1.5),
    Setting("euler4", FEW, 4),
    Setting("euler8", FEW, 8),
    Setting("ancestral8", FEW, 8, "euler_ancestral"),
    Setting("2m_sgm8", FEW, 8, "dpmpp_2m", "sgm_uniform"),
)

MODELS = {
    model.name: model
    for model in (
        Model("flux", 12, COMMON + SHIFTED, tuned=True, shift=1.8),
        Model("hunyuan_video", 8, COMMON + SHIFTED, frames=3, tuned=True, shift=3.0),
        Model("wan", 8, COMMON + SHIFTED, frames=3, tuned=True, guided=5.0, shift=3.0),
        Model("qwen_image", 12, COMMON + SHIFTED, guided=4.0, shift=2.2),
        Model("z_image", 12, COMMON + SHIFTED, shift=6.0),
        Model("unet", 8, COMMON + KARRAS, tuned=True, guided=6.0, outer=True),
        Model("flux_reflow", 16, REFLOWED, tuned=True, shift=1.8, targets=FEW_TARGETS),
        Model("flux_lcm", 16, CONSISTENT, shift=1.8, targets=FEW_TARGETS),
    )
}
