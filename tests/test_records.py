"""Records behave as frozen dataclasses do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import field
from typing import ClassVar

import pytest

from cnncc.records import record


@record
class Point:
    x: int
    y: int = 2
    tags: list[str] = field(default_factory=list, compare=False)
    kind: ClassVar[str] = "point"
    total: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", self.x + self.y)


@record
class Named(Point):
    name: str = ""

    def __repr__(self) -> str:
        return self.name


@record
class Nothing:
    pass


@record(frozen=False)
class Counter:
    count: int = 0


def test_fields_are_arguments_in_their_order() -> None:
    assert [(p.x, p.y, p.tags, p.total) for p in (Point(1), Point(1, 3, ["a"]), Point(y=3, x=1))] == [
        (1, 2, [], 3), (1, 3, ["a"], 4), (1, 3, [], 4)]
    assert Point(1).tags is not Point(1).tags
    named = Named(1, 2, [], "it")
    assert (named.x, named.name, named.total, named.kind) == (1, "it", 3, "point")


@pytest.mark.parametrize(("args", "names", "message"), [
    ((), {}, r"Point\(\) lacks the argument 'x'"),
    ((1, 2, [], 3), {}, r"Point\(\) takes 3 arguments, but 4 were given"),
    ((1,), {"x": 1}, r"Point\(\) has no argument 'x', or it was given twice"),
    ((1,), {"total": 1}, r"Point\(\) has no argument 'total'"),
])
def test_wrong_arguments_are_refused(args: tuple[object, ...], names: dict[str, object], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Point(*args, **names)  # type: ignore[arg-type]


def test_equal_where_the_compared_fields_are() -> None:
    assert Point(1, 2, ["a"]) == Point(1, 2, ["b"]) and hash(Point(1, 2, ["a"])) == hash(Point(1))
    assert Point(1) != Point(2) and Point(1) != Named(1) and Point(1) != 1
    assert Nothing() == Nothing() and len({Nothing(), Nothing()}) == 1


def test_cannot_be_changed() -> None:
    point = Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert point.x == 1


def test_read_as_calls() -> None:
    assert repr(Point(1)) == "Point(x=1, y=2, tags=[])" and repr(Nothing()) == "Nothing()"
    assert repr(Named(1, name="mine")) == "mine"


def test_dataclasses_functions_work() -> None:
    assert dataclasses.replace(Point(1), y=5) == Point(1, 5)
    assert dataclasses.asdict(Point(1)) == {"x": 1, "y": 2, "tags": [], "total": 3}
    assert [f.name for f in dataclasses.fields(Named)] == ["x", "y", "tags", "total", "name"]


def test_copied_and_pickled() -> None:
    for again in (copy.copy(Point(1)), copy.deepcopy(Point(1)), pickle.loads(pickle.dumps(Point(1)))):
        assert again == Point(1) and again.total == 3


def test_what_may_change_is_equal_to_itself_only() -> None:
    counter = Counter()
    counter.count += 1
    assert counter.count == 1 and counter != Counter(1) and counter == counter and hash(counter) == hash(counter)
