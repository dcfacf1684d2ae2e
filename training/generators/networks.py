"""The networks, in two or three dimensions by one parameter: in-painter, critic, autoencoder, denoiser.

Tensors are (N, C, *S) with ``dims`` lengths S, each a multiple of 8. Decoders go up by the nearest neighbour and a
convolution, as CT-GAN's do (Mirsky et al. 2019); no transposed convolutions.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

LEVELS = 3


def _convolution(dims: int, inputs: int, outputs: int, *, down: bool = False) -> nn.Module:
    kind = {2: nn.Conv2d, 3: nn.Conv3d}[dims]
    return kind(inputs, outputs, 4, 2, 1) if down else kind(inputs, outputs, 3, 1, 1)


class _Block(nn.Module):
    """Group norm, SiLU, convolution; the time moves and scales the normalised features where there is one."""

    def __init__(self, dims: int, inputs: int, outputs: int, *, down: bool = False, time: int = 0) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(min(8, inputs // 4), inputs)
        self.convolution = _convolution(dims, inputs, outputs, down=down)
        self.time = nn.Linear(time, 2 * inputs) if time else None

    def forward(self, features: Tensor, time: Tensor | None) -> Tensor:
        """(N, inputs, *S) to (N, outputs, *S or half)."""
        features = self.norm(features)
        if self.time is not None and time is not None:
            scale, shift = self.time(time).reshape(*time.shape[:1], -1, *[1] * (features.ndim - 2)).chunk(2, dim=1)
            features = features * (1 + scale) + shift
        return self.convolution(silu(features))


class UNet(nn.Module):
    """Three halvings and back with skips; widths b, 2b, 4b, 4b. ``time`` (width) makes it a denoiser's."""

    def __init__(self, dims: int, inputs: int, base: int, *, time: int = 0) -> None:
        super().__init__()
        widths = [base, 2 * base, 4 * base, 4 * base]
        self.first = _convolution(dims, inputs, base)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(_Block(dims, a, b, down=True, time=time) for a, b in pairs)
        self.middle = _Block(dims, widths[-1], widths[-1], time=time)
        self.up = nn.ModuleList(_Block(dims, a + b, a, time=time) for a, b in reversed(pairs))
        self.last = _Block(dims, base, 1)

    def forward(self, pixels: Tensor, time: Tensor | None = None) -> Tensor:
        """(N, inputs, *S) to (N, 1, *S)."""
        features = self.first(pixels)
        skips = []
        for block in self.down:
            skips.append(features)
            features = block(features, time)
        features = features + self.middle(features, time)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            raised = interpolate(features, scale_factor=2.0, mode="nearest")
            features = block(torch.cat([raised, skip], dim=1), time)
        return self.last(features, time)


class InPainter(nn.Module):
    """pix2pix's generator: repaints the hole from what is known, the wanted contrast and a field of noise."""

    def __init__(self, dims: int, base: int) -> None:
        super().__init__()
        self.body = UNet(dims, 4, base)

    def forward(self, known: Tensor, hole: Tensor, contrast: Tensor, noise: Tensor) -> Tensor:
        """Each (N, 1, *S); returns the patch (N, 1, *S), of use inside the hole."""
        return self.body(torch.cat([known, hole, contrast * hole, noise * hole], dim=1))


class Critic(nn.Module):
    """PatchGAN's discriminator, two halvings, no normalisation (it must see the noise level).

    It is shown the patch, the hole and the contrast.
    """

    def __init__(self, dims: int, base: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, down in ((3, base, True), (base, 2 * base, True), (2 * base, 2 * base, False)):
            layers += [_convolution(dims, inputs, outputs, down=down), nn.LeakyReLU(0.2)]
        layers.append(_convolution(dims, 2 * base, 1))
        self.body = nn.Sequential(*layers)

    def forward(self, patch: Tensor, hole: Tensor, contrast: Tensor) -> Tensor:
        """Each (N, 1, *S); returns (N, 1, *S/4), 1 for real and 0 for fake."""
        return self.body(torch.cat([patch, hole, contrast * hole], dim=1))


class AutoEncoder(nn.Module):
    """A convolutional variational autoencoder, fully convolutional, latent stride 4."""

    STRIDE = 4

    def __init__(self, dims: int, base: int, latents: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            _convolution(dims, 1, base, down=True),
            nn.SiLU(),
            _convolution(dims, base, 2 * base, down=True),
            nn.SiLU(),
            _convolution(dims, 2 * base, 2 * base),
            nn.SiLU(),
            _convolution(dims, 2 * base, 2 * latents),
        )
        self.decoder = nn.Sequential(
            _convolution(dims, latents, 2 * base),
            nn.SiLU(),
            _convolution(dims, 2 * base, 2 * base),
            nn.SiLU(),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            _convolution(dims, 2 * base, base),
            nn.SiLU(),
            nn.Upsample(scale_factor=2.0, mode="nearest"),
            _convolution(dims, base, base // 2),
            nn.SiLU(),
            _convolution(dims, base // 2, 1),
        )

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 1, *S) to the latent mean and log variance, each (N, latents, *S/4)."""
        mean, log_variance = self.encoder(pixels).chunk(2, dim=1)
        return mean, torch.clamp(log_variance, -12.0, 4.0)

    def decode(self, latent: Tensor) -> Tensor:
        """(N, latents, *S/4) to (N, 1, *S)."""
        return self.decoder(latent)

    def forward(self, pixels: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The reconstruction, the mean and the log variance; ``noise`` has the latent's shape."""
        mean, log_variance = self.encode(pixels)
        return self.decode(mean + noise * torch.exp(0.5 * log_variance)), mean, log_variance


class Denoiser(nn.Module):
    """The diffusion model's network: a U-Net told the time, what is known, the hole and the wanted contrast."""

    def __init__(self, dims: int, base: int) -> None:
        super().__init__()
        width = 4 * base
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, 6.0, base)), persistent=False)
        self.time = nn.Sequential(nn.Linear(2 * base, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.body = UNet(dims, 4, base, time=width)

    def forward(self, noisy: Tensor, known: Tensor, hole: Tensor, contrast: Tensor, time: Tensor) -> Tensor:
        """Pixels (N, 1, *S), ``time`` (N,) in 0..1; returns the velocity (N, 1, *S)."""
        angles = time[:, None] * self.frequencies
        embedded = self.time(torch.cat([angles.sin(), angles.cos()], dim=1))
        return self.body(torch.cat([noisy, known, hole, contrast * hole], dim=1), embedded)
