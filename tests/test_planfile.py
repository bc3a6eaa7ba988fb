"""Plan files: what is written comes back, every damage is found, and every contradiction is named."""

from __future__ import annotations

import builtins
import copy
import dataclasses
import json
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnncc import planfile
from cnncc.crc import join_crc32
from cnncc.errors import InputError, PlanCorrupt, PlanError, PlanInvalid, PlanVersionError
from cnncc.ir import Activation, parse_type
from cnncc.ops import OPS
from cnncc.parallel import in_parallel
from cnncc.plan import Arena, Buffer, Plan, Port, Step
from cnncc.plan_checks import check_plan
from cnncc.planfile import parse_plan, plan_bytes, read_plan, write_plan
from cnncc.runtime.cpu import native
from cnncc.runtime.cpu.kernels import crc32
from tests.fuzz.plan_draft import seal, take_apart

NAME = 'Bild \ud800 "\u6f22\u5b57"\n\u202e'  # any text may be a name, even half a surrogate pair


def small_plan() -> Plan:
    """A convolution with bias and clipping, and a sum with a constant; an empty, a boolean and a scalar weight too."""
    rng = np.random.default_rng(0)
    conv = OPS["Conv"](pads=(1, 1, 1, 1), activation=Activation("clip", (0.0, 6.0)))  # type: ignore[call-arg]
    types = ("f32[1,3,4,4]", "f32[2,3,3,3]", "f32[2]", "f32[1,2,4,4]", "f32[]", "f32[1,2,4,4]", "i64[0,3]", "bool[3]")
    return Plan(
        name=NAME, target="cpu", lanes=16,
        buffers=tuple(Buffer(f"b{i}{NAME}", parse_type(t), "plain") for i, t in enumerate(types)),
        steps=(Step(NAME, conv, "conv_direct", (0, 1, 2), (3,), {"tile": 6, "by": "rows", "least": -1}),
               Step("sum", OPS["Add"](), "reference", (3, 4), (5,), {}, "no kernel fits")),
        inputs=(Port(NAME, 0),), outputs=(Port("out", 5), Port("sum", 3)),
        weights={1: rng.standard_normal((2, 3, 3, 3), dtype=np.float32), 2: np.array([np.nan, -0.0], np.float32),
                 4: np.array(2.5, np.float32), 6: np.zeros((0, 3), np.int64), 7: np.array([True, False, True])},
        arena=Arena(256, 256, {3: 0, 5: 128}), producer="cnncc test",
    )


@pytest.fixture(scope="module")
def plan() -> Plan:
    return small_plan()


@pytest.fixture(scope="module")
def good(plan: Plan) -> bytes:
    return plan_bytes(plan)


def assert_same(a: Plan, b: Plan) -> None:
    assert dataclasses.replace(a, weights={}) == dataclasses.replace(b, weights={})
    assert set(a.weights) == set(b.weights)
    for number, array in a.weights.items():
        other = b.weights[number]
        assert (array.dtype, array.shape, array.tobytes()) == (other.dtype, other.shape, other.tobytes())


def edited(good: bytes, edit: Callable[[dict[str, Any]], Any]) -> bytes:
    header, weights = take_apart(good)
    edit(header)
    return seal(json.dumps(header).encode(), weights)


# What is written comes back.


def test_round_trip(plan: Plan, good: bytes, tmp_path: Path) -> None:
    path = tmp_path / "n\u00e4me.plan"
    plan.save(path)
    assert path.read_bytes() == good == plan_bytes(parse_plan(good))
    for back in (Plan.load(str(path)), read_plan(path), parse_plan(good)):
        assert_same(back, plan)
        for array in back.weights.values():
            assert not array.flags.writeable
            assert array.size == 0 or array.ctypes.data % 64 == 0
            with pytest.raises(ValueError):
                array.flags.writeable = True


def test_the_description_is_true(good: bytes) -> None:
    header, weights = take_apart(good)
    assert seal(json.dumps(header, separators=(",", ":")).encode(), weights) == good
    for w in header["weights"]:
        assert w["offset"] % 64 == 0
        assert w["length"] == len(weights[w["offset"]:w["offset"] + w["length"]])
    assert struct.unpack_from("<54f", weights) == tuple(small_plan().weights[1].ravel())


