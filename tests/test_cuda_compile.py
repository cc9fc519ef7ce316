"""Kernels to PTX: what comes out, what is kept of it and for how long, and what is said when nothing comes out."""

import math
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="compiling kernels needs numba-cuda: pip install 'tinygrad-ft[emulator]'")

import cuda_kernels
from cuda_kernels import copied, mirrored, scaled, turned

from tinygrad_ft.cache import cache_folder
from tinygrad_ft.cuda import compile as compiling
from tinygrad_ft.cuda import ptx, toolkit
from tinygrad_ft.cuda.abi import flat
from tinygrad_ft.cuda.cards import CAPABILITIES
from tinygrad_ft.cuda.compile import CompileError, Kernel, cuda, device, float32, types
from tinygrad_ft.cuda.fingerprint import NotFixed, digest
from tinygrad_ft.cuda.ptx import FIRST_VERSION
from tinygrad_ft.kernels.cuda import rows

HERE = Path(__file__).resolve()
X = np.zeros(8, np.float32)
GIVEN = {"version": "test", "moves": "", "why": ""}
FOR_SCALED = (X, X, 2.0, 8)


def half_of(x, y, s, n):
    i = cuda.grid(1)
    if i < n:
        y[i] = float32(x[i]) * float32(s)


halved = Kernel(half_of, **GIVEN)


def ptx_of(kernel, *arguments, capability=(9, 0)):
    return kernel.ptx(kernel.signature(*arguments), capability)


def lines_named(ptx):
    """Numbers of the lines of Python that the PTX names."""
    return {int(line.split()[2]) for line in ptx.splitlines() if line.strip().startswith(".loc")}


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYGRAD_FT_CACHE", str(tmp_path / "cache"))
    cache_folder.cache_clear()
    yield tmp_path / "cache" / "ptx"
    cache_folder.cache_clear()


@pytest.fixture
def compilations(monkeypatch):
    """Every kernel that Numba is asked to lower, by name, while the test runs."""
    asked = []
    real = compiling._lower

    def counted(function, *rest, **options):
        asked.append(function.__name__)
        return real(function, *rest, **options)

    monkeypatch.setattr(compiling, "_lower", counted)
    return asked


# What comes out


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_the_ptx_is_for_its_capability_in_the_first_version_that_knows_it(capability):
    text = ptx_of(scaled, *FOR_SCALED, capability=capability).ptx
    assert f".version {FIRST_VERSION[capability]}\n" in text
    assert f".target sm_{capability[0]}{capability[1]}\n" in text


@pytest.mark.parametrize("kernel", [scaled, turned])
@pytest.mark.parametrize("capability", CAPABILITIES)
def test_ptxas_takes_the_ptx_of_that_version(kernel, capability, tmp_path):
    arguments = FOR_SCALED if kernel is scaled else (X, X)
    compiled = ptx_of(kernel, *arguments, capability=capability)
    assert assembled(compiled.ptx, capability, tmp_path) == ""
    assert "version" in assembled(compiled.ptx.replace(".version ", ".version 99."), capability, tmp_path)


def assembled(text, capability, folder):
    """What ptxas has against a text."""
    try:
        ptxas = toolkit.tool("ptxas")
    except toolkit.MissingToolkit as error:
        pytest.skip(str(error))
    (folder / "kernel.ptx").write_text(text)
    order = [ptxas, f"-arch=sm_{capability[0]}{capability[1]}", folder / "kernel.ptx", "-o", folder / "kernel.cubin"]
    return subprocess.run(order, capture_output=True, text=True).stderr


def sums_elsewhere(x, y):
    y[cuda.threadIdx.x] = rows.warp_sum(x[cuda.threadIdx.x])


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_body_that_took_the_place_of_a_call_keeps_its_file_and_lines(capability):
    compiled = ptx_of(Kernel(sums_elsewhere, **GIVEN), X, X, capability=capability)
    places = {compiled.program.source(i) for i in compiled.program.code}
    first = rows.warp_sum.py_func.__code__.co_firstlineno
    here, there = ({p.line for p in places if Path(p.file).name == name} for name in (HERE.name, "rows.py"))
    assert here <= set(range(sums_elsewhere.__code__.co_firstlineno, sums_elsewhere.__code__.co_firstlineno + 2))
    assert there and there <= set(range(first, first + 9))


