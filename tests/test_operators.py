"""The table of operators, docs/operators.md and `cnncc ops`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cnncc.cli.main import main
from cnncc.errors import InputError
from cnncc.ir import DType
from cnncc.operators import SAMPLES, markdown, table
from cnncc.ops import OPS

DOCUMENT = Path(__file__).parents[1] / "docs" / "operators.md"


def test_the_document_is_true() -> None:
    assert DOCUMENT.read_text(encoding="utf-8") == markdown(), "write it anew: cnncc ops --markdown > docs/operators.md"


def test_every_sample_is_of_an_operator() -> None:
    assert set(SAMPLES) <= set(OPS)


def test_rows() -> None:
    rows = {row.name: row for row in table(["Conv", "Acos", "Reshape", "Shape", "And", "QLinearConv"])}
    assert rows["Conv"].types == (DType.F16, DType.F32, DType.F64)
    assert DType.F32 in rows["Conv"].native and rows["Conv"].opset == 1
    assert rows["Acos"].kernel == "reference" and rows["Acos"].opset == 7
    assert rows["Reshape"].kernel == rows["Shape"].kernel == "none needed"
    assert rows["And"].types == (DType.BOOL,)
    assert rows["QLinearConv"].types == (DType.I8, DType.U8)
    with pytest.raises(InputError, match="no operator 'Covn'; did you mean 'Conv'"):
        table(["Covn"])


def test_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["ops", "Conv", "Not", "--json"])
    (conv, negation) = json.loads(capsys.readouterr().out)["operators"]
    assert (conv["name"], conv["domain"], conv["since_opset"]) == ("Conv", "ai.onnx", 1) and "f32" in conv["cuda"]
    assert negation["types"] == negation["cpu"] == ["bool"]
    with pytest.raises(SystemExit):
        main(["ops", "Conv"])
    head, row = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "operator" and row.split()[:3] == ["Conv", "ai.onnx", "1"]
