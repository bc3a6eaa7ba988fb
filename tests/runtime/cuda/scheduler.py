"""The threads of simulated blocks: one runs at a time, and who is next is drawn by a seeded generator.

A simulated thread runs in an operating-system thread of its own only from the first barrier that it waits at: those of
kernels without barriers run one after another in a single one, which costs no switches.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tests.runtime.cuda.memory import Memory

__all__ = ["WARP", "Index", "Launch", "SimulationError", "Thread", "running"]

WARP = 32


class SimulationError(Exception):
    """What a kernel must not do."""


class _Abort(BaseException):
    """Unwinds a thread of a block that has failed."""


@dataclass
class Index:
    x: int
    y: int
    z: int


class Thread:
    """A simulated thread. `epoch` counts the block's barriers that it passed, `warp_epoch` those of its warp."""

    __slots__ = ("block", "epoch", "fresh", "index", "lane", "lock", "number", "site", "value", "warp", "warp_epoch")

    def __init__(self, block: Block, number: int) -> None:
        w, h, _ = block.launch.block_dim
        self.block, self.number = block, number
        self.index = Index(number % w, number // w % h, number // (w * h))
        self.warp, self.lane = divmod(number, WARP)
        self.epoch = self.warp_epoch = 0
        self.fresh, self.value, self.site = True, None, None
        self.lock: threading.Lock | None = None

    def __str__(self) -> str:
        at, place = self.index, self.block.index
        return f"thread ({at.x}, {at.y}, {at.z}) of block ({place.x}, {place.y}, {place.z})"


class _Worker:
    """An operating-system thread that runs simulated threads, from one to the next until it has to hand over."""

    idle: ClassVar[list[_Worker]] = []

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.thread: Thread | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    @classmethod
    def start(cls, thread: Thread) -> None:
        worker = cls.idle.pop() if cls.idle else cls()
        worker.thread = thread
        worker.lock.release()

    def _serve(self) -> None:
        np.seterr(all="ignore")
        while True:
            self.lock.acquire()
            thread = self.thread
            while thread is not None:
                thread = thread.block.execute(thread)
            _Worker.idle.append(self)


class Launch:
    """A grid's shape, its function and arguments."""

    def __init__(self, function: Callable[..., None], grid_dim: tuple[int, ...], block_dim: tuple[int, ...],
                 shared_bytes: int, arguments: list[Any], order: random.Random | None) -> None:
        self.function, self.grid_dim, self.block_dim = function, grid_dim, block_dim
        self.shared_bytes, self.arguments, self.order = shared_bytes, arguments, order

    def run(self) -> None:
        w, h, d = self.grid_dim
        places = [Index(i % w, i // w % h, i // (w * h)) for i in range(w * h * d)]
        if self.order is not None:
            self.order.shuffle(places)
        for place in places:
            Block(self, place).run()


class Block:
    """The threads of one block: `ready` are those that may run, `groups` those that wait for each other."""

    def __init__(self, launch: Launch, index: Index) -> None:
        self.launch, self.index, self.order = launch, index, launch.order
        w, h, d = launch.block_dim
        self.size = w * h * d
        self.ready = [Thread(self, i) for i in range(self.size)]
        self.ready.reverse()
        self.groups: dict[Any, list[Thread]] = {}
        self.shared: dict[Any, Memory] = {}
        self.dynamic = np.full(launch.shared_bytes, 0xA5, np.uint8)
        self.left = self.size
        self.failure: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()

    def run(self) -> None:
        _Worker.start(self._pick())  # type: ignore[arg-type]
        self.done.acquire()
        _state.thread = None
        if self.failure is not None:
            raise self.failure

    def _pick(self) -> Thread | None:
        if not self.ready:
            return None
        if self.order is not None:
            at = int(self.order.random() * len(self.ready))
            self.ready[at], self.ready[-1] = self.ready[-1], self.ready[at]
        return self.ready.pop()

    def execute(self, thread: Thread) -> Thread | None:
        """Runs a fresh thread to its end in this operating-system thread; gives the next one, if that is fresh, too."""
        thread.fresh = False
        _state.thread = thread
        try:
            self.launch.function(*self.launch.arguments)
        except _Abort:
            return None
        except BaseException as error:
            error.add_note(f"in {thread} of {self.launch.function.__name__}")
            self._fail(error)
            return None
        self.left -= 1
        following = self._pick()
        if following is not None:
            return self._hand_over(following, True)
        if self.left:
            self._fail(self._deadlock())
        else:
            self.done.release()
        return None

    def _hand_over(self, following: Thread, free: bool) -> Thread | None:
        """Lets `following` go on; a fresh one is given back if this operating-system thread is free to run it."""
        if not following.fresh:
            _state.thread = following
            following.lock.release()
        elif free:
            return following
        else:
            _Worker.start(following)
        return None

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        for group in self.groups.values():
            for waiting in group:
                waiting.lock.release()
        for waiting in self.ready:
            if not waiting.fresh:
                waiting.lock.release()
        self.done.release()

    def _deadlock(self) -> SimulationError:
        key, group = next(iter(self.groups.items()))
        return SimulationError(f"{len(group)} threads wait at the barrier in {group[0].site}, which the others of "
                               f"{'their block' if key == 'block' else 'their mask'} left out")

    def wait(self, thread: Thread, key: Any, members: int, site: str, value: Any) -> dict[int, Any]:
        """The running thread waits until `members` wait for the same; gives the values that they brought, by number."""
        group = self.groups.setdefault(key, [])
        if group and group[0].site != site:
            raise SimulationError(f"threads of one group wait at different barriers, {group[0].site} and {site}")
        thread.site, thread.value = site, value
        if thread.lock is None:
            thread.lock = threading.Lock()
            thread.lock.acquire()
        group.append(thread)
        if len(group) == members:
            del self.groups[key]
            values = {t.number: t.value for t in group}
            for member in group:
                member.value = values
            self.ready += group[::-1]
        following = self._pick()
        if following is None:
            error = self._deadlock()
            group.remove(thread)
            raise error
        if following is not thread:
            self._hand_over(following, False)
            thread.lock.acquire()
            if self.failure is not None:
                raise _Abort
        _state.thread = thread
        return thread.value


class _State:
    thread: Any = None


_state = _State()


def running() -> Any:
    """The simulated thread that runs now, if one does."""
    return _state.thread
