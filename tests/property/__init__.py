"""Random configurations of convolutions, pools and matrix products against float64, every kernel forced in turn.

    python -m tests.property --cases 20000        # `make property`
    python -m tests.property --seed 1234 --cases 1
"""
