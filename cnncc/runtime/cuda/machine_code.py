"""What NVIDIA's assembler made of a kernel: registers, shared memory, spills, the instructions of its loops.

The packages nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm read machine code; no GPU is needed.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from functools import cache
from importlib import metadata
from pathlib import Path

from ...errors import InputError
from ...records import record

__all__ = ["MULTIPLY", "MachineCode", "find_tool", "read_machine_code"]

MULTIPLY = ("FFMA", "HMMA.1688.F32.TF32")
SYSTEM_SHARED = 1024  # bytes that the system takes, which are counted among a kernel's from sm_90 on
_LABEL = re.compile(r"^(\.L_\w+):")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([^;]*);")
_BRANCH = re.compile(r"^BRA.*`\((\.L_\w+)\)")
_USAGE = re.compile(r"(REG|STACK|SHARED|LOCAL):(\d+)")


@record
class MachineCode:
    """A kernel's use of a multiprocessor and its instructions, without predicates. ``loops`` are the ranges of
    instructions between a backward branch's target and the branch, both included."""

    registers: int
    stack: int
    shared: int
    instructions: tuple[str, ...]
    loops: tuple[tuple[int, int], ...]

    @property
    def spills(self) -> int:
        """Instructions that access a thread's local memory, where registers go that do not fit."""
        return sum(i.split(".")[0] in ("LDL", "STL") for i in self.instructions)

    def count(self, begin: int = 0, end: int | None = None) -> Counter[str]:
        """How often each instruction occurs, modifiers included."""
        return Counter(i.split()[0] for i in self.instructions[begin:end])

    def busiest_loop(self) -> Counter[str]:
        """The instructions of the shortest loop among those with the most FFMAs and HMMAs (`MULTIPLY`)."""
        counts = [self.count(begin, end + 1) for begin, end in self.loops]
        return max(counts, key=lambda c: (sum(c[name] for name in MULTIPLY), -c.total()), default=Counter())


def read_machine_code(image: bytes, capability: tuple[int, int]) -> MachineCode:
    """Reads a cubin of one kernel for devices of this capability."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.cubin"
        file.write_bytes(image)
        used = {name: int(n) for name, n in _USAGE.findall(_run("cuobjdump", "-res-usage", str(file)))}
        instructions, loops = _parse(_run("nvdisasm", "-c", str(file)))
    own = used["SHARED"] - (SYSTEM_SHARED if capability >= (9, 0) and used["SHARED"] else 0)
    return MachineCode(used["REG"], used["STACK"], own, instructions, loops)


def _parse(text: str) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    instructions: list[str] = []
    labels: dict[str, int] = {}
    loops = []
    for line in text.splitlines():
        if label := _LABEL.match(line):
            labels[label.group(1)] = len(instructions)
        elif found := _INSTRUCTION.match(line):
            branch = _BRANCH.match(found.group(1))
            if branch and branch.group(1) in labels:
                loops.append((labels[branch.group(1)], len(instructions)))
            instructions.append(found.group(1).strip())
    return tuple(instructions), tuple(loops)


def _run(tool: str, *arguments: str) -> str:
    return subprocess.run([find_tool(tool), *arguments], check=True, capture_output=True, text=True).stdout


@cache
def find_tool(name: str) -> str:
    """The path of one of NVIDIA's tools, from its package or from the PATH. Raises InputError where there is none."""
    package = f"nvidia-cuda-{name}"
    try:
        for file in metadata.files(package) or ():
            if file.name in (name, f"{name}.exe"):
                return str(file.locate())
    except metadata.PackageNotFoundError:
        pass
    found = shutil.which(name)
    if found is None:
        raise InputError(f"{name} is needed to read machine code: pip install {package}")
    return found
