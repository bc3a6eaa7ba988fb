"""Files written by processes that are killed, or whose disk fails, at one of their calls to the file system.

The calls are counted, and made to kill or fail, by faults.c, which is preloaded. Each point is a process of its own,
forked from this one; what it left behind is looked at from outside.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import signal
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from cnncc.errors import InputError

__all__ = ["Action", "Point", "Scenario", "points_of", "try_point"]


class Action(IntEnum):
    """As in faults.c."""

    NOTHING = 0
    KILL_BEFORE = 1
    KILL_AFTER = 2
    KILL_WITHIN = 3  # a write, half of it done
    FAIL_ONCE = 4
    DISK_FULL = 5  # from this call on


@dataclass(frozen=True)
class Scenario:
    """What is written where.

    Attributes:
        name: for messages.
        old: what the file holds before, None where there is none.
        write: writes the file in a folder.
        find: the file in the folder.
        new: whether these are the new contents.
        read: what a reader makes of the file: an error of its own is a failure. None: it takes it for none.
        silent: a disk that fails is no error for who writes, as what is written can be made again.
    """

    name: str
    old: bytes | None
    write: Callable[[Path], None]
    find: Callable[[Path], Path]
    new: Callable[[bytes], bool]
    read: Callable[[Path], object]
    silent: bool = False


@dataclass(frozen=True)
class Point:
    action: Action
    call: int
    error: int = 0


def points_of(scenario: Scenario, folder: Path) -> Iterator[Point]:
    """Every way to disturb the scenario, in order of its calls."""
    scenario.write(_fresh(scenario, folder))  # what is imported on first use is not looked for again
    status, calls = _run(scenario, _fresh(scenario, folder), Point(Action.NOTHING, 0))
    assert status == 0 and _is_complete(calls), (scenario.name, status, calls)
    for at, name in enumerate(calls):
        yield Point(Action.KILL_BEFORE, at)
        yield Point(Action.KILL_AFTER, at)
        yield Point(Action.FAIL_ONCE, at, errno.EIO)
        if name == "write":
            yield Point(Action.KILL_WITHIN, at)
        if name in ("write", "fsync", "rename", "mkdir") or name.startswith("open"):
            yield Point(Action.FAIL_ONCE, at, errno.ENOSPC)
            yield Point(Action.DISK_FULL, at, errno.ENOSPC)


def _is_complete(calls: list[str]) -> bool:
    """Whether the calls that every writer makes are among those that were counted."""
    found = Counter(name.removesuffix("64") for name in calls)
    return all(found[name] for name in ("open", "write", "close", "rename"))


def try_point(scenario: Scenario, folder: Path, point: Point) -> None:
    """Disturbs the scenario once. Raises AssertionError where a file is neither old nor new, or anything is left."""
    place = _fresh(scenario, folder)
    status, _ = _run(scenario, place, point)
    killed = point.action in (Action.KILL_BEFORE, Action.KILL_AFTER, Action.KILL_WITHIN)
    assert status == (-signal.SIGKILL if killed else status) and status <= 1, f"status {status}"
    assert not (status == 1 and scenario.silent), "an error"
    found = _contents(scenario.find(place))
    is_new = found is not None and scenario.new(found)
    assert is_new or found == scenario.old, "the file is neither the old one nor the new one"
    if not killed and not scenario.silent:
        assert is_new == (status == 0), "an error, and the new file" if status else "no error, and the old file"
    left = [p.name for p in _files(place) if p != scenario.find(place)]
    assert (folder / "link").is_symlink(), "the link was replaced"
    assert all(killed and p.startswith(".cnncc-") and p.endswith(".tmp") for p in left), f"left behind: {left}"
    if found is not None:
        scenario.read(place)
    scenario.write(place)
    again = _contents(scenario.find(place))
    assert again is not None and scenario.new(again), "writing it again did not help"


def _fresh(scenario: Scenario, folder: Path) -> Path:
    """A folder with the old file in it."""
    place = folder / "place"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    with contextlib.suppress(FileExistsError):
        (folder / "link").symlink_to("place/net.plan")
    if scenario.old is not None:
        path = scenario.find(place)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        path.write_bytes(scenario.old)
        path.chmod(0o600)
    return place


def _files(place: Path) -> list[Path]:
    return [p for p in place.rglob("*") if not p.is_dir()]


def _contents(path: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError):
        return path.read_bytes()
    return None


def _run(scenario: Scenario, place: Path, point: Point) -> tuple[int, list[str]]:
    """The status of a process that writes (1: InputError, 2: another error), and the calls that it made."""
    library = ctypes.CDLL(None)
    library.fault_names.restype = ctypes.c_char_p
    output, back = os.pipe()
    child = os.fork()
    if child == 0:
        status = 2
        try:
            library.fault_arm(int(point.action), ctypes.c_long(point.call), point.error)
            try:
                scenario.write(place)
                status = 0
            except InputError:
                status = 1
            finally:
                library.fault_disarm()
            os.write(back, library.fault_names())
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(back)
    with open(output, "rb") as stream:
        calls = stream.read().decode().split()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), calls
