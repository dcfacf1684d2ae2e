"""Schemathesis calls everything that the OpenAPI document names, against a running console with a study in it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from medfake_pacs.console.openapi import operations
from medfake_pacs.console.security.permissions import Role
from tests import material
from tests.console_studies import fake_from, studies_of
from tests.console_support import console_settings, running_console

_CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "negative_data_rejection",
    "missing_required_header",
)
_EXAMPLES = os.environ.get("MEDFAKE_TEST_API_EXAMPLES", "8")
_TIMEOUT_S = 300


def test_schemathesis_finds_no_fault(tmp_path: Path, database_url: str) -> None:
    settings = console_settings(tmp_path, database_url)
    with running_console(settings) as console, studies_of(settings, console.engine, tmp_path) as studies:
        studies.make(material.ct_series(2), fake_from(1, 1))
        client = console.with_token(*Role)
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run", f"{console.url}/api/openapi.json"),
            *("--url", console.url, "--header", f"Authorization: {client.headers['Authorization']}"),
            *("--phases", "examples,coverage,fuzzing", "--checks", ",".join(_CHECKS)),
            *("--max-examples", _EXAMPLES, "--seed", "1", "--generation-deterministic"),
            *("--no-shrink", "--continue-on-failure", "--request-timeout", "20"),
            *("--report", "junit", "--report-dir", str(tmp_path / "report"), "--no-color"),
        ]
        environment = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False, cwd=tmp_path, env=environment
        )
        document = client.get("/api/openapi.json").json()
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
    tested = re.search(r"Tested: (\d+)", done.stdout)
    assert tested
    assert int(tested[1]) == len(list(operations(document)))


def test_the_document_is_one_that_generators_read(tmp_path: Path) -> None:
    jsonschema_rs = pytest.importorskip("jsonschema_rs")
    with running_console(console_settings(tmp_path)) as console:
        document = console.anonymous().get("/api/openapi.json").json()
    for name, schema in document["components"]["schemas"].items():
        root = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.Draft202012Validator(root)
        assert json.dumps(schema)
