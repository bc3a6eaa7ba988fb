"""Measuring cnncc against other runtimes: each in a process of its own, on the same network, inputs and CPUs.

    worker.py     the engines and the process that each runs in
    ncnn_net.py   graphs in ncnn's own format
    prepare.py    a network in the form that each engine reads
    compare.py    engines taking turns: medians, spread, agreement of outputs
    startup.py    time to a first result, time to load, memory, time to compile
    machine.py    what it was measured on
    report.py     tables and files
"""
