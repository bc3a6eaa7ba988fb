"""Mutants of models, plans and networks, tried in processes of their own: each is a result or a CnnccError.

    python -m tests.fuzz --minutes 10              # `make fuzz MINUTES=10`: all subjects in turns
    python -m tests.fuzz onnx --seed 7 --first 1000 --cases 500
    python -m tests.fuzz onnx --replay failures/onnx-7-1234.onnx

A case is a number: with the seed it gives the same mutant in every process. `subject.py` says what a subject is,
`runner.py` watches over the processes, `worker.py` is what goes on in one.
"""
