"""The import arrows of docs/architecture.md, and that importing cnncc is cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import cnncc
from cnncc.ir import Op, parse_graph
from cnncc.lazy import LazyTable
from cnncc.ops import OPS
from cnncc.runtime.cpu.kernel import Kernel
from cnncc.runtime.cpu.kernels.table import KERNELS
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.runtime.cuda.kernel import Kernel as CudaKernel
from cnncc.runtime.cuda.kernels.table import KERNELS as CUDA_KERNELS
from cnncc.runtime.cuda.lower.table import LOWERINGS as CUDA_LOWERINGS

ROOT = Path(__file__).parents[1] / "cnncc"
# What a part of the package may import from the others; parts that are not named here may import anything.
ALLOWED = {
    "errors": set(),
    "records": set(),
    "lazy": set(),
    "parallel": set(),
    "crc": set(),
    "replacing": set(),
    "ir": {"errors", "records"},
    "memory": {"errors", "records"},
    "ops": {"errors", "ir", "lazy", "records"},
    "costs": {"ir", "ops", "records"},
    "profile": {"records"},
    "frontends": {"environment", "errors", "ir", "ops", "records"},
    "passes": {"errors", "ir", "ops", "records"},
    "plan": {"ir", "planfile", "records"},
    "plan_checks": {"errors", "ir", "plan"},
    "storage": {"errors", "memory", "plan", "records"},
    "runtime": {"costs", "crc", "environment", "errors", "ir", "lazy", "ops", "parallel", "plan", "profile", "records",
                "replacing", "storage"},
}
HEAVY = ("numba", "networkx", "onnx", "onnxruntime", "llvmlite", "PIL", "rich", "typer")
SESSION_NEEDS_NOT = (
    "hashlib", "random", "numba", "networkx", "onnx", "onnxruntime", "PIL", "rich", "typer", "cnncc.frontends",
    "cnncc.passes", "cnncc.ir.graph", "cnncc.ir.parser", "cnncc.ir.printer", "cnncc.ir.verifier", "cnncc.compiler",
    "cnncc.language", "cnncc.statistics", "cnncc.verification", "cnncc.ops.activation", "cnncc.ops.normalization",
    "cnncc.runtime.cpu.lower.copy", "cnncc.runtime.cpu.lower.reduce", "cnncc.runtime.cpu.kernels.softmax")


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


def test_classes_of_fields_are_records() -> None:
    """A dataclass takes 0.7 ms to define, a record 0.03 (records.py)."""
    paths = [path for path in ROOT.rglob("*.py") if "@dataclass" in path.read_text(encoding="utf-8")]
    assert [str(path.relative_to(ROOT)) for path in paths] == ["records.py"]


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


def test_a_session_imports_only_what_its_plan_names(tmp_path: Path) -> None:
    graph = parse_graph("""graph @net(%x: f32[1,3,8,8]) {
  %w = const @w : f32[8,3,3,3]
  %0 = Conv(%x, %w) {pads=[1,1,1,1], activation=relu} : f32[1,8,8,8]
  %1 = Flatten(%0) : f32[1,512]
  return %1
}""", OPS)
    path = tmp_path / "net.plan"
    cnncc.compile(graph).save(path)
    code = ("import sys, numpy, cnncc\n"
            f"cnncc.InferenceSession({str(path)!r}).run(None, {{'x': numpy.ones((1, 3, 8, 8), 'f4')}})\n"
            f"print('loaded:', *(m for m in {SESSION_NEEDS_NOT} if m in sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1].split() == ["loaded:"]


@pytest.mark.parametrize(("table", "package"), [
    (OPS, "ops"), (LOWERINGS, "runtime/cpu/lower"), (KERNELS, "runtime/cpu/kernels"),
    (CUDA_LOWERINGS, "runtime/cuda/lower"), (CUDA_KERNELS, "runtime/cuda/kernels"),
], ids=["OPS", "LOWERINGS", "KERNELS", "CUDA's LOWERINGS", "CUDA's KERNELS"])
def test_tables_list_what_their_modules_define(table: LazyTable[Any], package: str) -> None:
    assert all(table[name] is not None for name in table)
    prefix = f"cnncc.{package.replace('/', '.')}"
    for path in sorted((ROOT / package).glob("*.py")):
        if path.stem not in ("__init__", "table"):
            module = import_module(f"{prefix}.{path.stem}")
            assert set(defined(package, module)) <= set(table), path.name


def defined(package: str, module: ModuleType) -> list[str]:
    """The names that a module must have in its table; a class of operators that others derive from need not be one."""
    if package.endswith("/lower"):
        return list(getattr(module, "LOWERINGS", {}))
    if package.endswith("/kernels"):
        return [v.name for v in vars(module).values() if isinstance(v, (Kernel, CudaKernel))]
    public = [getattr(module, name) for name in module.__all__]
    classes = [c for v in public for c in (v if isinstance(v, tuple) else [v]) if isinstance(c, type)]
    return [c.op_type for c in classes if issubclass(c, Op) and not c.__subclasses__()]