@pytest.mark.parametrize("capability", CAPABILITIES)
@pytest.mark.parametrize("name", ["turned", "scaled"])
def test_the_text_is_what_numba_itself_makes_from_scratch(name, capability):
    kernel, arguments = (turned, (X, X)) if name == "turned" else (scaled, FOR_SCALED)
    signature = kernel.signature(*arguments)
    text, _ = cuda.compile_ptx(kernel.function, signature, cc=capability, lineinfo=True)
    assert ptx.tidy(text, name, capability, None) == kernel.ptx(signature, capability).ptx


def test_the_entry_has_the_name_of_the_function_and_nothing_counts_up_from_run_to_run(empty_cache):
    compiled = ptx_of(Kernel(turned.function, **GIVEN), X, X)
    for path in empty_cache.with_name("nvvm").iterdir():
        path.unlink()
    assert compiled.name == "turned" and ".visible .entry turned(" in compiled.ptx
    assert "_ZN" not in compiled.ptx
    again = Kernel(turned.function, **GIVEN)
    assert again._compile(again.signature(X, X), (9, 0)) == compiled.ptx


def test_the_ptx_names_the_lines_of_python_that_it_comes_from():
    text = ptx_of(scaled, *FOR_SCALED).ptx
    source = Path(cuda_kernels.__file__).read_text().splitlines()
    named = {source[n - 1].strip() for n in lines_named(text) if n}
    assert "y[i] = x[i] * s" in named
    assert f'"{Path(cuda_kernels.__file__)}"' in text


@pytest.mark.parametrize(
    ("kernel", "arguments"),
    [
        (scaled, (X, X, 2.0, 8)),
        (halved, (X.astype(np.float16), X, np.float16(2), np.int32(8))),
        (scaled, (X > 0, X, True, np.uint8(8))),
        (turned, (X, X)),
        (copied, (X.reshape(2, 4).T, X.reshape(4, 2))),
    ],
)
@pytest.mark.parametrize("capability", [(9, 0), (12, 0)])
def test_the_flat_arguments_have_the_sizes_of_the_parameters_in_the_ptx(kernel, arguments, capability):
    words = flat(arguments, lambda array: array.ctypes.data)
    assert ptx_of(kernel, *arguments, capability=capability).parameters == tuple(word.itemsize for word in words)


def test_an_argument_of_another_width_would_not_fit_the_parameters():
    words = flat((X, X, np.float64(2), 8), lambda array: array.ctypes.data)
    assert ptx_of(scaled, *FOR_SCALED).parameters != tuple(word.itemsize for word in words)


def test_shared_memory_is_read_from_the_ptx():
    assert ptx_of(scaled, *FOR_SCALED).shared == 0
    assert ptx_of(turned, X, X).shared == 64 * 4
    assert ptx_of(mirrored, X, X).shared == 0  # what the launch gives is not the kernel's own


def test_float32_arithmetic_stays_in_float32_and_a_bare_number_of_python_does_not():
    def leaking(x, y):
        i = cuda.grid(1)
        y[i] = x[i] * 0.1

    assert ".f64" not in ptx_of(scaled, *FOR_SCALED).ptx
    assert ".f64" in ptx_of(Kernel(leaking, **GIVEN), X, X).ptx


@pytest.mark.parametrize("capability", [(9, 0), (12, 0)])
def test_a_bound_on_registers_stands_in_the_ptx_and_ptxas_takes_it(capability, tmp_path):
    bounded = Kernel(turned.function, registers=24, **GIVEN)
    compiled = ptx_of(bounded, X, X, capability=capability)
    assert ".maxnreg 24" in compiled.ptx
    assert assembled(compiled.ptx, capability, tmp_path) == ""


def test_fastmath_takes_the_short_way_and_denormals_for_zero():
    def roots(x, y):
        i = cuda.grid(1)
        y[i] = math.sqrt(x[i])

    assert "sqrt.rn.f32" in ptx_of(Kernel(roots, **GIVEN), X, X).ptx
    assert "sqrt.approx.ftz.f32" in ptx_of(Kernel(roots, fastmath=True, **GIVEN), X, X).ptx


# For which arguments


def test_the_signature_follows_from_the_arguments():
    matrix = np.zeros((2, 3), np.float32)
    assert scaled.signature(X, matrix, 2.0, 8) == (
        types.float32[::1],
        types.float32[:, ::1],
        types.float32,
        types.int64,
    )
    half = X.astype(np.float16)
    found = scaled.signature(half, X > 0, True, np.uint32(8))
    assert found == (types.float16[::1], types.boolean[::1], types.boolean, types.uint32)


