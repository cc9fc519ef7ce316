"""From a Python function in Numba-CUDA's language to PTX. The one file of the package that imports numba.cuda.

A kernel's file takes its language from here: `from tinygrad_ft.cuda.compile import cuda, float32, kernel`. Compiling
needs no GPU and no driver. What came out is kept on disk under a digest of all that went in, as the text that PTX is.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from warnings import catch_warnings, simplefilter

from tinygrad_ft.cache import cache_folder
from tinygrad_ft.cuda import toolkit
from tinygrad_ft.cuda.abi import is_array, typed
from tinygrad_ft.cuda.cards import Capability
from tinygrad_ft.cuda.diagnosis import explain, unresolved
from tinygrad_ft.cuda.fingerprint import NotFixed, digest
from tinygrad_ft.cuda.ptx import Compiled, tidy
from tinygrad_ft.storage import write_atomically

toolkit.need_compiler()

# By name, since Numba has types for some of itself and no others.
cuda: Any = import_module("numba.cuda")
types: Any = import_module("numba.types")
intrinsic: Any = import_module("numba.cuda.extending").intrinsic
_NumbaDebugInfoWarning: Any = import_module("numba.cuda.core.errors").NumbaDebugInfoWarning
_lower: Any = import_module("numba.cuda.compiler")._compile_pyfunc_with_fixup  # compile_ptx without its last step
_nvvm: Any = import_module("numba.cuda.cudadrv.nvvm")
_from_dtype: Any = import_module("numba.np.numpy_support").from_dtype

boolean, float16, float32, float64 = types.boolean, types.float16, types.float32, types.float64
int8, int16, int32, int64 = types.int8, types.int16, types.int32, types.int64
uint8, uint16, uint32, uint64 = types.uint8, types.uint16, types.uint32, types.uint64

Signature = tuple[Any, ...]

OLDEST: Capability = (7, 5)  # that CUDA 13 compiles for
WAY = 1  # another number when we lower another way, so that nothing kept from before is used
END_OF_TEXT = "\n; end of this text\n"
KERNELS: dict[str, Kernel] = {}  # every kernel of which a file was imported, by name


class CompileError(RuntimeError):
    """A kernel that Numba cannot compile: which one, for what arguments, what Numba said, and where."""


def device(function: Callable[..., Any]) -> Any:
    """A function that kernels call; its body takes the place of each call."""
    return cuda.jit(device=True, inline="always")(function)


class Kernel:
    """A function in Numba-CUDA's language, with what is told about it and the PTX it was compiled to so far.

    Args:
        function: the Python function; arrays and numbers are its arguments, and it answers nothing.
        version: which of several ways to do the same this is.
        moves: what it reads and writes, in words.
        why: what it does better than the version before it.
        registers: at most so many a thread (`.maxnreg`), so that more threads fit; None leaves it to ptxas.
        fastmath: approximate division, square root and functions, and denormal numbers are zero.
        strided: names of the arrays that need not be contiguous.
        any_layout: names of those that are compiled for any strides even where they are: one text serves all.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        version: str,
        moves: str,
        why: str,
        registers: int | None = None,
        fastmath: bool = False,
        strided: tuple[str, ...] = (),
        any_layout: tuple[str, ...] = (),
    ):
        self.name, self.function, self.version, self.moves, self.why = function.__name__, function, version, moves, why
        self.registers, self.fastmath, self.strided, self.any_layout = registers, fastmath, strided, any_layout
        self.__doc__ = function.__doc__
        self.arguments = tuple(inspect.signature(function).parameters)
        if unknown := {*strided, *any_layout} - set(self.arguments):
            raise ValueError(f"{self.name}: strided names {', '.join(sorted(unknown))}, which it does not take")
        self._signatures: dict[Any, Signature] = {}
        self._compiled: dict[tuple[Signature, Capability], Compiled] = {}
        self._quick: dict[Any, Compiled] = {}
        self._dispatcher: Any = None

    def __repr__(self) -> str:
        return f"<kernel {self.name}, version {self.version}>"

    @property
    def constants(self) -> dict[str, int | float | str]:
        """The tile sizes, or whatever numbers its factory has built into it."""
        cells = self.function.__closure__ or ()
        named = zip(self.function.__code__.co_freevars, cells, strict=True)
        return {name: cell.cell_contents for name, cell in named if isinstance(cell.cell_contents, int | float | str)}

    def signature(self, *arguments: Any) -> Signature:
        """The types that it is compiled for, given what it is to be called with.

        Raises:
            TypeError: for a wrong number of arguments, or one that a kernel cannot take.
            OverflowError: for an integer beyond 64 bits.
            ValueError: for an array that is not contiguous where it must be.
        """
        return self._signature(tuple([_kind(argument) for argument in arguments]), arguments)

    def _signature(self, kinds: Any, arguments: tuple[Any, ...]) -> Signature:
        known = self._signatures.get(kinds)
        if known is None:
            known = self._signatures[kinds] = self._types(arguments)
        return known

    def compiled(self, arguments: tuple[Any, ...], capability: Capability) -> Compiled:
        """What it compiles to for these arguments: `ptx(signature(*arguments), capability)`, but quick the second time.

        Raises:
            CompileError, TypeError, OverflowError, ValueError, MissingToolkit: as those two.
        """
        kinds = tuple([_kind(argument) for argument in arguments])
        key = (kinds, capability)
        known = self._quick.get(key)
        if known is None:
            known = self._quick[key] = self.ptx(self._signature(kinds, arguments), capability)
        return known

    def _types(self, arguments: tuple[Any, ...]) -> Signature:
        if len(arguments) != len(self.arguments):
            raise TypeError(
                f"kernel {self.name} takes {len(self.arguments)} arguments ({', '.join(self.arguments)}), "
                f"not {len(arguments)}"
            )
        return tuple(self._type(name, argument) for name, argument in zip(self.arguments, arguments, strict=True))

    def _type(self, name: str, argument: Any) -> Any:
        try:
            if not is_array(argument):
                return _from_dtype(typed(argument).dtype)
            if argument.dtype.kind not in "biuf" or argument.dtype.itemsize > 8 or not argument.dtype.isnative:
                raise TypeError(f"a kernel's arrays hold numbers or booleans, not {argument.dtype}")
            element = _from_dtype(argument.dtype)
        except (TypeError, NotImplementedError) as error:
            raise TypeError(f"kernel {self.name}, argument {name}: {error}") from None
        if argument.flags.c_contiguous and name not in self.any_layout:
            return types.Array(element, argument.ndim, "C")
        if name in (*self.strided, *self.any_layout):
            return types.Array(element, argument.ndim, "A")
        raise ValueError(
            f"kernel {self.name} needs {name} contiguous, and its strides are {argument.strides} for shape "
            f"{argument.shape}: pass xp.ascontiguousarray({name})"
        )

    def ptx(self, signature: Signature, capability: Capability) -> Compiled:
        """What it compiles to; from memory, from disk, or now.

        Raises:
            CompileError: if it does not compile.
            MissingToolkit: if NVVM is not installed.
        """
        key = (signature, capability)
        if key not in self._compiled:
            self._compiled[key] = self._kept(signature, capability)
        return self._compiled[key]

    def _kept(self, signature: Signature, capability: Capability) -> Compiled:
        name, folder = self._file(signature, capability, self.registers, ending="ptx"), cache_folder("ptx")
        if name and f".entry {self.name}(" in (kept := _read(folder / name)):
            return Compiled(self.name, kept, capability, folder / name)
        text = self._compile(signature, capability)
        path = folder / (name or f"{self.name}_{digest(text)}.ptx")
        write_atomically(path, text)
        return Compiled(self.name, text, capability, path)

    def _file(self, signature: Signature, *more: Any, ending: str) -> str:
        """The name of the file where something made of it is kept; "" if what decides it cannot be told."""
        given = WAY, sys.version, self.function, str(signature), self.fastmath, _plain(toolkit.versions()), *more
        try:
            return f"{self.name}_{digest(*given)}.{ending}"
        except NotFixed:
            return ""

    def _compile(self, signature: Signature, capability: Capability) -> str:
        target = f"compute_{capability[0]}{capability[1]}"
        try:
            with catch_warnings():
                simplefilter("ignore", _NumbaDebugInfoWarning)  # of a text that is not in a file, as in a notebook
                found = _nvvm.compile_ir(self._lowered(signature), arch=target, fastmath=self.fastmath, opt=3)
                text = found.decode().rstrip("\0 \n")
        except OSError:  # of the cache's folder
            raise
        except Exception as error:
            toolkit.need_nvvm(error)
            raise self._refused(signature, explain(self.function, error)) from error
        if wrong := unresolved(self.function, text):
            raise self._refused(signature, wrong)
        return tidy(text, self.name, capability, self.registers)

    def _lowered(self, signature: Signature) -> list[str]:
        """The texts in NVVM's language, one for all capabilities: most of the time to compile goes into them.

        In numba-cuda 0.30 lowering asks for the capability in one place only, whether there is an instruction for tanh.
        """
        name, folder = self._file(signature, ending="nvvm"), cache_folder("nvvm")
        if name and (kept := _read(folder / name)).endswith(END_OF_TEXT):
            return kept.split(END_OF_TEXT)[:-1]
        with _our_way():
            library, _ = _lower(
                self.function, signature, cc=OLDEST, device=False, abi="numba", fastmath=self.fastmath, lineinfo=True
            )
        texts = list(map(str, library.llvm_strs))
        if name:
            write_atomically(folder / name, "".join(text + END_OF_TEXT for text in texts))
        return texts

    def _refused(self, signature: Signature, why: str) -> CompileError:
        return CompileError(f"kernel {self.name} does not compile for ({', '.join(map(str, signature))}): {why}")

    def start_by_numba(self, grid: Any, block: Any, arguments: Sequence[Any], shared: int, stream: int) -> None:
        """Numba's own launch, on the stream of that address: the way for a driver that refuses our PTX.

        Without a word Numba would wait for the stream that the arrays come from, at each launch.
        """
        config: Any = import_module("numba.cuda.core.config")
        if self._dispatcher is None:
            self._dispatcher = cuda.jit(self.function, fastmath=self.fastmath, max_registers=self.registers)
        before, config.CUDA_ARRAY_INTERFACE_SYNC = config.CUDA_ARRAY_INTERFACE_SYNC, 0
        try:
            self._dispatcher[grid, block, cuda.external_stream(stream), shared](*arguments)
        finally:
            config.CUDA_ARRAY_INTERFACE_SYNC = before


