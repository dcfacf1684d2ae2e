"""Makes ``import timm`` possible where torchvision's compiled operators do not load.

timm imports torchvision for transforms that this package never calls. A torchvision that was built for
another torch can't load its library of operators, and then fails at import because two operators are not
declared. Declaring them (never calling them) is enough. This is the only place that does so.
"""

import importlib

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _declare_missing_operators() -> "torch.library.Library | None":
    try:
        importlib.import_module("torchvision")
        return None
    except (RuntimeError, ImportError):
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}{_SCHEMA}")
        return library


# Kept referenced: the declarations end with the library object.
_LIBRARY = _declare_missing_operators()

timm = importlib.import_module("timm")
