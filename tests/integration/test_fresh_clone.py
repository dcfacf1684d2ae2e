"""``make demo`` on a fresh clone, where there is only git, make, python3 with venv, and the shell's own tools."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import IN_CI, REPOSITORY

_NEEDED = ("git", "make", "sh", "rm", "touch", "echo", "cat", "mkdir")
_INSTALL_LIMIT_S = 360
_WORK_LIMIT_S = 90
_PASSED_ON = ("PIP_", "SSL_", "HTTP", "http", "no_proxy", "NO_PROXY", "LANG", "OPENBLAS_")


@pytest.fixture
def bare_environment(tmp_path: Path) -> dict[str, str]:
    """Return an environment whose PATH has nothing but the needed tools, and whose home is empty."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in _NEEDED:
        found = shutil.which(name)
        assert found, name
        (tools / name).symlink_to(found)
    (tools / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    home = tmp_path / "home"
    home.mkdir()
    passed_on = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    return passed_on | {"PATH": str(tools), "HOME": str(home), "TMPDIR": str(tmp_path)}


def _make(clone: Path, target: str, environment: dict[str, str], limit_s: float) -> tuple[str, float]:
    started = time.monotonic()
    done = subprocess.run(
        ["make", target], cwd=clone, env=environment, capture_output=True, text=True, timeout=limit_s, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return done.stdout, time.monotonic() - started


@pytest.mark.serial
@pytest.mark.skipif(not IN_CI, reason="downloads all packages anew; CI=true runs it")
def test_the_demonstration_runs_on_a_fresh_clone(tmp_path: Path, bare_environment: dict[str, str]) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-local", str(REPOSITORY), str(clone)], check=True)
    _make(clone, "venv", bare_environment, _INSTALL_LIMIT_S)
    said, seconds = _make(clone, "demo", bare_environment, 2 * _WORK_LIMIT_S)
    assert "The log's chain is whole." in said
    assert "no report" not in said
    reports = sorted((clone / "demo-output").glob("*.sr.dcm"))
    assert reports
    assert all(report.name in said for report in reports)
    assert seconds < _WORK_LIMIT_S
