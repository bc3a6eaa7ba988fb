"""Sessions under load and under fire: many threads, forks, interrupts, no memory, what earlier runs left in memory.

    python -m tests.running       # `make soak`: the long forms
"""
