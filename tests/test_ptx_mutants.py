"""Mutants of PTX are noticed, and the check that should notice them can fail."""

from functools import partial

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="kernels compile by numba-cuda: pip install 'tinygrad-ft[emulator]'")

from ptx_mutants import CHANGES, executed, mutants, outcome, planted, score

from tinygrad_ft.cuda.compile import Kernel, cuda, float32
from tinygrad_ft.cuda.emulator import run

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 450)).astype(np.float32)


def row_sums(x, y, total):
    """Each block sums a row in shared memory, tells a warp, and adds it to the total."""
    s = cuda.shared.array(64, float32)
    t, row = cuda.threadIdx.x, cuda.blockIdx.x
    mine = float32(0)
    for k in range(t, x.shape[1], 64):
        mine = cuda.fma(x[row, k], float32(2), mine)
    s[t] = mine
    cuda.syncthreads()
    if t < 32:
        mine = s[t] + s[t + 32]
        step = 16
        while step:
            mine += cuda.shfl_xor_sync(0xFFFFFFFF, mine, step)
            step >>= 1
        y[row, t] = max(mine, float32(-1000))
        if t == 0:
            cuda.atomic.add(total, 0, mine)


KERNEL = Kernel(row_sums, version="own", moves="x", why="a test")


@pytest.fixture(scope="module", params=[(9, 0), (12, 0)], ids=["sm_90", "sm_120"])
def compiled(request):
    return KERNEL.ptx(KERNEL.signature(*arguments()), request.param)


def arguments():
    return X, np.zeros((4, 32), np.float32), np.zeros(1, np.float32)


def right(compiled, atol=1e-4):
    """Whether the sums that it makes are the right ones."""
    _, y, total = given = arguments()
    run(compiled.program, 4, 64, given)
    sums = 2 * X.astype(np.float64).sum(axis=1)
    return max(np.abs(y.T - sums).max(), abs(total[0] - sums.sum())) <= atol


def checks(compiled, **options):
    return lambda mutant: [partial(right, compiled, **options)]


def found_in(compiled, **options):
    return mutants(compiled.ptx, executed(run(compiled.program, 4, 64, arguments())), **options)


def test_the_mutants_of_what_ran_are_noticed(compiled):
    result = score(compiled, found_in(compiled, most=8), checks(compiled))
    assert result.share >= 0.85, str(result)
    assert result.noticed["drop the barrier"] == result.total["drop the barrier"] == 1
    assert result.noticed["another lane"] == result.total["another lane"] == 5
    assert result.noticed["an atomic that overwrites"] == 1


def test_a_check_that_takes_anything_lets_mutants_live(compiled):
    found = found_in(compiled, kinds=["add to subtract", "forget the sum"])
    assert score(compiled, found, checks(compiled, atol=np.inf)).share == 0.0


def test_afterwards_the_kernel_is_itself_again(compiled):
    mutant = found_in(compiled, kinds=["drop the barrier"])[0]
    with planted(compiled, mutant):
        assert compiled.program.code != KERNEL.ptx(KERNEL.signature(*arguments()), (8, 0)).program.code
    assert right(compiled)
    assert outcome(compiled, mutant, checks(compiled)(mutant)) == "race"


def test_each_mutant_changes_one_line_and_only_what_ran(compiled):
    ran = executed(run(compiled.program, 4, 64, arguments()))
    text = compiled.ptx.splitlines()
    for mutant in found_in(compiled):
        changed = [n for n, (a, b) in enumerate(zip(text, mutant.ptx.splitlines(), strict=True), 1) if a != b]
        assert changed == [mutant.line] and mutant.line in ran


LINES = {
    "drop the barrier": ("bar.sync 0;", ""),
    "drop the warp barrier": ("bar.warp.sync -1;", ""),
    "flip the bound": ("setp.lt.s32 %p1, %r1, 5;", "setp.le.s32 %p1, %r1, 5;"),
    "turn the comparison": ("setp.gtu.f32 %p1, %f1, %f2;", "setp.ltu.f32 %p1, %f1, %f2;"),
    "equal to unequal": ("setp.neu.f32 %p1, %f1, %f2;", "setp.equ.f32 %p1, %f1, %f2;"),
    "load the next": (
        "ld.shared.v4.f32 {%f1, %f2, %f3, %f4}, [%r1+16];",
        "ld.shared.v4.f32 {%f1, %f2, %f3, %f4}, [%r1+32];",
    ),
    "store to the next": ("st.global.b32 [%rd1], %r1;", "st.global.b32 [%rd1+4], %r1;"),
    "add to subtract": ("add.rn.f32 %f1, %f2, %f3;", "sub.rn.f32 %f1, %f2, %f3;"),
    "multiply to add": ("mul.f32 %f1, %f2, %f3;", "add.f32 %f1, %f2, %f3;"),
    "largest to smallest": ("max.f32 %f1, %f2, %f3;", "min.f32 %f1, %f2, %f3;"),
    "forget the sum": ("fma.rn.f32 %f1, %f2, %f3, %f4;", "mul.f32 %f1, %f2, %f3;"),
    "another lane": ("shfl.sync.bfly.b32 %r1|%p1, %r2, 16, 31, -1;", "shfl.sync.up.b32 %r1|%p1, %r2, 16, 31, -1;"),
    "another atomic": ("atom.global.add.u32 %r1, [%rd1], 1;", "atom.global.max.u32 %r1, [%rd1], 1;"),
    "an atomic that overwrites": ("atom.global.add.f32 %f1, [%rd1], %f2;", "atom.global.exch.b32 %f1, [%rd1], %f2;"),
    "the other choice": ("selp.f32 %f1, %f2, 0f00000000, %p1;", "selp.f32 %f1, 0f00000000, %f2, %p1;"),
    "branch the other way": ("@%p1 bra $L1;", "@!%p1 bra $L1;"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_change_is_what_its_name_says(kind):
    before, after = LINES[kind]
    (mutant,) = mutants(f"{before}\n", {1}, kinds=[kind])
    assert (mutant.before, mutant.after) == (before, after)