def test_an_array_that_is_not_contiguous_is_refused_unless_the_kernel_takes_any():
    matrix = np.zeros((2, 3), np.float32)
    with pytest.raises(ValueError, match=r"kernel turned needs x contiguous.*strides are \(16,\).*ascontiguousarray"):
        turned.signature(np.zeros(8, np.float32)[::4], X)
    assert copied.signature(matrix.T, matrix) == (types.float32[:, :], types.float32[:, ::1])
    assert copied.signature(matrix, matrix) == (types.float32[:, ::1], types.float32[:, ::1])
    with pytest.raises(ValueError, match="kernel copied needs y contiguous"):
        copied.signature(matrix, matrix.T)


def test_one_text_can_serve_all_layouts(empty_cache, compilations):
    matrix = np.zeros((2, 3), np.float32)
    any_layout = Kernel(copied.function, any_layout=("x",), **GIVEN)
    assert any_layout.signature(matrix.T, matrix) == any_layout.signature(matrix, matrix)
    assert any_layout.signature(matrix, matrix) == (types.float32[:, :], types.float32[:, ::1])
    assert any_layout.compiled((matrix.T, matrix), (9, 0)) is any_layout.compiled((matrix, matrix), (9, 0))
    assert compilations == ["copied"]


def test_a_layout_is_granted_only_to_arguments_that_there_are():
    with pytest.raises(ValueError, match="turned: strided names z"):
        Kernel(turned.function, strided=("x", "z"), **GIVEN)


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        ((X, X), TypeError, r"kernel scaled takes 4 arguments \(x, y, s, n\), not 2"),
        ((X, X, "2", 8), TypeError, "kernel scaled, argument s: .*not str"),
        ((X, X, 2.0, None), TypeError, "argument n: .*not NoneType"),
        ((X, [1.0], 2.0, 8), TypeError, "argument y: .*not list"),
        ((X, X, 2j, 8), TypeError, "argument s: .*not complex"),
        ((X, np.zeros(2, object), 2.0, 8), TypeError, "argument y: .*not object"),
    ],
)
def test_arguments_that_no_kernel_can_take_are_refused_by_name(arguments, kind, said):
    with pytest.raises(kind, match=said):
        scaled.signature(*arguments)


# What is kept


def test_a_text_is_compiled_once_and_then_read_by_every_kernel_of_the_same_source(empty_cache, compilations):
    first = ptx_of(Kernel(turned.function, **GIVEN), X, X)
    second = ptx_of(Kernel(turned.function, **GIVEN), X, X)
    assert compilations == ["turned"]
    assert second.ptx == first.ptx == first.path.read_text()
    assert [path.name for path in empty_cache.iterdir()] == [first.path.name]


def test_a_kept_file_that_is_not_whole_or_not_ours_is_compiled_again(empty_cache, compilations):
    whole = ptx_of(Kernel(turned.function, **GIVEN), X, X)
    (lowered,) = (empty_cache.parent / "nvvm").iterdir()
    for broken in (b"", whole.ptx[:100].encode(), b"\xff\xfe", b"\x80\x04N."):
        whole.path.write_bytes(broken)
        lowered.write_bytes(lowered.read_bytes()[:1000] if broken else b"")
        assert ptx_of(Kernel(turned.function, **GIVEN), X, X).ptx == whole.ptx
    assert compilations == ["turned"] * 5


def test_a_kernel_is_lowered_once_for_all_capabilities(empty_cache, compilations):
    texts = {ptx_of(Kernel(turned.function, **GIVEN), X, X, capability=c).ptx for c in CAPABILITIES}
    assert len(texts) == len(CAPABILITIES) and compilations == ["turned"]


def test_signature_capability_options_and_tile_size_have_a_file_of_their_own(empty_cache):
    plain = Kernel(turned.function, **GIVEN)
    texts = [
        ptx_of(plain, X, X),
        ptx_of(plain, X.astype(np.int32), X),
        ptx_of(plain, X, X, capability=(8, 0)),
        ptx_of(Kernel(turned.function, fastmath=True, **GIVEN), X, X),
        ptx_of(Kernel(turned.function, registers=32, **GIVEN), X, X),
        ptx_of(cuda_kernels.make_reversed(32), X, X),
    ]
    cuda_kernels.make_reversed(64)
    assert len({text.path for text in texts}) == len(texts)


