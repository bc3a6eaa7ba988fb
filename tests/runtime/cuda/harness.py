"""Running one launch in the simulator, on flat arrays."""

import numpy as np

from cnncc.runtime.cuda.codegen import get_kernel
from cnncc.runtime.cuda.kernel import SCRATCH, Launch


def run(launch: Launch, operands: dict[str, np.ndarray]) -> None:
    """Executes the stages of a launch over arrays; operands that are not given are absent."""
    flat = {name: array.reshape(-1) for name, array in operands.items()}
    flat[SCRATCH] = np.full(launch.scratch // 4, np.nan, np.float32)
    for stage in launch.stages:
        arguments = [flat.get(name, np.zeros(1, np.float32)) for name in stage.kernel.operands]
        floats = [np.float32(value) for value in stage.floats]
        kernel = get_kernel(stage.kernel.name, stage.params)
        kernel[stage.grid, stage.block, 0, stage.shared](*arguments, *map(np.int32, stage.dims), *floats)
