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
    ("embedding", "cuda", "tinygrad_ft.kernels.cuda.gather", 1),
    ("sum_rows", "cuda", "tinygrad_ft.kernels.cuda.gather", 1),
    ("counted_dropout", "cuda", "tinygrad_ft.kernels.cuda.dropout", 1),
    ("sgd_update", "cuda", "tinygrad_ft.kernels.cuda.sgd_update", 1),
    ("adam_update", "cuda", "tinygrad_ft.kernels.cuda.adam_update", 1),
    ("clip_to_length", "cuda", "tinygrad_ft.kernels.cuda.clip_to_length", 0),
    ("sum", "cuda", "tinygrad_ft.kernels.cuda.reduce", 1),
    ("mean", "cuda", "tinygrad_ft.kernels.cuda.reduce", 1),
    ("amax", "cuda", "tinygrad_ft.kernels.cuda.reduce", 1),
    ("amin", "cuda", "tinygrad_ft.kernels.cuda.reduce", 1),
    ("sum_to", "cuda", "tinygrad_ft.kernels.cuda.reduce", 1),
    ("matmul", "emulator", "tinygrad_ft.kernels.cuda.matmul", 1),
    ("matmul", "cuda", "tinygrad_ft.kernels.cuda.matmul", 1),
    ("linear", "emulator", "tinygrad_ft.kernels.cuda.linear", 1),
    ("linear", "cuda", "tinygrad_ft.kernels.cuda.linear", 1),
    ("gelu", "cuda", "tinygrad_ft.kernels.cuda.gelu", 1),
    ("gelu_grad", "cuda", "tinygrad_ft.kernels.cuda.gelu", 1),
    ("bias_gelu", "cuda", "tinygrad_ft.kernels.cuda.gelu", 1),
    ("bias_gelu_grad", "cuda", "tinygrad_ft.kernels.cuda.gelu", 1),
    ("softmax", "cuda", "tinygrad_ft.kernels.cuda.softmax", 1),
    ("softmax_grad", "cuda", "tinygrad_ft.kernels.cuda.softmax_grad", 1),
    ("log_softmax", "cuda", "tinygrad_ft.kernels.cuda.log_softmax", 1),
    ("summed_cross_entropy", "cuda", "tinygrad_ft.kernels.cuda.summed_cross_entropy", 1),
    ("layer_norm_of_rows", "cuda", "tinygrad_ft.kernels.cuda.layer_norm", 1),
    ("layer_norm_grad", "cuda", "tinygrad_ft.kernels.cuda.layer_norm_grad", 1),
    ("rms_norm_of_rows", "cuda", "tinygrad_ft.kernels.cuda.rms_norm", 1),
    ("rms_norm_grad", "cuda", "tinygrad_ft.kernels.cuda.rms_norm_grad", 1),
    ("normalise", "cuda", "tinygrad_ft.kernels.cuda.normalise", 1),
    ("flash_attention", "cuda", "tinygrad_ft.kernels.cuda.attention", 1),
    ("flash_attention_grad", "cuda", "tinygrad_ft.kernels.cuda.attention_grad", 1),
]

# one module writes a kernel for every elementwise op; those named above come before it
PENDING += [
    (name, "cuda", "tinygrad_ft.kernels.cuda.elementwise", 0)
    for name, op in OPS.items()
    if op.elementwise and name not in {known for known, device, *_ in PENDING if device == "cuda"}
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