def test_another_version_of_numba_cuda_is_asked_anew(empty_cache, compilations, monkeypatch):
    ptx_of(Kernel(turned.function, **GIVEN), X, X)
    monkeypatch.setattr(toolkit, "versions", lambda: {"numba-cuda": "0.0.1"})
    ptx_of(Kernel(turned.function, **GIVEN), X, X)
    assert compilations == ["turned", "turned"]


def function_of(text, **names):
    """The function f that a text defines, always in the same file."""
    exec(compile(text, "kernel.py", "exec"), names)
    return names["f"]


TEXT = "def f(x, y):\n    y[0] = helper(x[0]) * SCALE"
HELPER = "def f(v):\n    return v + v"


def test_the_digest_is_of_the_code_and_of_all_that_it_refers_to():
    helper = function_of(HELPER)
    first = digest(function_of(TEXT, helper=helper, SCALE=2))
    assert digest(function_of(TEXT, helper=function_of(HELPER), SCALE=2)) == first
    others = {
        "text": function_of(TEXT.replace("*", "+"), helper=helper, SCALE=2),
        "line": function_of("\n" + TEXT, helper=helper, SCALE=2),
        "constant": function_of(TEXT, helper=helper, SCALE=3),
        "type of a constant": function_of(TEXT, helper=helper, SCALE=2.0),
        "width of a constant": function_of(TEXT, helper=helper, SCALE=np.float32(2)),
        "helper": function_of(TEXT, helper=function_of(HELPER.replace("+", "*")), SCALE=2),
        "helper's default": function_of(TEXT, helper=function_of(HELPER.replace("(v)", "(v, w=1)")), SCALE=2),
        "device helper": function_of(TEXT, helper=device(helper), SCALE=[2]),
    }
    found = {name: digest(function) for name, function in others.items()}
    assert len({first, *found.values()}) == len(found) + 1


def test_the_digest_follows_closures_nested_functions_and_modules():
    def tiled(n):
        def f(x):
            return x + n

        return f

    assert digest(tiled(1)) == digest(tiled(1)) != digest(tiled(2))
    nested = "def f(x):\n    def g(v):\n        return v + SCALE\n    return g(x)"
    assert digest(function_of(nested, SCALE=1)) != digest(function_of(nested, SCALE=2))
    assert digest(function_of("def f(x):\n    return toolkit.tool", toolkit=toolkit))


def test_what_cannot_be_told_from_another_in_a_later_process_is_not_kept(empty_cache, compilations):
    f = function_of("def f(x, y):\n    y[0] = x[0] * SCALE.value", SCALE=SimpleNamespace(value=2))
    with pytest.raises(NotFixed, match="SimpleNamespace"):
        digest(f)

    def unsure(x, y):
        y[0] = x[0] + (odd is None)

    odd = None
    unkept = Kernel(unsure, **GIVEN)
    assert ptx_of(unkept, X, X).path.read_text() == ptx_of(unkept, X, X).ptx
    assert compilations == ["unsure"]


def test_the_digest_is_the_same_in_another_process():
    program = (
        "from pathlib import Path; from tinygrad_ft.cuda.fingerprint import digest; import math\n"
        "names = {'math': math, 'SIZES': (4, 2.5, 'x', None)}\n"
        "exec(compile('def f(x):\\n    return math.exp(x) in {1, 2, 3} or SIZES', 'kernel.py', 'exec'), names)\n"
        "print(digest(names['f']))"
    )
    answers = set()
    for seed in "1", "2":
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        answers.add(done.stdout)
    assert len(answers) == 1


