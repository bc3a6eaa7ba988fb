"""The proof of the validator: every one of its checks finds something that no other one finds.

A check is a statement that raises PlanInvalid, PlanCorrupt or PlanVersionError. Each is switched off in turn, by
compiling its function anew without it; then a mutant that it refused must get past it.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import dataclasses
import functools
import importlib
import inspect
import json
import os
import signal
import struct
import tempfile
import traceback
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

from cnncc import memory, planfile
from cnncc.memory import LiveRange
from cnncc.ops import OPS
from cnncc.plan import MAX_DEPTH, Plan
from cnncc.plan_checks import check_plan
from cnncc.planfile import parse_plan, plan_bytes
from cnncc.runtime.cpu import binding
from cnncc.runtime.cpu.binding_checks import check_memory
from cnncc.runtime.cpu.lower.elementwise import ElementwiseLowering
from cnncc.runtime.cpu.lower.table import LOWERINGS
from cnncc.runtime.cpu.regions import first_region

from .fuzz.plan_draft import seal, take_apart
from .fuzz.plan_seeds import seed_plan
from .test_planfile import WRONG, edited, put, small_plan

Case = Callable[[], Any]
MODULES = ("planfile", "planheader", "plan_checks", "memory", "storage", "runtime.cpu.binding",
           "runtime.cpu.binding_checks")
# Functions of these modules that check no plan that was read.
OTHERS = {"write_plan", "plan_bytes", "_replace", "_write", "plan_memory", "__post_init__"}


def load(data: bytes) -> None:
    """Everything that happens to a plan file before a kernel runs, but for finding kernels."""
    plan = parse_plan(data)
    region = first_region(plan, dict.fromkeys(plan.symbols, 3))
    check_memory(region.plan, region.binding, 2)
    for bound in region.binding.steps:
        binding.constant_operands(region.plan, region.binding, bound)


# -- mutants -----------------------------------------------------------------------------------------------------------


@functools.cache
def seed(name: str) -> bytes:
    return plan_bytes(small_plan() if name == "small" else seed_plan(name))


def mutants() -> dict[str, Case]:
    """What each case does when it is called; every one of them is refused."""
    found: dict[str, Case] = {}

    def add(name: str, data: Callable[[], bytes]) -> None:
        found[name] = lambda: load(data())

    for number, (edit, _) in enumerate(WRONG):
        add(f"wrong {number}", lambda edit=edit: edited(seed("small"), edit))
    for name, (plan, edit) in EDITS.items():
        add(name, lambda plan=plan, edit=edit: edited(seed(plan), edit))
    for name, make in FILES.items():
        add(name, make)
    for name, case in DIRECT.items():
        found[name] = case
    return found


def step(kernel: str, number: int, *path: Any) -> Callable[[dict[str, Any]], None]:
    """Alters a step, that of this number among those of a kernel."""
    def edit(header: dict[str, Any]) -> None:
        put(*path)([s for s in header["steps"] if s["kernel"] == kernel][number])

    return edit


def both(*edits: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], None]:
    def edit(header: dict[str, Any]) -> None:
        for one in edits:
            one(header)

    return edit


def appended(*steps: dict[str, Any], buffers: list[list[str]]) -> Callable[[dict[str, Any]], None]:
    def edit(header: dict[str, Any]) -> None:
        header["buffers"] += buffers
        header["steps"] += [{"name": "new", "attributes": "", "params": {}, "reason": ""} | s for s in steps]
        header["arena"] = None

    return edit


def body(*path: Any) -> Callable[[dict[str, Any]], None]:
    """Alters the first body."""
    return lambda header: put(*path)(header["steps"][0]["bodies"]["then_branch"])


def nested(header: dict[str, Any]) -> None:
    """A branch within a branch, and so on."""
    for _ in range(18):
        inner = copy.deepcopy(header)
        header["steps"][0]["bodies"]["then_branch"] = inner
        header["weights"] = []


EDITS: dict[str, tuple[str, Callable[[dict[str, Any]], Any]]] = {
    "a body that is a kernel's": ("control", put("steps", 0, "kernel", "reference")),
    "a body for another machine": ("control", body("lanes", 8)),
    "a body that reads what is not there": ("control", body("steps", 0, "inputs", [1])),
    "a limit that no size has": ("symbolic", put("ranges", [["N", 4, 1]])),
    "an alias of an operator that moves": ("unary", step("elementwise", 0, "kernel", "alias")),
    "an alias of a weight": ("constant", lambda h: put(
        "steps", 0, "inputs", 0, next(w["buffer"] for w in h["weights"] if w["shape"] == [2, 2]))(h)),
    "a reference on blocked tensors": ("branches", both(step("pool", 0, "kernel", "reference"), put("arena", None))),
    "a reorder of another operator": ("branches", both(step("reorder", 0, "op", "Relu"), put("arena", None))),
    "a reorder to the same layout": ("branches", lambda h: put("buffers", h["steps"][0]["outputs"][0], 2, "plain")(h)),
    "a kernel for an operator that has none": ("unary", put("steps", 0, "op", next(
        name for name in ("Hardmax", "LpNormalization", "MeanVarianceNormalization", "Trilu", "Acosh")
        if name not in LOWERINGS))),
    "operands that no kernel takes": ("pointwise", both(step("reference", 0, "kernel", "elementwise"),
                                                        put("arena", None))),
    "an unknown parameter": ("unary", step("elementwise", 0, "params", {"tile": 3})),
    "another kernel": ("unary", step("elementwise", 0, "kernel", "pool")),
    "an unknown layout": ("unary", put("buffers", 1, 2, "nhwc")),
    "a blocked weight": ("branches", lambda h: put("buffers", h["weights"][0]["buffer"], 2, "blocked")(h)),
    "a blocked output": ("unary", put("buffers", 1, 2, "blocked")),
    "a blocked matrix": ("found", lambda h: put("buffers", h["steps"][1]["outputs"][0], 2, "blocked")(h)),
    "a known result that is data": ("unary", step("elementwise", 0, "kernel", "known")),
    "a place that nobody needs": ("residual", lambda h: h["arena"]["offsets"].append([0, 0])),
    "no place": ("residual", lambda h: h["arena"]["offsets"].pop()),
    "a place that is not aligned": ("residual", lambda h: put("arena", "offsets", 0, 1, 4)(h)),
    "two places that overlap": ("branches", lambda h: [put(1, 0)(o) for o in h["arena"]["offsets"]]),
    "a buffer of gigabytes": ("unary", lambda h: h.update(arena=None, buffers=[
        [n, t.replace("16,2,2", "65536,65536,2"), layout] for n, t, layout in h["buffers"]])),
}


def sealed(name: str, **odd: Any) -> Callable[[], bytes]:
    def make() -> bytes:
        header, weights = take_apart(seed(name))
        return seal(json.dumps(header).encode(), weights, **odd)

    return make


def cut(name: str, size: int) -> Callable[[], bytes]:
    return lambda: seed(name)[:size]


def changed(at: int, byte: bytes) -> Callable[[], bytes]:
    """The weights of the small plan with another byte, sealed again."""
    def make() -> bytes:
        header, weights = take_apart(seed("small"))
        end = at % (len(weights) + 1)
        return seal(json.dumps(header).encode(), weights[:end] + byte + weights[end + 1:])

    return make


def prelude(header: int, weights: int) -> bytes:
    """The first 64 bytes of a file that is as long as they say, but for the rest."""
    start = -(-(64 + header) // 64) * 64
    raw = struct.pack("<8sIIQQQQIII", b"CNNCCPLN", 1, 0, header, start, weights, start + weights, 0, 0, 0)
    return raw + struct.pack("<I", zlib.crc32(raw))


class Sparse(bytes):
    """Bytes that say they are as many as their prelude says."""

    def __len__(self) -> int:
        return int(struct.unpack_from("<Q", self, 40)[0])


def flipped(at: int) -> Callable[[], bytes]:
    def make() -> bytes:
        data = bytearray(seed("small"))
        data[at] ^= 1
        return bytes(data)

    return make


FILES: dict[str, Callable[[], bytes]] = {
    "no file": lambda: b"",
    "no plan": lambda: b"graph" * 99,
    "half a prelude": cut("small", 40),
    "a damaged prelude": flipped(13),
    "a damaged header": flipped(70),
    "damaged weights": flipped(-1),
    "a newer version": sealed("small", version=2),
    "a feature": sealed("small", features=1),
    "sections elsewhere": sealed("small", start=64),
    "an end that is missing": cut("small", -64),
    "bytes behind the end": lambda: seed("small") + b"\0",
    "padding that is not zero": changed(220, b"\1"),
    "a boolean that is 2": changed(-2, b"\2"),
    "bytes behind the weights": changed(-1, b"\0"),
    "no JSON": lambda: seal(b"{", b""),
    "deep JSON": lambda: seal(b"[" * 100_000, b""),
    "a key twice": lambda: seal(b'{"name":"a","lanes":1,"name":"b"}', b""),
    "a long string": lambda: edited(seed("small"), put("name", "x" * (1 << 21))),
    "a long header": lambda: Sparse(prelude(header=1 << 30, weights=0)),
    "long weights": lambda: Sparse(prelude(header=0, weights=1 << 40)),
    "bodies in bodies": lambda: edited(seed("control"), nested),
}


def shrinking() -> None:
    """A file that has fewer bytes than it had when it was opened."""
    with tempfile.TemporaryFile(buffering=0) as stream:
        stream.write(seed("small")[:-1])
        planfile._parse(len(seed("small")), functools.partial(planfile._read, stream))


def exhausted(*_: Any) -> None:
    raise MemoryError


def deep_plan() -> Plan:
    plan = seed_plan("control")
    for _ in range(MAX_DEPTH + 1):
        plan = dataclasses.replace(plan, steps=(dataclasses.replace(
            plan.steps[0], op=dataclasses.replace(plan.steps[0].op, then_branch=plan)),))
    return plan


def with_limit(limit: int, case: Case) -> None:
    with mock.patch.dict(os.environ, CNNCC_MAX_BYTES=str(limit)):
        case()


def failing(owner: Any, method: str, case: Case) -> None:
    def mistake(*_: Any) -> None:
        raise IndexError("mistake")

    with mock.patch.object(owner, method, mistake):
        case()


READ = {"unary": seed_plan("unary")}


def bind_parsed(name: str) -> None:
    """Binds a plan that was checked before."""
    first_region(READ[name], {})


def lying(method: str, change: Callable[[Any], Any], case: Case) -> None:
    """With lowerings of pointwise operators that give something else than their kernels need."""
    honest = getattr(ElementwiseLowering, method)
    with mock.patch.object(ElementwiseLowering, method, lambda *args: change(honest(*args))):
        case()


def blocks() -> list[LiveRange]:
    return [LiveRange(7, 100, 0, 1), LiveRange(8, 64, 1, 2)]


DIRECT: dict[str, Case] = {
    "offsets of other blocks": lambda: memory.check_placement(blocks(), {7: 0, 5: 128}, 256),
    "an offset behind the end": lambda: memory.check_placement(blocks(), {7: 0, 8: 256}, 256),
    "blocks that overlap": lambda: memory.check_placement(blocks(), {7: 0, 8: 64}, 256),
    "sizes that depend on data": lambda: binding.bind(seed_plan("found"), {"M": 3}),
    "a file that shrinks": shrinking,
    "no memory": lambda: planfile._parse(64, exhausted),
    "bodies in bodies that were not read": lambda: check_plan(deep_plan()),
    "more memory than may be": lambda: with_limit(25_000, lambda: load(seed("residual"))),
    "a kernel that reads too much": lambda: lying("launch", lambda launch: dataclasses.replace(
        launch, reads={"a": (0, 1 << 20)}), lambda: load(seed("unary"))),
    "an operator that makes a mistake": lambda: failing(OPS["Relu"], "infer", lambda: load(seed("unary"))),
    "one that makes it later": lambda: failing(OPS["Relu"], "infer", lambda: bind_parsed("unary")),
    "a lowering that makes a mistake": lambda: failing(ElementwiseLowering, "launch", lambda: load(seed("unary"))),
    "a choice that is a mistake": lambda: failing(ElementwiseLowering, "choose", lambda: load(seed("unary"))),
    "a kernel that counts too far": lambda: lying("launch", lambda launch: dataclasses.replace(
        launch, dims=(1 << 63, *launch.dims[1:])), lambda: load(seed("unary"))),
    "a constant that is too short": lambda: lying("pack", lambda packed: packed.reshape(-1)[:1], lambda: load(
        seed("constant"))),
}


# -- switching off -----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Site:
    """A statement that refuses a plan: its module, the function that holds it, its lines."""

    module: str
    function: str
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.module}.{self.function}:{self.first}"


def is_check(node: ast.AST) -> bool:
    call = node.exc if isinstance(node, ast.Raise) else node.value if isinstance(node, ast.Expr) else None
    names = ("PlanInvalid", "PlanCorrupt", "PlanVersionError") if isinstance(node, ast.Raise) else ("_fail",)
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in names


def sites() -> Iterator[Site]:
    for name in MODULES:
        source = Path(inspect.getfile(module_of(name))).read_text(encoding="utf-8")
        for function in ast.parse(source).body:
            if isinstance(function, ast.FunctionDef) and function.name not in OTHERS | {"_fail"}:
                for node in ast.walk(function):
                    if isinstance(node, ast.stmt | ast.expr) and is_check(node):
                        yield Site(name, function.name, node.lineno, node.end_lineno or node.lineno)


def module_of(name: str) -> ModuleType:
    return importlib.import_module(f"cnncc.{name}")


class _Off(ast.NodeTransformer):
    def __init__(self, site: Site) -> None:
        self.site = site

    def generic_visit(self, node: ast.AST) -> ast.AST:
        lines = getattr(node, "lineno", 0), getattr(node, "end_lineno", 0)
        if is_check(node) and lines == (self.site.first, self.site.last):
            return ast.copy_location(ast.Pass(), node)
        return super().generic_visit(node)


def switch_off(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Puts the function without that statement in its place, and into the tables that hold it."""
    module = module_of(site.module)
    old = getattr(module, site.function)
    path = inspect.getfile(module)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    tree.body = [_Off(site).visit(node) for node in tree.body
                 if isinstance(node, ast.FunctionDef) and node.name == site.function]
    scratch: dict[str, Any] = {}
    exec(compile(tree, path, "exec", flags=annotations_flag(), dont_inherit=True), module.__dict__, scratch)
    new = scratch[site.function]
    for name in MODULES:
        for key, value in list(vars(module_of(name)).items()):
            if value is old:
                monkeypatch.setattr(module_of(name), key, new)
            elif isinstance(value, dict) and key.endswith("_CHECKS"):
                for entry, check in value.items():
                    if check is old:
                        monkeypatch.setitem(value, entry, new)


