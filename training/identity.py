"""What a run learns from and how, so that nothing else is taken for it later: kept in checkpoints and cards."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training import forge
from training.configuration import Plan
from training.setting import Setting

# How fast and how often; a run that goes on may have others.
_FREE = frozenset({"steps", "patience", "data_workers"})
Facts = Mapping[str, Any]


def facts_of(plan: Plan, settings: Sequence[Setting]) -> dict[str, Any]:
    """What decides a run's weights, as plain data."""
    training = {
        name: value
        for name, value in asdict(plan.training).items()
        if name not in _FREE and not name.startswith("validat")
    }
    return {
        "members": {setting.configuration.name: member(setting) for setting in settings},
        "training": {name: list(map(list, value)) if name == "phases" else value for name, value in training.items()},
        "seed": plan.seed,
        "forge_sha256": forge_sha256(),
    }


def member(setting: Setting) -> dict[str, Any]:
    """What one member's fakes are made of, and of whom."""
    configuration = setting.configuration
    sampling = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(configuration.sampling).items()
    }
    return {
        "families": list(setting.available(configuration.families)),
        "held_out_families": list(configuration.held_out_families),
        "split_sha256": setting.split_sha256,
        "backbone": configuration.backbone,
        "cell_px": configuration.cell_px,
        "preprocessing": configuration.preprocessing_source,
        "sampling": sampling,
        "scale": configuration.scale,
        "requantise": configuration.requantise,
    }


def forge_sha256() -> str:
    """SHA-256 over the sources of the forge: other sources make other fakes."""
    digest = hashlib.sha256()
    for path in sorted(Path(forge.__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def check_same(then: Facts, now: Facts, where: Path) -> None:
    """Refuses to go on with a run that learnt from something else; other sources of the forge are let through.

    Raises: ValueError naming what differs.
    """
    differing = sorted(
        name for name in set(then) | set(now) if name != "forge_sha256" and then.get(name) != now.get(name)
    )
    if differing:
        details = [name for name in differing if name != "members"]
        for who in sorted(set(then.get("members", {})) | set(now["members"])):
            one, other = then.get("members", {}).get(who, {}), now["members"].get(who, {})
            details += [f"{who}.{key}" for key in sorted(set(one) | set(other)) if one.get(key) != other.get(key)]
        raise ValueError(
            f"{where} was made with other {', '.join(details)}: say another --output, or use what it was made with"
        )


def learnt_by(state: Mapping[str, Any]) -> frozenset[str]:
    """The families that a checkpoint has learnt, in its own run and in those that its weights come from."""
    own = {family for each in state["facts"].get("members", {}).values() for family in each["families"]}
    return frozenset(own | set(state["progress"]["begun_with"].get("families", ())))


def check_beginning(state: Mapping[str, Any], now: Facts, where: Path) -> None:
    """Refuses weights that have learnt what must not be known: held-out families, patients of another part.

    ``state`` is a checkpoint's content.

    Raises: ValueError naming them.
    """
    learnt = learnt_by(state)
    for name, each in now["members"].items():
        both = learnt & set(each["held_out_families"])
        if both:
            raise ValueError(f"{where} has learnt {', '.join(sorted(both))}, which {name} holds out")
        before = state["facts"].get("members", {}).get(name)
        if before is not None and before["split_sha256"] != each["split_sha256"]:
            raise ValueError(f"{where} was trained on other patients of {name}: another seed, or other data")
