"""Numerical operations, each with a digest of its result: which of them depend on the CPU.

`reference` is a list whose records exist from other machines, in an order that is fixed: its operations share one
stream of random numbers. `further` adds operations that draw their own. Import either after `repflow.hardware.cpu.pin`.
"""