def test_plans_without_weights_or_arena_and_with_symbols() -> None:
    types = ("f32[N,C,H,2*W+1]", "f32[N,C,H,2*W+1]")
    plan = Plan("", "cpu", 4, tuple(Buffer("", parse_type(t)) for t in types),
                (Step("", OPS["Add"](), "add", (0, 0), (1,)),), (Port("", 0),), (Port("", 1),), {})
    assert_same(parse_plan(plan_bytes(plan)), plan)


def test_strided_and_foreign_weights(plan: Plan) -> None:
    odd = dict(plan.weights)
    odd[1] = np.asfortranarray(odd[1])
    odd[7] = np.array([[True, False], [False, False], [True, False]])[:, 0]
    assert plan_bytes(dataclasses.replace(plan, weights=odd)) == plan_bytes(plan)


def test_a_wrong_plan_is_not_written(plan: Plan, tmp_path: Path) -> None:
    wrong = dataclasses.replace(plan, outputs=(Port("out", 9),))
    with pytest.raises(PlanInvalid, match="number 9"):
        write_plan(wrong, tmp_path / "x.plan")
    assert list(tmp_path.iterdir()) == []


# Every damage is found.


def undetected(data: bytes | memoryview) -> bool:
    try:
        parse_plan(data)
    except PlanCorrupt:
        return False
    return True


