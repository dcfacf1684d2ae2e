"""The stages never import one another, the receiver never imports torch, and files stay readable."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "medfake_pacs"
STAGES = {"association", "spool", "study", "pixels", "classifier", "verdict", "report", "delivery", "notification"}
# What the stages may share.
COMMON = {
    "entities",
    "errors",
    "config",
    "database",
    "audit",
    "crashpoints",
    "telemetry",
    "retrying",
    "conformal",
    "prevalence",
}
MAXIMUM_LINES = 350
MAXIMUM_FUNCTION_LINES = 40


def _files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = node.body[0]
    return (first.end_lineno or 0) - first.lineno + 1 if ast.get_docstring(node) is not None else 0


def _stage(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_imports_no_other_stage(stage: str) -> None:
    wrong = []
    for path in _files():
        if _stage(path) != stage:
            continue
        for name in _imports(ast.parse(path.read_text())):
            parts = name.split(".")
            if parts[0] == "medfake_pacs" and len(parts) > 1 and parts[1] in STAGES - {stage}:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


def test_common_modules_import_no_stage() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in _files()
        if _stage(path) in COMMON
        for name in _imports(ast.parse(path.read_text()))
        if name.startswith("medfake_pacs.") and name.split(".")[1] in STAGES
    ]
    assert not wrong


def test_the_product_never_imports_the_training_except_in_the_demonstration() -> None:
    wrong = [
        path
        for path in _files()
        if _stage(path) != "demo"
        and any(name.split(".")[0] == "training" for name in _imports(ast.parse(path.read_text())))
    ]
    assert not wrong


def test_the_receiver_loads_neither_torch_nor_the_report_writer() -> None:
    code = "import sys, medfake_pacs.receiver; print(sorted({m.split('.')[0] for m in sys.modules}))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = set(ast.literal_eval(printed))
    assert not loaded & {"torch", "timm", "openvino", "highdicom", "dbos", "scipy"}


@pytest.mark.parametrize("path", _files(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short_and_nothing_is_caught_bare(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= MAXIMUM_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            lines = (node.end_lineno or 0) - node.lineno + 1 - _docstring_lines(node)
            assert lines <= MAXIMUM_FUNCTION_LINES, f"{node.name} has {lines} lines"
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"line {node.lineno}: bare except"