def test_a_cache_folder_that_cannot_be_written_is_replaced_by_a_temporary_one(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("TINYGRAD_FT_CACHE", str(tmp_path / "file"))
    cache_folder.cache_clear()
    try:
        folder = cache_folder("ptx")
        assert folder.is_dir() and tmp_path not in folder.parents
    finally:
        cache_folder.cache_clear()


# When nothing comes out


def adds_text(x, y):
    y[0] = x[0] + "a"


def adds_halves(x, y):
    y[0] = x[0] + x[0]


def exponential_of_a_half(x, y):
    y[0] = math.exp(x[0])


def calls_what_is_not_there(x, y):
    y[0] = cuda.nothing_of_that_name(3)


def names_what_is_not_there(x, y):
    y[0] = unheard_of(x)  # noqa: F821


def answers(x, y):
    return x[0]


def sized_by_an_argument(x, y):
    part = cuda.shared.array(x.size, float32)
    y[0] = part[0]


def makes_a_list(x, y):
    numbers = [1, 2]
    y[0] = numbers[0]


def sets_an_attribute(x, y):
    x.name = 3


def takes_numpys_root(x, y):
    y[0] = np.sqrt(x[0])


@device
def wrong_helper(v):
    return v + math.exp("a")


def calls_a_wrong_helper(x, y):
    y[0] = wrong_helper(x[0])


@pytest.mark.parametrize(
    ("function", "reason", "at"),
    [
        (adds_text, r"add\(float32, Literal\[str\]\(a\)\)", 'y[0] = x[0] + "a"'),
        (calls_what_is_not_there, "no attribute 'nothing_of_that_name'", "y[0] = cuda.nothing_of_that_name(3)"),
        (names_what_is_not_there, "'unheard_of' is not defined", "y[0] = unheard_of(x)  # noqa: F821"),
        (answers, "void", "def answers(x, y):"),
        (sized_by_an_argument, "shared.array", "part = cuda.shared.array(x.size, float32)"),
        (makes_a_list, "NRT required", "numbers = [1, 2]"),
        (sets_an_attribute, "name", "x.name = 3"),
        (takes_numpys_root, "no np.sqrt: take the one of math", "y[0] = np.sqrt(x[0])"),
        (calls_a_wrong_helper, "exp", 'return v + math.exp("a")'),
    ],
)
def test_a_kernel_that_does_not_compile_is_one_line_with_reason_and_place(function, reason, at):
    failing = Kernel(function, **GIVEN)
    with pytest.raises(CompileError, match=reason) as caught:
        failing.ptx(failing.signature(X, X), (9, 0))
    said = str(caught.value)
    assert said.startswith(f"kernel {function.__name__} does not compile for (array(float32, 1d, C), ")
    assert "\n" not in said
    number = next(n for n, line in enumerate(HERE.read_text().splitlines(), 1) if line.strip() == at)
    assert f"{HERE}:{number}: {at}" in said


@pytest.mark.parametrize(
    ("function", "at"), [(adds_halves, "y[0] = x[0] + x[0]"), (exponential_of_a_half, "y[0] = math.exp(x[0])")]
)
def test_arithmetic_in_float16_that_needs_code_from_elsewhere_is_refused_with_the_way_out(function, at):
    half = X.astype(np.float16)
    failing = Kernel(function, **GIVEN)
    with pytest.raises(CompileError, match="make a float32 of a float16 before computing with it") as caught:
        failing.ptx(failing.signature(half, half), (9, 0))
    assert str(caught.value).endswith(f": {at})")


def test_a_missing_numba_cuda_is_named_with_what_to_install():
    program = (
        "import importlib.util as util; real = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'numba_cuda' else real(name, *rest)\n"
        "import tinygrad_ft.cuda.compile"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=HERE.parents[1], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert "MissingToolkit: CUDA kernels need numba-cuda" in last
    assert "pip install 'tinygrad-ft[emulator]'" in last


def test_a_missing_nvvm_is_named_with_what_to_install(monkeypatch):
    class NvvmSupportError(ImportError):
        """What Numba raises, by its name."""

    def refuse(*given, **options):
        raise NvvmSupportError("libNVVM cannot be found")

    monkeypatch.setattr(compiling, "_lower", refuse)
    fresh = Kernel(adds_text, **GIVEN)
    with pytest.raises(toolkit.MissingToolkit, match=r"NVVM.*tinygrad-ft\[emulator\]"):
        fresh.ptx(fresh.signature(X, X), (9, 0))


def test_numbas_simulator_in_the_place_of_its_compiler_is_refused(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    with pytest.raises(RuntimeError, match=r"NUMBA_ENABLE_CUDASIM is set.*unset it"):
        toolkit.need_compiler()
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "0")
    toolkit.need_compiler()


def test_a_missing_tool_is_named_with_what_to_install(monkeypatch):
    monkeypatch.setattr(toolkit, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", "")
    toolkit.tool.cache_clear()
    with pytest.raises(toolkit.MissingToolkit, match=r"nvdisasm.*tinygrad-ft\[gpu-check\]"):
        toolkit.tool("nvdisasm")