@pytest.fixture(scope="module")
def large(plan: Plan) -> bytes:
    """A file of 32 KiB."""
    weights = np.random.default_rng(1).standard_normal(7000, np.float32)
    data = plan_bytes(dataclasses.replace(plan, buffers=(*plan.buffers, Buffer("more", parse_type("f32[7000]"))),
                                          weights={**plan.weights, 8: weights}))
    pad = (1 << 15) - len(data)
    assert 0 <= pad < 4000
    more = np.append(weights, np.arange(-(-pad // 4), dtype=np.float32))
    return plan_bytes(dataclasses.replace(plan, weights={**plan.weights, 8: more}, buffers=(
        *plan.buffers, Buffer("more", parse_type(f"f32[{more.size}]")))))


def test_every_flipped_bit_is_found(large: bytes) -> None:
    data = bytearray(large)
    view = memoryview(data)
    for at in range(len(data)):
        for bit in range(8):
            data[at] ^= 1 << bit
            assert not undetected(view), f"bit {bit} of byte {at}"
            data[at] ^= 1 << bit
    assert len(data) >= 1 << 15
    assert undetected(view)  # that is, it is right again


def test_damage_of_a_large_file_is_found(large: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such files are summed by a kernel where it is at hand."""
    monkeypatch.setattr(planfile, "LARGE", 0)
    if crc32.is_possible():
        native.publish((crc32.KERNEL.name, ()))
    assert undetected(large)
    for at in range(0, len(large), 97):
        assert not undetected(large[:at] + bytes([large[at] ^ 1 << at % 8]) + large[at + 1:]), f"byte {at}"


def test_every_truncation_and_extension_is_found(large: bytes, good: bytes) -> None:
    for length in range(len(large)):
        assert not undetected(memoryview(large)[:length])
    for tail in (b"\0", b"x", bytes(64), good):
        with pytest.raises(PlanCorrupt, match=f"{len(tail)} bytes follow its end"):
            parse_plan(good + tail)


@pytest.mark.parametrize(("data", "words"), [
    (b"", "the file is empty"),
    (b"\x08\x0a\x12\x07pytorch\x1a\x052.1.0", "ONNX model, which must be compiled first"),
    (b"PK\x03\x04rest", "zip archive"),
    (b"\x80\x04\x95", "Python pickle"),
    (b"\x89PNG\r\n\x1a\n", "PNG image"),
    (b"\x50\0\0\0\0\0\0\0{\"weight\":", "safetensors"),
    (b"graph @net(%x: f32[1]) {\n}\n", "looks like text"),
    (b"CNNCCPLX" + bytes(80), "does not begin as one does"),
    (b"CNNCC", "cut off: the file ends after 5 bytes"),
])
def test_what_is_no_plan_is_recognised(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "file.plan"
    path.write_bytes(data)
    with pytest.raises(PlanCorrupt, match=words) as caught:
        read_plan(path)
    assert str(path) in str(caught.value)


# Newer plans.


def test_a_newer_version_asks_for_an_upgrade(good: bytes) -> None:
    header, weights = take_apart(good)
    header = {"producer": "cnncc 9.1", "sections": [1.5]}
    with pytest.raises(PlanVersionError, match=r"format version 7.*this cnncc reads version 1.*upgrade"):
        parse_plan(seal(json.dumps(header).encode(), weights, version=7))
    with pytest.raises(PlanVersionError, match=r"by cnncc 9\.1 in format version 7"):
        parse_plan(seal(b'{"producer":"cnncc 9.1","more":[]}', weights, version=7, start=0, total=3))
    with pytest.raises(PlanVersionError, match=r"features 0x4,.*upgrade"):
        parse_plan(seal(b"\xff\xfe" * 9, weights, features=4))
    with pytest.raises(PlanVersionError, match="compile it again"):
        parse_plan(seal(b"{}", b"", version=0))


# Intact, but wrong.


def put(*path: Any) -> Callable[[dict[str, Any]], None]:
    """An edit: the last item is put where the others lead."""
    *keys, last, value = path

    def edit(header: Any) -> None:
        for key in keys:
            header = header[key]
        header[last] = value

    return edit


def steps(*order: int) -> Callable[[dict[str, Any]], None]:
    return lambda h: h.__setitem__("steps", [copy.deepcopy(h["steps"][i]) for i in order])


WRONG: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    # structure
    (lambda h: h.pop("lanes"), "the header lacks the key \"lanes\""),
    (put("more", 1), "unknown key \"more\""),
    (put("steps", 0, "code", "x"), r"steps\[0\] has the unknown key \"code\""),
    (lambda h: h["steps"][1].pop("reason"), r"steps\[1\] lacks the key \"reason\""),
    (put("name", 3), "name must be a string of at most 1048576 characters, not 3"),
    (put("name", None), "name must be a string .*, not null"),
    (put("target", "CPU"), "target must be one of cpu, cuda, not 'CPU'"),
    (put("lanes", 17), "vectors of 17 floats, but the target cpu has vectors of 4, 8, 16"),
    (put("lanes", True), "lanes must be an integer from 1 to 64, not true"),
    (put("lanes", "16"), "lanes must be an integer"),
    (put("lanes", 0), "lanes must be an integer"),
    (put("lanes", 16.0), r"16\.0 is not an integer"),
    (put("lanes", float("nan")), "NaN is not an integer"),
    (put("lanes", float("inf")), "Infinity is not an integer"),
    (put("lanes", 10**400), "more than 64 bits"),
    (put("lanes", 2**63), "more than 64 bits"),
    (put("steps", {}), r"steps must be a list, not \{\}"),
    (put("steps", 0, []), r"steps\[0\] must be an object"),
    (put("arena", []), "arena must be an object"),
    (put("ranges", [["N", 1]]), r"ranges\[0\] must be a list of 3"),
    (put("ranges", [["N", 1, 8]]), r"limits the dimension N to 1\.\.8"),
    (put("arena", "offsets", {}), r"arena\.offsets must be a list"),
    (put("inputs", 0, ["x"]), r"inputs\[0\] must be a list of 2"),
    (put("inputs", 0, ["x", None]), r"inputs\[0\]\[1\] must be an integer"),
    (put("outputs", 0, ["x", -1]), r"outputs\[0\]\[1\] must be an integer"),
    (put("steps", 0, "inputs", 0, False), r"steps\[0\]\.inputs\[0\] must be an integer"),
    (put("steps", 0, "outputs", 0, None), r"steps\[0\]\.outputs\[0\] must be an integer"),
    (put("steps", 0, "params", []), r"steps\[0\]\.params must be an object"),
    (put("steps", 0, "params", "tile", None), r"steps\[0\]\.params\[\"tile\"\] must be an integer"),
    # types and operators
    (put("buffers", 0, 1, "f32[1,3,4"), r"buffers\[0\]\[1\].*not a tensor type"),
    (put("buffers", 0, 1, "f33[1]"), r"buffers\[0\]\[1\].*not a tensor type"),
    (put("buffers", 0, 1, "f32[-1]"), r"buffers\[0\]\[1\].*at least 0"),
    (put("buffers", 0, 1, f"f32[{'1,' * 40}1]"), r"buffers\[0\]\[1\].*at most 32"),
    (put("buffers", 0, 1, "f32[4294967296,4294967296]"), r"buffers\[0\]\[1\].*64 bits can count"),
    (put("buffers", 0, 1, f"f32[{'9' * 5000}]"), r"buffers\[0\]\[1\]"),
    (put("buffers", 0, 1, f"f32[{'(' * 500}]"), r"buffers\[0\]\[1\].*deeper"),
    (put("steps", 0, "op", "Exec"), r"steps\[0\]: there is no operator 'Exec'"),
    (put("steps", 0, "attributes", "pad=[1]"), r"steps\[0\]: Conv has no attribute 'pad'"),
    (put("steps", 0, "attributes", "pads=true"), r"steps\[0\]: Conv: the attribute 'pads' must be"),
    (put("steps", 0, "attributes", "group=1, group=1"), r"steps\[0\]: the attribute 'group' is given twice"),
    (put("steps", 0, "attributes", f"group={'9' * 5000}"), r"steps\[0\]: the integer 9+ has more than 64 bits"),
    (put("steps", 0, "attributes", 'auto_pad="\\x"'), r"steps\[0\]: .*not a string"),
    (put("steps", 0, "attributes", "activation=clip([1],true)"), r"steps\[0\]: the parameters of clip"),
    (put("steps", 0, "attributes", "strides=[0,1]"), r"steps\[0\]: Conv: strides must be at least 1"),
    # what the operators say
    (put("steps", 0, "attributes", ""), r"\(Conv\) gives f32\[1,2,2,2\], but the buffer"),
    (put("buffers", 3, 1, "f64[1,2,4,4]"), r"gives f32\[1,2,4,4\], but the buffer"),
    (put("steps", 0, "inputs", [0]), r"\(Conv\): Conv lacks its input W"),
    (put("steps", 0, "inputs", [0, None, 2]), r"\(Conv\): Conv lacks its input W"),
    (put("steps", 0, "inputs", [0, 1, 9]), "8 buffers, but refers to number 9"),
    (lambda h: h["steps"][1].update(outputs=[]), r"\(Add\) has 0 outputs"),
    (put("steps", 1, "outputs", [5, 3]), "already defined"),
    (lambda h: (h["buffers"].append(["b", "f32[1,2,4,4]", "plain"]), put("steps", 1, "outputs", [5, 8])(h)),
     r"\(Add\) has 2 outputs"),
    (put("steps", 1, "outputs", [3]), "already defined"),
    (put("steps", 1, "outputs", [4]), "already defined"),
    (put("steps", 1, "outputs", [0]), "already defined"),
    (steps(0, 0, 1), "already defined"),
    (steps(1, 0), "before it is computed"),
    (steps(0), "no step computes the output 'out'"),
    (put("inputs", [["x", 0], ["y", 0]]), "share a buffer"),
    (put("inputs", [["x", 0], ["y", 1]]), "share a buffer"),
    (put("inputs", []), "before it is computed"),
    (put("outputs", [["x", 5], ["x", 3]]), "of one name"),
    # weights
    (put("weights", 0, "offset", 64), "lies at byte 64 .* it must begin at 0"),
    (put("weights", 1, "offset", 192), "lies at byte 192 .* it must begin at 256"),
    (put("weights", 1, "offset", 257), "it must begin at 256"),
    (put("weights", 1, "offset", -64), r"weights\[1\]\.offset must be an integer"),
    (put("weights", 4, "offset", 2**40), "it must begin at 384"),
    (lambda h: h["weights"].reverse(), "it must begin at 0"),
    (lambda h: h["weights"].pop(), "weights end at byte"),
    (lambda h: h["weights"].pop(0), "it must begin at 0"),
    (put("weights", []), "weights end at byte 0"),
    (put("weights", 0, "length", 8), "8 bytes are not the length of f32"),
    (put("weights", 0, "shape", [2**62, 4]), "are not the length of f32"),
    (put("weights", 3, "shape", [0, 2**62, 2**62]), "are not the length of i64"),
    (put("weights", 0, "shape", [3, 2, 3, 3]), r"is float32\[3, 2, 3, 3\], but its buffer"),
    (put("weights", 0, "dtype", "i32"), r"is int32\[2, 3, 3, 3\], but its buffer"),
    (put("weights", 0, "dtype", "object"), r"weights\[0\]\.dtype must be an element type"),
    (put("weights", 1, "buffer", 1), "two weights belong to one buffer"),
    (put("weights", 1, "buffer", 8), "refer to the buffer 8, but there are 8"),
    # arena
    (put("arena", "size", -1), r"arena\.size must be an integer"),
    (put("arena", "lower_bound", 300), r"arena\.lower_bound must be an integer from 0 to 256"),
    (put("arena", "offsets", [[3, 0], [3, 128]]), "places a buffer twice"),
    (put("arena", "offsets", [[3, 0], [5, 257]]), "outside the arena of 256 bytes"),
    (put("arena", "offsets", [[3, 0], [8, 128]]), "refer to the buffer 8"),
]


@pytest.mark.parametrize(("edit", "words"), WRONG)
def test_contradictions_are_named(good: bytes, edit: Callable[[dict[str, Any]], Any], words: str) -> None:
    with pytest.raises(PlanInvalid, match=words):
        parse_plan(edited(good, edit))


@pytest.mark.parametrize(("header", "words"), [
    (b"", "not JSON"),
    (b"{", "not JSON"),
    (b"\xff{}", "not JSON"),
    ("{}".encode("utf-16"), "not JSON"),
    (b"[" * 100_000, "too deeply"),
    (b'{"a":' * 100_000, "too deeply"),
    (b"[]", "the header must be an object"),
    (b"1e999", "not an integer"),
    (b"9" * 5000, "more than 64 bits"),
    (b'{"name":"a","lanes":1,"name":"b"}', 'the key "name" is given twice'),
])
def test_headers_that_are_no_object(header: bytes, words: str) -> None:
    with pytest.raises(PlanInvalid, match=words):
        parse_plan(seal(header, b""))


def test_the_places_of_the_sections_are_checked(good: bytes) -> None:
    header, weights = take_apart(good)
    text = json.dumps(header).encode()
    assert_same(parse_plan(seal(text, weights)), small_plan())
    for wrong in (seal(text, weights, start=64), seal(text, weights, total=0), seal(text, weights, spare=1),
                  seal(text, weights, start=2**64 - 1, total=0)):
        with pytest.raises(PlanInvalid, match="do not fit together"):
            parse_plan(wrong)


def test_padding_and_booleans_are_checked(good: bytes) -> None:
    header, weights = take_apart(good)
    text = json.dumps(header).encode()
    between = header["weights"][0]["length"]
    with pytest.raises(PlanInvalid, match="are not zero"):
        parse_plan(seal(text, weights[:between] + b"\1" + weights[between + 1:]))
    with pytest.raises(PlanInvalid, match="neither 0 nor 1"):
        parse_plan(seal(text, weights[:-1] + b"\2"))
    with pytest.raises(PlanInvalid, match="must begin at"):
        parse_plan(seal(text, weights[:-1]))
    with pytest.raises(PlanInvalid, match="their section has"):
        parse_plan(seal(text, weights + b"\0"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, child in children for p in [(*path, key), *places(child, (*path, key))]]


def test_random_edits_end_in_a_plan_error_or_a_plan(good: bytes) -> None:
    """No header whatever raises anything else."""
    rng = random.Random(0)
    values = [None, True, 0, 1, 2, 5, 7, -1, 2**31, 2**62, "", "f32[0]", "f32[N,3,4,4]", "Add", "Conv", "group=0",
              "pads=[9223372036854775807,0,0,0]", "kernel_shape=[3,3]", [], {}, [0], [0, 0], [[0, 0]], {"a": 1}]
    header, weights = take_apart(good)
    where = places(header)
    refused = 0
    for _ in range(1500):
        trial = copy.deepcopy(header)
        put(*rng.choice(where), rng.choice(values))(trial)
        try:
            check_plan(parse_plan(seal(json.dumps(trial).encode(), weights)))
        except PlanError:
            refused += 1
    assert refused > 500


# Reading and writing files.


def test_unreadable_paths(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.plan", "No such file"), (tmp_path, "Is a directory"),
                        (tmp_path / "a\0b", "null"), (Path(os.devnull), "not a file")):
        with pytest.raises(InputError, match=words):
            read_plan(path)


def test_unwritable_paths(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path, words in ((tmp_path / "none" / "x.plan", "No such file"), (tmp_path, "not a file"),
                        (tmp_path / "file" / "x.plan", "Not a directory"), (tmp_path / "a\0b", "null"),
                        (Path(os.devnull), "not a file")):
        with pytest.raises(InputError, match=words):
            write_plan(plan, path)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert not Path(os.devnull).is_file()


class Full:
    """A file on a disk that is full after 300 bytes."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.left = stream, 300

    def write(self, data: Any) -> int:
        self.left -= len(data)
        if self.left < 0:
            raise OSError(28, "No space left on device")
        self.stream.write(data)
        return len(data)

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *_: object) -> None:
        self.stream.close()


def fail(error: BaseException) -> Callable[..., Any]:
    def raising(*_: Any, **__: Any) -> Any:
        raise error

    return raising


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("failure", ["write", "fsync", "replace", "interrupt"])
def test_a_failure_leaves_the_old_file_and_nothing_else(
        plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str, existing: bool) -> None:
    path = tmp_path / "x.plan"
    if existing:
        path.write_bytes(b"old")
    expected: type[BaseException] = InputError
    if failure == "write":
        plain = builtins.open
        monkeypatch.setattr(builtins, "open", lambda file, mode="r", *a, **k: Full(plain(file, mode, *a, **k))
                            if isinstance(file, int) else plain(file, mode, *a, **k))
    elif failure == "interrupt":
        monkeypatch.setattr(os, "fsync", fail(KeyboardInterrupt()))
        expected = KeyboardInterrupt
    else:
        monkeypatch.setattr(os, failure, fail(OSError(5, "Input/output error")))
    with pytest.raises(expected):
        write_plan(plan, path)
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == (["x.plan"] if existing else [])
    assert not existing or path.read_bytes() == b"old"
    write_plan(plan, path)
    assert_same(read_plan(path), plan)
    assert [p.name for p in tmp_path.iterdir()] == ["x.plan"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and modes are POSIX's")
def test_links_are_followed_and_the_mode_is_the_users(plan: Plan, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "link.plan"
    link.symlink_to(tmp_path / "real" / "x.plan")
    old = os.umask(0o027)
    try:
        write_plan(plan, link)
    finally:
        os.umask(old)
    assert link.is_symlink()
    assert (tmp_path / "real" / "x.plan").stat().st_mode & 0o777 == 0o640
    assert_same(read_plan(link), plan)


def test_a_file_that_changes_later_does_not_change_the_plan(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "x.plan"
    write_plan(plan, path)
    back = read_plan(path)
    with open(path, "r+b") as stream:
        stream.write(bytes(path.stat().st_size))
    os.truncate(path, 0)
    assert_same(back, plan)


def test_sums_of_parts_are_joined() -> None:
    data = np.random.default_rng(0).bytes(9000)
    for at, end in ((0, 0), (0, 7), (5, 5), (1, 9000), (4096, 8193)):
        assert join_crc32(zlib.crc32(data[:at]), zlib.crc32(data[at:end]), end - at) == zlib.crc32(data[:end])


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "it.plan"
    block = planfile._aligned(1000)
    path.write_bytes(bytes(900))
    with open(path, "rb", buffering=0) as stream, pytest.raises(PlanCorrupt, match="ended after 900 of 1000 bytes"):
        planfile._read(stream, block, 0, 1000)
    monkeypatch.delattr(os, "preadv")
    path.write_bytes(bytes(range(250)) * 4)
    with open(path, "rb", buffering=0) as stream:
        planfile._read(stream, block, 300, 900)
    assert block[300:900].tobytes() == (bytes(range(250)) * 4)[300:900]


def test_an_error_in_one_thread_is_raised() -> None:
    assert in_parallel([lambda n=n: n * n for n in range(9)], 3) == [n * n for n in range(9)]
    with pytest.raises(ZeroDivisionError):
        in_parallel([lambda: 1, lambda: 1 // 0, lambda: 2], 2)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are POSIX's")
def test_a_fifo_keeps_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.plan")
    with pytest.raises(InputError, match="not a file"):
        read_plan(tmp_path / "fifo.plan")


def test_a_file_that_changes_while_it_is_read(large: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that change under the reader, the length too, are found, or they are those of a plan."""
    path, chance = tmp_path / "it.plan", random.Random(0)
    plain, corrupt = planfile._read, 0

    def disturbed(stream: Any, block: Any, start: int, end: int) -> None:
        with open(path, "r+b") as file:
            if chance.random() < 0.2:
                file.truncate(chance.randrange(len(large)))
            else:
                file.seek(chance.randrange(len(large)))
                file.write(chance.randbytes(chance.choice((1, 64, 5000))))
        plain(stream, block, start, end)

    monkeypatch.setattr(planfile, "_read", disturbed)
    for _ in range(200):
        path.write_bytes(large)
        try:
            read_plan(path)
        except PlanError as error:
            assert type(error) is PlanCorrupt
            corrupt += 1
    assert corrupt > 100
