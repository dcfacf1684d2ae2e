"""What the plain baseline sees: the whole image at 224 px through an 8-bit window, and the augmentations of its way."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from medfake_pacs.pixels.preprocess import Preprocessing, prepare

SIDE_PX = 224
_TURN_DEGREES = 15.0
_ZOOM = (0.9, 1.1)
_BRIGHTNESS = 0.1
_CONTRAST = (0.9, 1.1)
Array = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]


def window_of(preprocessing: Preprocessing) -> Preprocessing:
    """The recipe's first window alone: no residual channel, no second window.

    Raises: ValueError where it has no window.
    """
    windows = [channel for channel in preprocessing.channels if channel.kind == "window"]
    if not windows:
        raise ValueError("the plain baseline needs a window channel")
    return replace(preprocessing, channels=(windows[0],))


def small(image: Array, window: Preprocessing) -> Bytes:
    """The image (H, W) in modality units as 8-bit values, then at 224 by 224 px (bilinear, antialiased), uint8."""
    eight_bit = np.rint((prepare(image, window)[0] + 1) * 127.5)
    pixels = torch.from_numpy(eight_bit.astype(np.float32))[None, None]
    resized = interpolate(pixels, size=(SIDE_PX, SIDE_PX), mode="bilinear", antialias=True, align_corners=False)
    return resized[0, 0].round().clamp(0, 255).to(torch.uint8).numpy()


def as_input(images: Bytes) -> Tensor:
    """Images (N, 224, 224) uint8 as (N, 1, 224, 224) float32 in -1..1."""
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1)[:, None]


def augmented(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Each image (N, 1, S, S) turned by up to 15 degrees, mirrored, zoomed and changed in brightness and contrast by up
    to a tenth, on its own; the edge is repeated. The augmentations are the paper's, the ranges ours."""
    count = pixels.shape[0]
    turn = np.deg2rad(rng.uniform(-_TURN_DEGREES, _TURN_DEGREES, count))
    zoom = rng.uniform(*_ZOOM, count)
    mirror = rng.choice([-1.0, 1.0], count)
    matrix = np.zeros((count, 2, 3), np.float32)
    matrix[:, 0, 0], matrix[:, 0, 1] = mirror * np.cos(turn) / zoom, -np.sin(turn) / zoom
    matrix[:, 1, 0], matrix[:, 1, 1] = mirror * np.sin(turn) / zoom, np.cos(turn) / zoom
    grid = affine_grid(torch.from_numpy(matrix), list(pixels.shape), align_corners=False)
    turned = grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    shift = rng.uniform(-_BRIGHTNESS, _BRIGHTNESS, (count, 1, 1, 1)).astype(np.float32)
    gain = rng.uniform(*_CONTRAST, (count, 1, 1, 1)).astype(np.float32)
    mean = turned.mean(dim=(1, 2, 3), keepdim=True)
    return ((turned - mean) * torch.from_numpy(gain) + mean + torch.from_numpy(shift)).clamp(-1, 1)
