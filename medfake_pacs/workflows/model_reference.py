"""Compare the engine that will score with torch, which the network was trained in, on one image.

``python -m medfake_pacs.workflows.model_reference BUNDLE FRAME.npy`` prints torch's score: a process of its own, so
that the worker never loads torch.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medfake_pacs.errors import BundleError, PixelError
from medfake_pacs.workflows.context import Context

if TYPE_CHECKING:
    from medfake_pacs.classifier import Bundle, Classifier

# A logit; bfloat16 has three digits, so that a larger score may differ by more.
_TOLERANCE, _RELATIVE_TOLERANCE = 0.1, 0.03
_TIMEOUT_S = 300
_NOISE_SIDE_PX = 256


def is_same_network(bundle: "Bundle", other: "Bundle") -> bool:
    """Tell whether two bundles differ in how scores are read only, so that the engine runs the same for both."""
    ours, theirs = bundle.card, other.card
    same = (theirs.weights_sha256, theirs.network, theirs.tile, theirs.preprocessing)
    return (ours.weights_sha256, ours.network, ours.tile, ours.preprocessing) == same


def difference(context: Context, bundle: "Bundle", classifier: "Classifier", image: Path | None) -> float | None:
    """Return how far the scores of one frame lie apart (logits); None where it is torch that will score.

    Without an image it is done on noise: that tells a network that was converted wrongly as well.

    Raises
    ------
    BundleError
        If they differ by more than rounding does, or torch can't run it.
    OSError
        If this machine couldn't, now: too slow, or out of memory.
    """
    if classifier.engine.startswith("torch") or importlib.util.find_spec("torch") is None:
        return None
    frame = _frame(context, image)
    ours = _score(classifier, frame)
    theirs = _by_torch(bundle, frame)
    apart = abs(ours - theirs)
    if not apart <= _TOLERANCE + _RELATIVE_TOLERANCE * abs(theirs):
        raise BundleError(f"{classifier.engine} scores an image {ours:.3f}, torch {theirs:.3f}")
    return round(apart, 6)


def _frame(context: Context, image: Path | None) -> npt.NDArray[np.float32]:
    if image is not None:
        try:
            with context.decoders.borrow() as decoder:
                for frame in decoder.open(image)[1]:
                    return np.asarray(frame.values)
        except PixelError:
            pass
    random = np.random.default_rng(0)
    return (random.normal(0, 200, (_NOISE_SIDE_PX, _NOISE_SIDE_PX))).astype(np.float32)


def _score(classifier: "Classifier", frame: npt.NDArray[np.float32]) -> float:
    from medfake_pacs.classifier.scoring import pooled

    return pooled(classifier.maps([frame])[0], classifier.card.pooling.top_k_positions)


def _by_torch(bundle: "Bundle", frame: npt.NDArray[np.float32]) -> float:
    from medfake_pacs.classifier.child import child_environment

    with tempfile.TemporaryDirectory(prefix="medfake-") as folder:
        path = Path(folder) / "frame.npy"
        np.save(path, frame)
        command = [sys.executable, "-m", __name__, str(bundle.directory), str(path)]
        try:
            done = subprocess.run(
                command,
                env=child_environment(),
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise TimeoutError(f"torch didn't score an image within {_TIMEOUT_S} s") from error
    if done.returncode < 0:
        raise ChildProcessError(f"the process that has torch score an image was ended by signal {-done.returncode}")
    if done.returncode:
        raise BundleError(f"torch can't run it: {(done.stderr.strip().splitlines() or ['no output'])[-1]}")
    return float(done.stdout)


def _main(directory: str, frame: str) -> None:
    from medfake_pacs.classifier import Classifier, load_bundle
    from medfake_pacs.pixels.preprocess import preparer

    classifier = Classifier(load_bundle(directory), preparer=preparer, device="torch-cpu", cache_dir=directory)
    print(_score(classifier, np.load(frame, allow_pickle=False)))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
