"""The kernels: faster forwards of single ops, for one device each. `tinygrad-ft ops` lists them.

One file an op under the name of its device. A file is imported when its op first meets an array large enough to
merit it, so that nobody waits for Numba who does not need it.
"""

from tinygrad_ft.engine import OPS
from tinygrad_ft.ops.composed import every

if __name__ == "kernels":
    raise ImportError("this folder is the package tinygrad_ft.kernels; import it by that name")

# op, device, module that registers its kernels, elements from which it is worth importing
PENDING = [
    ("gelu", "cpu", "tinygrad_ft.kernels.cpu.gelu", 4096),
    ("gelu_grad", "cpu", "tinygrad_ft.kernels.cpu.gelu", 4096),
    ("tanh_grad", "cpu", "tinygrad_ft.kernels.cpu.tanh", 1 << 16),
    ("sigmoid", "cpu", "tinygrad_ft.kernels.cpu.sigmoid", 1 << 14),
    ("sigmoid_grad", "cpu", "tinygrad_ft.kernels.cpu.sigmoid", 1 << 16),
    ("softmax", "cpu", "tinygrad_ft.kernels.cpu.softmax", 4096),
    ("softmax_grad", "cpu", "tinygrad_ft.kernels.cpu.softmax", 4096),
    ("log_softmax", "cpu", "tinygrad_ft.kernels.cpu.softmax", 4096),
    ("attention", "cpu", "tinygrad_ft.kernels.cpu.attention", 4096),
    ("attention_grad", "cpu", "tinygrad_ft.kernels.cpu.attention", 4096),
    ("layer_norm_of_rows", "cpu", "tinygrad_ft.kernels.cpu.layer_norm", 4096),
    ("layer_norm_grad", "cpu", "tinygrad_ft.kernels.cpu.layer_norm", 4096),
    ("rms_norm_of_rows", "cpu", "tinygrad_ft.kernels.cpu.rms_norm", 4096),
    ("rms_norm_grad", "cpu", "tinygrad_ft.kernels.cpu.rms_norm", 4096),
    ("summed_cross_entropy", "cpu", "tinygrad_ft.kernels.cpu.summed_cross_entropy", 1),
    ("sum_rows", "cpu", "tinygrad_ft.kernels.cpu.gather", 4096),
    ("put", "cpu", "tinygrad_ft.kernels.cpu.gather", 4096),
    ("overlap_add", "cpu", "tinygrad_ft.kernels.cpu.overlap_add", 4096),
    ("max_of_windows", "cpu", "tinygrad_ft.kernels.cpu.max_pool", 4096),
    ("max_of_windows_grad", "cpu", "tinygrad_ft.kernels.cpu.max_pool", 64),
    ("amax", "cpu", "tinygrad_ft.kernels.cpu.extremum", 1 << 16),
    ("amin", "cpu", "tinygrad_ft.kernels.cpu.extremum", 1 << 16),
    ("extremum_grad", "cpu", "tinygrad_ft.kernels.cpu.extremum", 4096),
    ("sgd_update", "cpu", "tinygrad_ft.kernels.cpu.sgd_update", 4096),
    ("adam_update", "cpu", "tinygrad_ft.kernels.cpu.adam_update", 4096),
]

# op, device, module that shares out the op's work for a recorded step; an eager call has nothing to gain from it
SHARED = [
    ("matmul", "cpu", "tinygrad_ft.kernels.cpu.matmul"),
    ("linear", "cpu", "tinygrad_ft.kernels.cpu.matmul"),
    ("embedding", "cpu", "tinygrad_ft.kernels.cpu.gather"),
    ("getitem", "cpu", "tinygrad_ft.kernels.cpu.gather"),
    ("clone", "cpu", "tinygrad_ft.kernels.cpu.copy"),
    ("reshape", "cpu", "tinygrad_ft.kernels.cpu.copy"),
    ("join", "cpu", "tinygrad_ft.kernels.cpu.copy"),
    ("pad_constant", "cpu", "tinygrad_ft.kernels.cpu.copy"),
    ("sum", "cpu", "tinygrad_ft.kernels.cpu.reduce"),
    ("mean", "cpu", "tinygrad_ft.kernels.cpu.reduce"),
    ("sum_to", "cpu", "tinygrad_ft.kernels.cpu.reduce"),
    ("clip_to_length", "cpu", "tinygrad_ft.kernels.cpu.clip_to_length"),
    ("extremum_places", "cpu", "tinygrad_ft.kernels.cpu.extremum_products"),
    ("extremum_grad_matmul", "cpu", "tinygrad_ft.kernels.cpu.extremum_products"),
    ("extremum_grad_outer", "cpu", "tinygrad_ft.kernels.cpu.extremum_products"),
]


def announce() -> None:
    """Tell each op where its kernels are."""
    ops = every()
    for name, device, module, elements in PENDING:
        ops[name].expect_kernels(device, module, elements)
    for name, device, module in SHARED:
        OPS[name].expect_shares(device, module)
