"""What a model may ask for. Files say anything: each of these is looked at before memory or time is spent.

docs/security.md lists the limits.
"""

from __future__ import annotations

import math

from ...environment import memory_limit
from ...errors import ModelError
from ...ir import TensorType
from ...records import record

__all__ = ["MAX_DEPTH", "MAX_FILE_BYTES", "MAX_PORTS", "MAX_RANK", "Limits"]

MAX_FILE_BYTES = 2**31 - 1  # protobuf's own
MAX_RANK = 8
MAX_PORTS = 4096  # inputs and outputs; weights that are listed as inputs do not count
MAX_DEPTH = 16  # bodies within bodies, as in a plan; also calls within calls of functions
MAX_GROWTH = 100_000  # nodes that functions, and bodies that are read again, may add to those of the file


@record(frozen=False)
class Limits:
    """What is left of what one import may take.

    `bytes` is what a tensor may have and all weights together; `nodes` are those that may still be read, the file's
    own included, and `weights` the bytes of weights.
    """

    bytes: int
    nodes: int
    weights: int

    @staticmethod
    def of(nodes: int = 0, max_bytes: int | None = None) -> Limits:
        """For a file of so many nodes; without `max_bytes`, CNNCC_MAX_BYTES or its default is the limit."""
        most = memory_limit(max_bytes)
        return Limits(most, nodes + MAX_GROWTH, most)

    def check_type(self, type_: TensorType, what: str) -> None:
        """Raises ModelError unless the fixed part of a type is of a size that a tensor may have."""
        if type_.rank > MAX_RANK:
            raise ModelError(f"{what} has {type_.rank} dimensions, but may have at most {MAX_RANK}; reshape it")
        fixed = [d for d in type_.shape if isinstance(d, int)]
        if any(d < 0 for d in fixed):
            raise ModelError(f"{what} has a negative dimension: {type_}; export the model again")
        # Zeros are left out, so that the other dimensions of an empty tensor are bounded as well.
        if math.prod(d for d in fixed if d) * type_.dtype.itemsize > self.bytes:
            raise ModelError(f"{what} is {type_}, more than the {self.bytes:,} bytes that a tensor may have; set the "
                             "limit by max_bytes or CNNCC_MAX_BYTES")

    def take_weight(self, type_: TensorType, what: str) -> None:
        """Counts the contents of a tensor, before they are read."""
        self.check_type(type_, what)
        self.weights -= type_.nbytes
        if self.weights < 0:
            raise ModelError(f"with {what} the model has more than {self.bytes:,} bytes of weights; set the limit by "
                             "max_bytes or CNNCC_MAX_BYTES")

    def take_node(self) -> None:
        """Counts a node that is read, be it again."""
        self.nodes -= 1
        if self.nodes < 0:
            raise ModelError(f"functions and bodies that stand within each other make {MAX_GROWTH:,} nodes more of the "
                             "model than its file has; export it without them")
