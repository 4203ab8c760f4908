"""The little world the testbed checkpoints were trained on.

One scene is a background and one or two moving shapes.  A caption is 20 vocabulary ids; the text embedding is a
fixed random table, so no text encoder is needed.  A latent is a linear, invertible-enough code of the picture:
8x8 DCT blocks of Y, Cb and Cr, of which 10 + 3 + 3 low frequencies are kept (16 channels, 1/8 resolution), each
divided by the channel scale that is stored in the checkpoint's safetensors metadata under "std".

Shapes: images are (B, 3, T, H, W) in [-1, 1]; latents are (B, 16, T, H/8, W/8) in *model space*, that is after the
host's ``latent_format.process_in``.  Still pictures have T = 1.
"""

import math

import torch

SHAPES = ["circle", "square", "triangle", "ring", "cross", "star"]
COLORS = {
    "red": (0.86, 0.15, 0.15),
    "green": (0.15, 0.7, 0.25),
    "blue": (0.15, 0.3, 0.85),
    "yellow": (0.95, 0.85, 0.15),
    "purple": (0.55, 0.2, 0.7),
    "orange": (0.95, 0.5, 0.1),
    "white": (0.95, 0.95, 0.95),
    "black": (0.06, 0.06, 0.06),
    "cyan": (0.1, 0.8, 0.85),
    "pink": (0.95, 0.5, 0.7),
}
BACKGROUNDS = ["plain", "gradient", "stripes", "checker", "waves"]  # the checkpoints saw the first three
SIZES = ["small", "medium", "large"]  # ... and medium and large
MOVES = ["still", "left", "right", "up", "down", "spin"]
VOCABULARY = ["<pad>", *SHAPES, *COLORS, *BACKGROUNDS, *SIZES, *MOVES, "obj1", "obj2", "obj3", "background"]
INDEX = {word: i for i, word in enumerate(VOCABULARY)}
CAPTION_LENGTH = 20
CONTEXT_DIM = {
    **dict.fromkeys(("flux", "flux_reflow", "flux_lcm", "flux_emoji"), 64),
    **dict.fromkeys(("hunyuan_video", "qwen_image", "z_image", "unet"), 64),
    "wan": 4096,
}

ZIGZAG = [(0, 0), (0, 1), (1, 0), (2, 0), (1, 1), (0, 2), (0, 3), (1, 2), (2, 1), (3, 0)]
KEPT = (10, 3, 3)  # coefficients kept of Y, Cb, Cr
YCBCR = torch.tensor([[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]])


def embedding_table(dim: int) -> torch.Tensor:
    """(len(VOCABULARY), dim) fixed text embedding."""
    return torch.randn(len(VOCABULARY), dim, generator=torch.Generator().manual_seed(1234))


def caption_ids(
    background: str, color: str, color2: str | None, objects: list[tuple[str, str, str, str]]
) -> torch.Tensor:
    """(20,) ids of a background and up to two (shape, color, size, move) objects."""
    ids = [INDEX["background"], INDEX[background], INDEX[color], INDEX[color2] if color2 else 0]
    for n, (shape, shade, size, move) in enumerate(objects, start=1):
        ids += [INDEX[f"obj{n}"], INDEX[shape], INDEX[shade], INDEX[size], INDEX[move]]
    return torch.tensor(ids + [0] * (CAPTION_LENGTH - len(ids)))


def _dct_matrix(n: int = 8) -> torch.Tensor:
    k = torch.arange(n, dtype=torch.float32)
    basis = torch.cos(math.pi * (2 * k[None] + 1) * k[:, None] / (2 * n)) * math.sqrt(2 / n)
    basis[0] /= math.sqrt(2)
    return basis


