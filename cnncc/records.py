"""`record`: dataclasses whose methods are shared instead of generated.

The standard library writes the text of up to eight methods for a dataclass and compiles it, which takes 0.7 ms for each
class, and half of the time in which a session of a small network is opened. Here it only collects the fields, so that
`dataclasses.fields`, `replace` and `asdict` work as ever; the methods are closures over their names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

__all__ = ["record"]

T = TypeVar("T")
assign = object.__setattr__


@overload
def record(cls: type[T], /) -> type[T]: ...


@overload
def record(*, frozen: bool = True) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def record(cls: type[T] | None = None, /, *, frozen: bool = True) -> Any:
    """A class decorator like `dataclass(frozen=True)`: records cannot be changed and are equal where their fields are.

    With `frozen=False` they can be changed, and each is equal to itself only. Methods of these names that the class
    itself has are kept.
    """
    return (lambda found: _made(found, frozen)) if cls is None else _made(cls, frozen)


def _made(cls: type[T], frozen: bool) -> type[T]:
    cls.__doc__ = cls.__doc__ or cls.__name__  # otherwise one is made of its signature, which takes milliseconds
    dataclasses.dataclass(init=False, repr=False, eq=False)(cls)
    fields: tuple[dataclasses.Field[Any], ...] = dataclasses.fields(cls)  # type: ignore[arg-type]  # it is one now
    methods = {"__init__": _init(cls, [f for f in fields if f.init]),
               "__repr__": _repr([f.name for f in fields if f.repr])}
    if frozen:
        methods |= _comparison([f.name for f in fields if f.compare])
        methods |= {"__setattr__": _refuse_to_set, "__delattr__": _refuse_to_delete}
    for name, method in methods.items():
        if name not in cls.__dict__:
            setattr(cls, name, method)
    return cls


def _init(cls: type[Any], fields: list[dataclasses.Field[Any]]) -> Callable[..., None]:
    names = [f.name for f in fields]
    then = hasattr(cls, "__post_init__")

    def __init__(self: Any, /, *args: Any, **kwargs: Any) -> None:
        if kwargs or len(args) != len(names):
            args = _arguments(type(self).__name__, fields, args, kwargs)
        for name, value in zip(names, args, strict=True):
            assign(self, name, value)
        if then:
            self.__post_init__()

    return __init__


def _arguments(name: str, fields: list[dataclasses.Field[Any]], args: tuple[Any, ...],
               kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The value of every field. Raises TypeError, as a call of any function does."""
    if len(args) > len(fields):
        raise TypeError(f"{name}() takes {len(fields)} arguments, but {len(args)} were given")
    found = [*args]
    for field in fields[len(args):]:
        if field.name in kwargs:
            found.append(kwargs.pop(field.name))
        elif field.default is not dataclasses.MISSING:
            found.append(field.default)
        elif field.default_factory is not dataclasses.MISSING:
            found.append(field.default_factory())
        else:
            raise TypeError(f"{name}() lacks the argument '{field.name}'")
    for unexpected in kwargs:
        raise TypeError(f"{name}() has no argument '{unexpected}', or it was given twice")
    return tuple(found)


def _repr(names: list[str]) -> Callable[..., str]:
    def __repr__(self: Any) -> str:
        return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

    return __repr__


def _comparison(names: list[str]) -> dict[str, Callable[..., Any]]:
    values: Callable[[Any], Any] = attrgetter(*names) if names else lambda _: ()

    def __eq__(self: Any, other: Any) -> Any:
        return values(self) == values(other) if type(self) is type(other) else NotImplemented

    def __hash__(self: Any) -> int:
        return hash(values(self))

    return {"__eq__": __eq__, "__hash__": __hash__}


def _refuse_to_set(self: Any, name: str, value: Any) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot assign to field '{name}'")


def _refuse_to_delete(self: Any, name: str) -> None:
    raise dataclasses.FrozenInstanceError(f"cannot delete field '{name}'")
