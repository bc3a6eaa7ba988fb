"""The wheel holds all that is needed: it compiles and runs LeNet-5 in an environment that has nothing else of ours.

To keep the test short the environment borrows the installed dependencies (NumPy, Numba, ...) of the one that runs the
tests. That the wheel declares them is checked apart.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Where an import's name is not its distribution's.
DISTRIBUTIONS = {"PIL": "pillow", "google": "protobuf", "cuda": "numba-cuda"}


def command(*arguments: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(a) for a in arguments], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=300)
    assert done.returncode == 0, f"{arguments}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources so that the checkout stays as it is."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (source / name).write_bytes((ROOT / name).read_bytes())
    for path in (ROOT / "cnncc").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = source / path.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    command(sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--no-build-isolation", "--wheel-dir", folder, source, cwd=folder)
    [path] = folder.glob("*.whl")
    return path


def test_the_wheel_is_pure_python_and_whole(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {str(p.relative_to(ROOT)) for p in (ROOT / "cnncc").rglob("*")
               if p.is_file() and "__pycache__" not in p.parts}
    assert sources <= names and "cnncc/py.typed" in names
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"cnncc"}
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_declares_what_it_imports(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [n for n in archive.namelist() if n.endswith(".dist-info/METADATA")]
        metadata = Parser().parsestr(archive.read(name).decode())
    declared = {re.match(r"[\w-]+", line).group() for line in metadata.get_all("Requires-Dist", [])}  # type: ignore[union-attr]
    imported = set()
    for path in (ROOT / "cnncc").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                imported.add(str(node.module).split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {"cnncc"}
    assert {DISTRIBUTIONS.get(name, name) for name in foreign} <= declared
    assert metadata["Requires-Python"] == ">=3.11" and metadata["License-Expression"] == "Apache-2.0"


def test_it_runs_in_a_clean_environment(wheel: Path, tmp_path: Path) -> None:
    command(sys.executable, "-m", "venv", "--without-pip", tmp_path / "clean", cwd=tmp_path)
    scripts = tmp_path / "clean" / ("Scripts" if sys.platform == "win32" else "bin")
    python = next(scripts.glob("python*"))
    command(sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--no-index", wheel, cwd=tmp_path)
    [packages] = (tmp_path / "clean").rglob("site-packages")
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib"))
    where = command(python, "-c", "import cnncc; print(cnncc.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path / "clean")
    cnncc, lenet = scripts / "cnncc", ROOT / "examples" / "lenet"
    command(cnncc, "compile", lenet / "lenet5.onnx", "-o", "lenet5.plan", cwd=tmp_path)
    best = command(cnncc, "run", "lenet5.plan", "--input", lenet / "digit.png", "--top", "1", cwd=tmp_path)
    assert best.splitlines()[1].split()[:2] == ["1", "2"]