def kernel(*, version: str, moves: str, why: str, **options: Any) -> Callable[[Callable[..., Any]], Kernel]:
    """A decorator that makes a `Kernel` of a function and lists it in KERNELS; the arguments are Kernel's."""

    def add(function: Callable[..., Any]) -> Kernel:
        made = KERNELS[function.__name__] = Kernel(function, version=version, moves=moves, why=why, **options)
        return made

    return add


@contextmanager
def _our_way() -> Iterator[None]:
    """Numba lowers functions that a kernel calls for the same GPU as it, not the one at hand, and tells their files."""
    dispatcher, lowering, debug = (import_module(f"numba.cuda.{n}") for n in ("dispatcher", "lowering", "debuginfo"))
    ours: list[tuple[Any, str, Any]] = [
        (dispatcher, "get_current_device", lambda: SimpleNamespace(compute_capability=OLDEST)),
        (lowering.CUDALower, "notify_loc", _tell_file),
        (debug.DIBuilder, "_di_location", _place),
    ]
    before = [getattr(owner, name) for owner, name, _ in ours]
    for owner, name, replacement in ours:
        setattr(owner, name, replacement)
    try:
        yield
    finally:
        for (owner, name, _), was in zip(ours, before, strict=True):
            setattr(owner, name, was)


