"""Between a Numba-CUDA kernel and a device: compile to PTX, lay out arguments, launch, emulate, report.

Nothing here is imported before an array on `cuda` or `emulator` is asked for.
"""
