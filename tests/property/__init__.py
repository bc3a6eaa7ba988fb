"""Random configurations of convolutions, pools and matrix products against float64, every kernel forced in turn.

    python -m tests.property --cases 20000        # `make property`
    python -m tests.property --seed 1234 --cases 1
"""

import sys
from pathlib import Path

# The guarded runs of single operators live beside the kernels' tests.
sys.path.insert(0, str(Path(__file__).parents[1] / "runtime" / "cpu"))
