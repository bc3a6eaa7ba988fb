"""The import arrows of docs/architecture.md, and that importing cnncc is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "cnncc"
# What a part of the package may import from the others; parts that are not named here may import anything.
ALLOWED = {
    "errors": set(),
    "ir": {"errors"},
    "memory": {"errors"},
    "ops": {"errors", "ir"},
    "costs": {"ir", "ops"},
    "profile": set(),
    "frontends": {"errors", "ir", "ops"},
    "passes": {"errors", "ir", "ops"},
    "plan": {"errors", "ir", "planfile"},
    "storage": {"errors", "memory", "plan"},
    "runtime": {"costs", "environment", "errors", "ir", "ops", "plan", "profile", "storage"},
}
HEAVY = ("numba", "networkx", "onnx", "onnxruntime", "llvmlite", "PIL", "rich", "typer")


def imported_parts(path: Path) -> set[str]:
    """The parts of cnncc that a module imports, wherever in it; what only type checkers see does not count."""
    package = ("cnncc", *path.relative_to(ROOT).parts[:-1])
    names = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {id(n) for block in ast.walk(tree) if isinstance(block, ast.If)
                   and ast.unparse(block.test) == "TYPE_CHECKING" for n in ast.walk(block)}
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[:len(package) - node.level + 1]) if node.level else ""
            stem = ".".join(filter(None, (base, node.module)))
            names += [f"{stem}.{alias.name}" for alias in node.names] if stem == "cnncc" else [stem]
    return {name.split(".")[1] for name in names if name.startswith("cnncc.")}


@pytest.mark.parametrize("part", ALLOWED)
def test_imports_follow_the_arrows(part: str) -> None:
    found = [ROOT / f"{part}.py"] if (ROOT / f"{part}.py").exists() else sorted((ROOT / part).rglob("*.py"))
    assert found
    wrong = {str(path.relative_to(ROOT)): extra for path in found
             if (extra := imported_parts(path) - ALLOWED[part] - {part})}
    assert not wrong


@pytest.mark.parametrize(("code", "heavy"), [
    ("import cnncc, cnncc.ir, cnncc.ops, cnncc.passes, cnncc.memory, cnncc.plan", HEAVY),
    ("import cnncc.cli.main", ("numba", "onnx", "onnxruntime", "llvmlite", "PIL")),
    ("import sys, cnncc.cli.main as m; sys.argv = ['cnncc', '--help']\ntry: m.main()\nexcept SystemExit: pass",
     ("numba", "onnx", "onnxruntime", "llvmlite", "PIL")),
], ids=["package", "command line", "help"])
def test_importing_is_cheap(code: str, heavy: tuple[str, ...]) -> None:
    code += f"\nimport sys; print('loaded:', *(m for m in {heavy} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]
