"""The command line in an empty folder: in a process of its own, as users meet it, or in this one, which is faster."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

LENET = Path(__file__).parents[2] / "examples" / "lenet"
MODEL = LENET / "lenet5.onnx"


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Result]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs cnncc's `main` with these arguments in `tmp_path`."""
    from cnncc.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # `main` sets its own

    def run(*arguments: object, stdin: str | None = None) -> Result:
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        with pytest.raises(SystemExit) as exit_:
            main([str(a) for a in arguments])
        out, err = capsys.readouterr()
        assert isinstance(exit_.value.code, int)
        return Result(exit_.value.code, out, err)

    return run


@pytest.fixture
def shell(tmp_path: Path) -> Cli:
    """Runs the installed command `cnncc` with these arguments in `tmp_path`."""
    def run(*arguments: object, stdin: str | None = None) -> Result:
        command = [str(Path(sys.executable).with_name("cnncc")), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, input=stdin, capture_output=True, text=True, timeout=120,
                              env=os.environ | {"COLUMNS": "200", "TERM": "dumb"})
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def lenet_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan file of LeNet-5 with a symbolic batch."""
    import cnncc

    path = tmp_path_factory.mktemp("plans") / "lenet5.plan"
    cnncc.compile(MODEL).save(path)
    return path