def encode(video: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(B, 3, T, H, W) in [-1, 1] -> (B, 16, T, H/8, W/8) model-space latent."""
    b, _, t, h, w = video.shape
    d = _dct_matrix().to(video.device)
    ycc = torch.einsum("ij,bjthw->bithw", YCBCR.to(video.device), video)
    blocks = ycc.reshape(b, 3, t, h // 8, 8, w // 8, 8)
    coef = torch.einsum("ka,bcthawe,le->bcthwkl", d, blocks, d)
    channels = [coef[:, plane, ..., i, j] for plane, kept in enumerate(KEPT) for i, j in ZIGZAG[:kept]]
    return torch.stack(channels, 1) / std.to(video.device).view(1, 16, 1, 1, 1)


def decode(latent: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(B, 16, T, h, w) model-space latent -> (B, 3, T, 8h, 8w) in [-1, 1]."""
    b, _, t, h, w = latent.shape
    d = _dct_matrix().to(latent.device)
    latent = latent * std.to(latent.device).view(1, 16, 1, 1, 1)
    coef = torch.zeros(b, 3, t, h, w, 8, 8, device=latent.device)
    channel = 0
    for plane, kept in enumerate(KEPT):
        for i, j in ZIGZAG[:kept]:
            coef[:, plane, ..., i, j] = latent[:, channel]
            channel += 1
    ycc = torch.einsum("ka,bcthwkl,le->bcthawe", d, coef, d).reshape(b, 3, t, h * 8, w * 8)
    return torch.einsum("ij,bjthw->bithw", torch.linalg.inv(YCBCR).to(latent.device), ycc).clamp(-1, 1)


def _signed_distance(kind: torch.Tensor, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Distance to shape ``kind[b]`` in its own frame; x, y are (B, H, W)."""
    r = torch.sqrt(x * x + y * y + 1e-9)
    angle = torch.atan2(x, y)
    stack = torch.stack(
        [
            r - 1,
            torch.maximum(x.abs(), y.abs()) - 0.85,
            torch.maximum(x.abs() * math.sqrt(3) / 2 - y * 0.5, y) - 0.5,
            (r - 0.8).abs() - 0.22,
            torch.minimum(torch.maximum(x.abs() - 0.3, y.abs() - 1), torch.maximum(y.abs() - 0.3, x.abs() - 1)),
            r - (0.72 + 0.28 * torch.cos(5 * angle)),
        ]
    )
    return torch.gather(stack, 0, kind.view(1, -1, 1, 1).expand(1, *x.shape))[0]


def random_scenes(batch: int, size: int, frames: int, device: str, generator: torch.Generator):
    """Draw captioned scenes: ((B, 3, T, size, size) video, (B, 20) caption ids)."""

    def uniform(*shape):
        return torch.rand(*shape, device=device, generator=generator)

    def integer(n, *shape):
        return torch.randint(0, n, shape, device=device, generator=generator)

    palette = torch.tensor(list(COLORS.values()), device=device)
    yy, xx = torch.meshgrid(*[torch.linspace(-1, 1, size, device=device)] * 2, indexing="ij")
    pattern = integer(3, batch)
    color1, color2 = integer(10, batch), integer(10, batch)
    angle, frequency, phase = uniform(batch) * math.pi, 2 + 4 * uniform(batch), uniform(batch) * 6.28
    drift = (uniform(batch) - 0.5) * 4 * (frames > 1)
    count = 1 + integer(2, batch)
    shape, shade = integer(6, batch, 3), integer(10, batch, 3)
    extent, move = 1 + integer(2, batch, 3), integer(6, batch, 3) * (frames > 1)
    position, rotation = (uniform(batch, 3, 2) - 0.5) * 1.3, uniform(batch, 3) * 6.28
    radius = torch.tensor([0.18, 0.3, 0.45], device=device)[extent] * (0.9 + 0.2 * uniform(batch, 3))
    speed = 0.5 + 0.5 * uniform(batch, 3)
    headings = torch.tensor([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1], [0, 0]], device=device, dtype=torch.float32)
    velocity, spin = headings[move] * speed[..., None], (move == 5) * 3.0 * speed

    def column(v):
        return v.view(batch, 1, 1)

    u = xx[None] * column(angle.cos()) + yy[None] * column(angle.sin())
    frames_out = []
    for f in range(frames):
        t = f / max(1, frames - 1)
        stripes = (torch.sin(column(frequency) * 3 * u + column(phase + drift * t)) > 0).float()
        kinds = torch.stack([torch.zeros_like(u), (u + 1) / 2, stripes])
        mix = torch.gather(kinds, 0, pattern.view(1, batch, 1, 1).expand(1, batch, size, size))[0].clamp(0, 1)[:, None]
        picture = (
            palette[color1].view(batch, 3, 1, 1) * (1 - mix * 0.8) + palette[color2].view(batch, 3, 1, 1) * mix * 0.8
        )
        for o in range(3):
            center, theta = position[:, o] + velocity[:, o] * (t - 0.5), rotation[:, o] + spin[:, o] * t
            x, y, z = xx[None] - column(center[:, 0]), yy[None] - column(center[:, 1]), column(radius[:, o])
            c, s = column(theta.cos()), column(theta.sin())
            distance = _signed_distance(shape[:, o], (x * c + y * s) / z, (-x * s + y * c) / z) * z
            alpha = (torch.sigmoid(-distance * size * 0.7) * column((o < count).float()))[:, None]
            light = (1 - 0.175 * ((x + y) / z).clamp(-1, 1))[:, None]
            picture = picture * (1 - alpha) + alpha * (palette[shade[:, o]].view(batch, 3, 1, 1) * light).clamp(0, 1)
        frames_out.append(picture)

    ids = torch.zeros(batch, CAPTION_LENGTH, dtype=torch.long, device=device)
    ids[:, 0], ids[:, 1], ids[:, 2] = INDEX["background"], INDEX["plain"] + pattern, INDEX["red"] + color1
    ids[:, 3] = torch.where(pattern > 0, INDEX["red"] + color2, torch.zeros_like(color2))
    for o in range(3):
        shown, b = (o < count).long(), 4 + 5 * o
        words = [
            INDEX["obj1"] + o,
            INDEX["circle"] + shape[:, o],
            INDEX["red"] + shade[:, o],
            INDEX["small"] + extent[:, o],
            INDEX["still"] + move[:, o],
        ]
        for k, word in enumerate(words):
            ids[:, b + k] = word * shown
    return torch.stack(frames_out, 2) * 2 - 1, ids
