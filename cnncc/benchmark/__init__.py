"""Measuring cnncc against other runtimes: each in a process of its own, on the same network, inputs and CPUs."""