def _tell_file(self: Any, loc: Any) -> None:
    """Of an instruction whose line stands in another file than its kernel's, since a body took the place of a call."""
    info = self.debuginfo
    if getattr(info, "subprograms", None) and loc.filename != self.func_ir.loc.filename:
        self.builder.debug_metadata = _place(info, loc.line, loc.filename)


def _place(info: Any, line: int, file: str = "") -> Any:
    """A line of the kernel's file or of another one, in LLVM's terms.

    llvmlite finds one that there is already by hashing all that it refers to, down to the types of the kernel's
    arguments, and that for each instruction: a third of the time to lower. So they are kept here.
    Source: LLVM Language Reference, "DILexicalBlockFile".
    """
    known, key = info.__dict__.setdefault("places", {}), (len(info.subprograms), line, file)
    if key not in known:
        add, scope = info.module.add_debug_info, info.subprograms[-1]
        if file:
            path = Path(file).absolute()
            there = add("DIFile", {"directory": str(path.parent), "filename": path.name})
            scope = add("DILexicalBlockFile", {"scope": scope, "file": there, "discriminator": 0})
        known[key] = add("DILocation", {"line": line, "column": 1, "scope": scope})
    return known[key]


def _kind(argument: Any) -> Any:
    """What of an argument decides its type in a signature."""
    if is_array(argument):
        return argument.dtype, argument.ndim, argument.flags.c_contiguous
    return type(argument)


def _plain(part: Any) -> Any:
    return tuple(part.items()) if isinstance(part, dict) else part


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):  # not there, or not ours
        return ""