def annotations_flag() -> int:
    import __future__

    return __future__.annotations.compiler_flag


@contextlib.contextmanager
def time_limit() -> Iterator[None]:
    """Ends what waits for something that never comes, as a case may without its check."""
    def late(*_: object) -> None:
        raise TimeoutError

    old = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


def refused_at(case: Case) -> tuple[str, int, str] | None:
    """Where a case was refused: the file's name, the line, the class of the error; None where it got through."""
    try:
        case()
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.name not in ("_fail",)]
        raised = next((f for f in reversed(frames) if f"{Path('/')}cnncc{Path('/')}" in f.filename), frames[-1])
        return raised.filename, raised.lineno or 0, type(error).__name__
    return None


@functools.cache
def baseline() -> dict[str, tuple[str, int, str] | None]:
    return {name: refused_at(case) for name, case in mutants().items()}


def test_all_mutants_are_refused() -> None:
    for name, found in baseline().items():
        assert found is not None and found[2] in ("PlanInvalid", "PlanCorrupt", "PlanVersionError"), (name, found)


@pytest.mark.parametrize("site", list(sites()), ids=str)
def test_a_check_that_is_switched_off_is_missed(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    file = inspect.getfile(module_of(site.module))
    cases = [name for name, found in baseline().items()
             if found is not None and found[0] == file and site.first <= found[1] <= site.last]
    assert cases, "no mutant is refused by this check"
    switch_off(site, monkeypatch)
    with time_limit():
        assert any(refused_at(mutants()[name]) != baseline()[name] for name in cases)
