"""Tables whose modules are imported when an entry is first asked for: a session needs a few operators, not all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from types import ModuleType
from typing import TypeVar

__all__ = ["LazyTable"]

T = TypeVar("T")


class LazyTable(Mapping[str, T]):
    """Entries by name, in the order in which they are listed.

    Args:
        package: the one that holds the modules.
        modules: module -> the names of its entries, separated by spaces.
        read: what a module gives, by name.
    """

    def __init__(self, package: str, modules: Mapping[str, str], read: Callable[[ModuleType], Mapping[str, T]]) -> None:
        self._modules = {name: f"{package}.{module}" for module, names in modules.items() for name in names.split()}
        self._read = read
        self._found: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        found = self._found.get(name)
        if found is None:
            self._found.update(self._read(import_module(self._modules[name])))
            found = self._found[name]
        return found

    def __contains__(self, name: object) -> bool:
        return name in self._modules

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)
