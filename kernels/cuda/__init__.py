"""Kernels for GPUs, written in Numba-CUDA; the devices `cuda` and `emulator` run the same ones."""
