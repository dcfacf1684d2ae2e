"""A verdict is read and named by the model whose scores it rests on, also where another was replaced meanwhile."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from medfake_pacs.classifier import Bundle, load_bundle
from medfake_pacs.database import open_engine, transaction
from medfake_pacs.database.tables import instances, scores
from medfake_pacs.entities import VerdictLabel
from medfake_pacs.errors import AssessmentError
from medfake_pacs.serve import prepare
from medfake_pacs.workflows import assessment, rescoring
from medfake_pacs.workflows.context import Context
from tests import model_bundles
from tests.console_support import console_settings

STUDY, SERIES = "1.2.3", "1.2.3.4"
OLD_PIXELS, NEW_PIXELS = "a" * 64, "b" * 64


class Replaced:
    """A node whose model was replaced: the old one calls everything real, the new one decides at 0.4 and 0.6."""

    def __init__(self, folder: Path) -> None:
        base = model_bundles.small_models(folder / "models")
        routes = [{"name": "CT", "modality": ["CT"], "model": model_bundles.NAME}]
        extra = {"scoring": {"models_dir": str(base)}, "routes": routes}
        self.settings = console_settings(folder, "", extra)
        prepare(self.settings)
        self.settings.spool_dir.mkdir(parents=True, exist_ok=True)
        (self.settings.spool_dir / "there").write_bytes(b"x")
        kept = self.settings.model_library_dir / model_bundles.NAME / "1.0.0-0123456789abcdef"
        shutil.copytree(base / model_bundles.NAME, kept)
        shutil.rmtree(base / model_bundles.NAME)
        self.old = load_bundle(kept)
        self.new = model_bundles.edition(
            kept,
            base / model_bundles.NAME,
            version="1.1.0",
            weights=1e-3,
            thresholds={"real_below": 0.4, "fake_above": 0.6},
        )
        self.engine = open_engine(self.settings.database_url)
        self.context = Context.open(self.settings, self.engine)

    def add(self, number: int, model: Bundle, *, path: str = "there", score: float | None, reason: str = "") -> None:
        """Record an image of the series as scored by a model, or as what it failed with."""
        pixels = OLD_PIXELS if model is self.old else NEW_PIXELS
        row = {
            "sop_instance_uid": f"1.{number}", "sop_class_uid": "1.2.840.10008.5.1.4.1.1.2",
            "study_instance_uid": STUDY, "series_instance_uid": SERIES, "transfer_syntax_uid": "1.2.840.10008.1.2.1",
            "content_sha256": str(number) * 64, "size_bytes": 1, "path": path, "calling_ae_title": "A",
            "called_ae_title": "B", "host": "h", "received_at": time.time(), "modality": "CT",
            "instance_number": number, "number_of_frames": 1, "revision": 1, "state": "done", "pixel_sha256": pixels,
            "route": "CT", "model_sha256": model.model_sha256, "not_assessed_reason": reason or None,
        }  # fmt: skip
        frames = [{"frame": 1, "score": score, "outside_domain": "", "regions": [], "cells": []}]
        with transaction(self.engine) as connection:
            connection.execute(sa.insert(instances), row)
            if score is not None:
                kept = {"pixel_sha256": pixels, "model_sha256": model.model_sha256, "frames": frames}
                connection.execute(sa.insert(scores), kept | {"engine": "e", "scored_at": time.time()})


@pytest.fixture
def replaced(tmp_path: Path) -> Iterator[Replaced]:
    node = Replaced(tmp_path)
    yield node
    node.context.decoders.close()
    node.engine.dispose()


@pytest.mark.parametrize("reason", ["", "internal error while scoring: RuntimeError"])
def test_an_image_of_the_replaced_model_does_not_have_the_others_read_by_its_thresholds(
    replaced: Replaced, reason: str
) -> None:
    """Its file is gone, or the old model failed with it."""
    replaced.add(1, replaced.old, path="gone", score=None if reason else -3.0, reason=reason)
    replaced.add(2, replaced.new, score=3.0)
    assert rescoring.put_back(replaced.context, STUDY, 1) == 0
    verdict = assessment.verdict_on(replaced.context, STUDY, 1)
    (series,) = verdict.series
    assert series.model is not None
    assert (series.model.sha256, series.model.version) == (replaced.new.model_sha256, "1.1.0")
    assert (verdict.label, series.images_scored) == (VerdictLabel.FAKE, 1)
    assert [finding.label for finding in series.findings] == [VerdictLabel.NOT_ASSESSED, VerdictLabel.FAKE]


def test_what_was_scored_by_a_replaced_model_and_is_gone_belongs_to_no_model(replaced: Replaced) -> None:
    replaced.add(1, replaced.old, path="gone", score=-3.0)
    assert rescoring.put_back(replaced.context, STUDY, 1) == 0
    with transaction(replaced.engine) as connection:
        row = connection.execute(sa.select(instances)).one()
    assert (row.state, row.model_sha256) == ("done", "")
    (series,) = assessment.verdict_on(replaced.context, STUDY, 1).series
    assert (series.label, series.model) == (VerdictLabel.NOT_ASSESSED, None)
    assert "replaced" in series.reason


def test_scores_of_two_models_in_one_series_are_no_verdict(replaced: Replaced) -> None:
    replaced.add(1, replaced.old, score=-3.0)
    replaced.add(2, replaced.new, score=-3.0)
    with pytest.raises(AssessmentError, match="several models"):
        assessment.verdict_on(replaced.context, STUDY, 1)
    assert rescoring.put_back(replaced.context, STUDY, 1) == 1
