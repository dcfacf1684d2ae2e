"""Generators of fakes that the repository trains itself, on training patients alone: pix2pix, VAE, diffusion."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from training.forge.diffusion import Diffusion
from training.forge.learned import Contrasts
from training.forge.pix2pix import Pix2Pix
from training.forge.site import Array, Site
from training.forge.vae import Vae
from training.generators.store import check_unseen, read_about, read_network

__all__ = ["NAMES", "check_unseen", "load"]

NAMES = ("pix2pix", "vae", "diffusion")
Family = Callable[[Site, np.random.Generator], Array]


def load(directory: Path) -> Mapping[str, Family]:
    """The families that the generators of a directory make: pix2pix, vae, vae-whole, diffusion; those that are there.

    Raises: FileNotFoundError naming the command that makes them; ValueError where a file isn't what was written, or
    the networks are three-dimensional.
    """
    about = read_about(directory)
    if about["dims"] != 2:
        raise ValueError(f"{directory}: generators of {about['dims']} dimensions; the forge takes two")
    networks = {name: read_network(directory, name, about) for name in NAMES if name in about["generators"]}
    patch_px = int(about["patch_px"])
    contrasts = Contrasts(**{kind: tuple(ends) for kind, ends in about["contrasts"].items()})
    families: dict[str, Family] = {}
    if "pix2pix" in networks:
        families["pix2pix"] = Pix2Pix(network=networks["pix2pix"], patch_px=patch_px, contrasts=contrasts)
    if "vae" in networks:
        vae = networks["vae"]
        for name, whole in (("vae", False), ("vae-whole", True)):
            families[name] = Vae(encode=vae.encode, decode=vae.decode, stride=vae.STRIDE, whole=whole)
    if "diffusion" in networks:
        families["diffusion"] = Diffusion(network=networks["diffusion"], patch_px=patch_px, contrasts=contrasts)
    return families
