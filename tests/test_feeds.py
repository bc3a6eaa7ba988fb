"""What may be given for an input: of every kind of object the right result, or one clear error; never a crash."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import pytest

from cnncc import InferenceSession, compile
from cnncc.errors import InputError
from cnncc.ir import parse_graph
from cnncc.ops import OPS

SHAPE = (1, 3, 5, 20)
X = np.random.default_rng(3).standard_normal(SHAPE, dtype=np.float32)
B = np.arange(3, dtype=np.int64)
GRAPH = """graph @net(%x: f32[N,3,H,20], %b: i64[3]) {
  %0 = Relu(%x) : f32[N,3,H,20]
  %1 = Add(%b, %b) : i64[3]
  return %0 as "positive", %1 as "twice"
}"""


class Describes:
    """An object that NumPy would believe."""

    def __init__(self, **interface: Any) -> None:
        self.__array_interface__ = {"typestr": "<f4", "shape": SHAPE, "version": 3, **interface}


class Gives:
    def __init__(self, make: Callable[[], Any]) -> None:
        self.make = make

    def __array__(self) -> Any:
        return self.make()


class Lends:
    """DLPack and nothing else."""

    def __init__(self, held: np.ndarray) -> None:
        self.held = held

    def __dlpack__(self, **options: Any) -> Any:
        return self.held.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self.held.__dlpack_device__()


class Claims(np.ndarray):
    """An array of a class that says other things than are so."""

    dtype = np.dtype(np.float32)  # type: ignore[assignment]
    shape = SHAPE  # type: ignore[assignment]
    flags = X.flags  # type: ignore[assignment]
    __array_interface__: ClassVar = {"typestr": "<f4", "shape": SHAPE, "version": 3, "data": (64, False)}


def fails() -> None:
    raise RuntimeError("it is elsewhere")


def frozen(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


RIGHT = {
    "Fortran order": np.asfortranarray(X), "byte-swapped": X.astype(">f4"), "read-only": frozen(X),
    "byte-swapped and read-only": frozen(X.astype(">f4")), "a view": X[:, ::-1, ::-1, ::-1].copy()[:, ::-1, ::-1, ::-1],
    "unaligned": np.frombuffer(b"\0" + X.tobytes(), np.uint8)[1:].view(np.float32).reshape(SHAPE),
    "with metadata": X.view(np.dtype("f4", metadata={"unit": "m"})), "masked": np.ma.masked_array(X, X > 0),
    "a class that lies, of the right type": X.view(Claims), "and read-only": frozen(X).view(Claims),
    "a list of arrays": [X[0]], "nested lists": [[[[np.float32(v) for v in row] for row in c] for c in X[0]]],
    "memoryview": memoryview(X), "__array__": Gives(lambda: X), "DLPack": Lends(X),
    "an interface with bytes": Describes(data=X.tobytes()),
    "an interface with an offset": Describes(data=b"abcd" + X.tobytes(), offset=4),
}  # fmt: skip
WRONG = {
    "None": (None, "is NoneType, which is no array"), "text": ("x", "is str, which is no array"),
    "an object": (object(), "is object, which is no array"), "a class": (np.float32, "is no array|cannot be read"),
    "objects": (X.astype(object), r"must be of type f32 \(float32\), but is object"),
    "complex": (X + 1j, "but is complex64"),
    "float64": (X.astype(float), r"but is f64: convert it with .astype\('float32'\)"), "bool": (X > 0, "is bool"),
    "float16": (X.astype(np.float16), "is f16"), "dates": (np.zeros(SHAPE, "M8[s]"), r"is datetime64\[s\]"),
    "fields": (np.zeros(SHAPE, [("a", "<f4")]), "must be of type f32"), "strings": (np.full(SHAPE, "a"), "is <U1"),
    "a number": (1.0, "is f64"), "rank 0": (np.float32(1), r"must have the shape \[N,3,H,20\], but has \[\]"),
    "rank 5": (X[None], r"but has \[1,1,3,5,20\]"), "rank 64": (np.zeros((1,) * 64, np.float32), "must have the shape"),
    "another shape": (X[:, :2], r"but has \[1,2,5,20\]"), "bytes": (bytearray(4), "is u8"),
    "one number under any shape": (np.broadcast_to(np.float32(1), (1, 1 << 20, 1 << 20, 1 << 20)), "have the shape"),
    "an array of its own": (array.array("f", X.ravel()), r"but has \[300\]"),
    "ragged": ([[1.0], [1.0, 2.0]], "inhomogeneous"),
    "lists of objects": ([[Describes(data=(64, False))]], "is list, which is no array"),
    "a class that lies": (X.astype(float).view(Claims), "is f64"), "__array__ of a list": (Gives(list), "no array"),
    "__array__ that fails": (Gives(fails), "cannot be read as an array .it is elsewhere.: give a NumPy array"),
    "an interface with an address": (Describes(data=(64, False)), "gives an address or strides, which cannot be"),
    "with none": (Describes(), "gives an address"), "with too few bytes": (Describes(data=b"abcd"), "smaller than"),
    "with strides": (Describes(data=X.tobytes(), strides=(1 << 40, 4, 4, 4)), "address or strides"),
    "with an offset beyond": (Describes(data=X.tobytes(), offset=1 << 40), "offset must be"),
    "with a shape below zero": (Describes(data=X.tobytes(), shape=(1, -3, 5, 20)), "the dimension -3"),
    "with huge sizes": (Describes(data=X.tobytes(), shape=(1 << 62, 3, 5, 20)), "cannot be read"),
    "of objects": (Describes(data=bytes(8 * 300), typestr="|O"), "cannot be read"),
    "with nonsense": (type("Odd", (), {"__array_interface__": 5})(), "cannot be read"),
}  # fmt: skip


@pytest.fixture(scope="module")
def session() -> InferenceSession:
    return InferenceSession(compile(parse_graph(GRAPH, OPS)), threads=2)


def good(session: InferenceSession) -> bool:
    positive, twice = session.run(None, {"x": X, "b": B})
    return np.array_equal(positive, np.maximum(X, 0)) and np.array_equal(twice, 2 * B)


@pytest.mark.parametrize("kind", RIGHT)
def test_what_is_an_array_is_read(session: InferenceSession, kind: str) -> None:
    positive, _ = session.run(None, {"x": RIGHT[kind], "b": B})
    assert type(positive) is np.ndarray and np.array_equal(positive, np.maximum(X, 0))


@pytest.mark.parametrize("kind", WRONG)
def test_what_is_none_is_refused(session: InferenceSession, kind: str) -> None:
    value, words = WRONG[kind]
    with pytest.raises(InputError, match=f"the input 'x' .*({words})"):
        session.run(None, {"x": value, "b": B})
    assert good(session)


@pytest.mark.parametrize("shape", [(0, 3, 5, 20), (1, 3, 0, 20), (0, 3, 0, 20)])
def test_arrays_without_elements(session: InferenceSession, shape: tuple[int, ...]) -> None:
    found = session.run(None, {"x": np.zeros(shape, np.float32), "b": B})
    assert found[0].shape == shape and np.array_equal(found[1], 2 * B)
    assert session.run_all({"x": np.zeros(shape, np.float32), "b": B})["positive"].shape == shape


class Odd(dict):
    def __getitem__(self, name: str) -> Any:
        raise KeyError(name)


@pytest.mark.parametrize(("feeds", "words"), [
    (None, "must be a dict of an array for each input .'x', 'b'., not NoneType"), ([X, B], "not list"),
    ("xb", "not str"),
    ({1: X, "b": B}, "has no input '1'"), ({"x": X, "b": B, 3: X}, "has no input '3'"), ({"x": X}, "input 'b'"),
    (Odd(x=X, b=B), "do not give what they name")])
def test_feeds_that_are_none_are_refused(session: InferenceSession, feeds: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        session.run(None, feeds)
    assert good(session)


@pytest.mark.parametrize(("names", "words"), [
    ("positive", "must be a list of names or None, not 'positive'"), (3, "must be a list"), ([3], "no output '3'"),
    ([["twice"]], "no output"), (["wice"], "did you mean 'twice'")])
def test_names_of_outputs_that_are_none_are_refused(session: InferenceSession, names: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        session.run(names, {"x": X, "b": B})
    assert len(session.run((name for name in ["twice"]), {"x": X, "b": B})) == 1  # type: ignore[arg-type]
