"""``export``: a checkpoint as a bundle, calibrated on validation patients."""

import argparse
import os
import shutil
import tomllib
from pathlib import Path


def add(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command."""
    parser = subparsers.add_parser("export", help="a checkpoint as a bundle, calibrated on validation patients")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--generators", type=Path, help="folder of trained generators, for the families that need them")
    parser.add_argument("--checkpoint", type=Path, help="default: runs/NAME/best.pt")
    parser.add_argument("--bundle", type=Path, help="the bundle's folder; default: runs/NAME/bundle")
    parser.add_argument("--model-version", default="0.0.0")
    parser.add_argument("--rounds", type=int, default=1, help="fakes of each family for each validation image")
    parser.add_argument("--device", default="auto")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Exports; returns the exit status."""
    from training.calibration import calibrate
    from training.configuration import read_configuration
    from training.evaluation.detectors import open_detector
    from training.evaluation.scoring import Scorer
    from training.export import write_bundle
    from training.setting import make_setting

    configuration = read_configuration(options.config)
    folder = Path("runs") / configuration.name
    bundle, checkpoint = options.bundle or folder / "bundle", options.checkpoint or folder / "best.pt"
    if bundle.exists():
        raise FileExistsError(f"{bundle} is there already; remove it, or say another --bundle")
    setting = make_setting(configuration, options.data, options.generators)
    about_path = options.config.with_suffix(".card.toml")
    about = tomllib.loads(about_path.read_text(encoding="utf-8")) if about_path.exists() else None
    # A bundle appears calibrated or not at all.
    unfinished = bundle.with_name(f".{bundle.name}.{os.getpid()}")
    try:
        write_bundle(setting, checkpoint, unfinished, version=options.model_version, about=about)
        detector = open_detector(unfinished, cache_dir=folder / "cache", device=options.device)
        fitted = calibrate(
            Scorer(setting, [detector]),
            unfinished,
            families=setting.available(configuration.families),
            hounsfield=configuration.sampling.hounsfield,
            rounds=options.rounds,
        )
        unfinished.rename(bundle)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    print(f"{bundle}: {fitted.calibration}")
    return 0
