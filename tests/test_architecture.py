"""Imports go one way, files stay short, and the package is cheap to import: read from the source, room by room."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# device <- dispatch <- engine <- chain_rule <- ops <- {nn, optim} <- models <- train <- cli; beside ops stands what
# users hold. A room may import itself and what its row lists.
ENGINE = {"device", "dispatch", "arguments", "engine", "notice", "chain_rule"}
CALCULUS = ENGINE | {"ops", "operations", "numpy_protocol", "gradients", "tensor", "creation", "func"}
NETWORKS = CALCULUS | {"nn", "optim", "models", "storage"}
MAY_IMPORT = {
    "device": set(),
    "memory": set(),
    "cache": set(),
    "threads": set(),
    "source": set(),
    "dispatch": {"device"},
    "arguments": set(),
    "engine": {"device", "dispatch", "arguments"},
    "notice": {"engine"},
    "chain_rule": {"device", "engine"},
    "gradients": ENGINE,
    "watch": {"engine"},
    "kept": {"device", "engine", "watch"},
    "anomaly": {"device", "engine", "watch", "kept"},
    "ops": ENGINE,
    "operations": ENGINE | {"ops"},
    "numpy_functions": ENGINE | {"ops"},
    "numpy_protocol": ENGINE | {"ops", "numpy_functions"},
    "tensor": ENGINE | {"ops", "operations", "numpy_protocol", "gradients"},
    "creation": ENGINE | {"ops", "operations", "tensor"},
    "func": ENGINE | {"ops", "gradients", "tensor"},
    "gradcheck": CALCULUS | {"watch", "storage"},
    "testing": CALCULUS | {"gradcheck"},
    "autograd": {"gradients", "gradcheck", "anomaly"},
    "linalg": {"ops"},
    "formats": set(),
    "storage": {"tensor", "formats"},
    "nn": CALCULUS,
    "optim": CALCULUS | {"memory"},
    "models": CALCULUS | {"nn", "optim", "storage", "formats"},
    "data": set(),
    "train": NETWORKS | {"data", "jit", "kernel_choice"},
    "finetune": NETWORKS | {"data", "formats", "train"},
    "explain": CALCULUS | {"watch", "source", "nn", "storage", "gradcheck"},
    "jit": ENGINE | {"memory", "watch", "storage", "threads", "source", "cache"},
    "cuda": ENGINE | {"ops", "kernel_choice", "storage", "cache"},  # of ops: what the example cases call
    "cli": NETWORKS
    | {"data", "train", "jit", "gradcheck", "testing", "cuda", "formats", "finetune", "explain", "tinygrad_ft"},
    "kernels": {
        "device",
        "dispatch",
        "engine",
        "chain_rule",
        "ops",
        "threads",
        "source",
        "cuda",
    },  # and no row lists kernels: one loader imports them, by name
    "kernel_choice": {"ops", "dispatch"},
    "tinygrad_ft": NETWORKS | {"autograd", "linalg", "kernel_choice", "jit"},  # the public face, __init__.py
    "__main__": {"cli"},
}

NEVER = {"torch", "jax", "tensorflow", "pickle"}
LONGEST_FILE = 400
LONGEST_IMPORT = 0.3  # seconds
LAZY = {"numba", "cupy", "sklearn", "matplotlib", "scipy", "tqdm", "safetensors", "pooch", "torch"}

FILES = {
    path: ".".join(("tinygrad_ft", *path.relative_to(top).with_suffix("").parts))
    for top, folder in ((ROOT / "tinygrad_ft", "."), (ROOT, "kernels"))
    for path in sorted((top / folder).rglob("*.py"))
}


def imported(source, module):
    """Dotted names that `source`, the text of `module`, imports at run time, inside functions too."""
    tree = ast.parse(source)
    for_types_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    names = set()
    for node in ast.walk(tree):
        if node in for_types_only:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            # Of a.b.c, level 1 is a.b, level 2 is a. A package's own module name ends in __init__, so it counts too.
            start = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*start, node.module] if node.module else start)
            names |= {f"{base}.{alias.name}" for alias in node.names}
    return names


def room(name):
    """The room that a dotted name of the package lies in; None for other people's modules."""
    first, *rest = name.split(".")
    if first == "kernels":
        return "kernels"
    if first != "tinygrad_ft":
        return None
    return rest[0] if rest and rest[0] in MAY_IMPORT else "tinygrad_ft"


def forbidden(source, module):
    """Names that the text of `module` imports against the table, or that nothing here may import."""
    own = room(module)
    allowed = MAY_IMPORT[own] | {own, None}
    return {name for name in imported(source, module) if room(name) not in allowed or name.split(".")[0] in NEVER}


def probe(package, folder, cache):
    """Import `package` from `folder` in a fresh process: the processor seconds it took, and the modules it brought.

    Python keeps what it compiled in the folder `cache`, as it does for users, even where this environment forbids it.
    """
    program = (
        "import sys, time; start = time.process_time(); "
        f"import {package}; print(time.process_time() - start, *{{name.split('.')[0] for name in sys.modules}})"
    )
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(cache), "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    seconds, *modules = done.stdout.split()
    return float(seconds), set(modules)


def test_every_module_lies_in_a_room_that_the_table_names():
    rooms = {name.split(".")[1] for name in FILES.values()} - {"__init__"}
    assert rooms <= MAY_IMPORT.keys(), "give the new room a row in MAY_IMPORT"


@pytest.mark.parametrize("path", FILES, ids=FILES.get)
def test_a_module_imports_only_its_own_room_and_those_before_it(path):
    assert forbidden(path.read_text(encoding="utf-8"), FILES[path]) == set()


@pytest.mark.parametrize(
    ("module", "source", "name"),
    [
        ("engine", "from tinygrad_ft.ops import exp", "tinygrad_ft.ops.exp"),
        ("engine", "from tinygrad_ft import ops", "tinygrad_ft.ops"),
        ("engine", "from . import ops", "tinygrad_ft.ops"),
        ("engine", "import tinygrad_ft.ops.linalg as la", "tinygrad_ft.ops.linalg"),
        ("engine", "import tinygrad_ft as tg", "tinygrad_ft"),
        ("ops.linalg", "from ..nn import Linear", "tinygrad_ft.nn.Linear"),
        ("ops.__init__", "from ..tensor import Tensor", "tinygrad_ft.tensor.Tensor"),
        ("ops.linalg", "def late():\n    from tinygrad_ft.tensor import Tensor", "tinygrad_ft.tensor.Tensor"),
        ("optim.sgd", "from tinygrad_ft.nn import utils", "tinygrad_ft.nn.utils"),
        ("nn.utils", "from tinygrad_ft.optim import SGD", "tinygrad_ft.optim.SGD"),
        ("models.gpt", "from tinygrad_ft.train import fit", "tinygrad_ft.train.fit"),
        ("data.text", "from tinygrad_ft.tensor import Tensor", "tinygrad_ft.tensor.Tensor"),
        ("gradcheck.numeric", "from tinygrad_ft.nn import Module", "tinygrad_ft.nn.Module"),
        ("cli.main", "import tinygrad_ft.kernels.cpu", "tinygrad_ft.kernels.cpu"),
        ("cli.main", "from kernels.cpu import softmax", "kernels.cpu.softmax"),
        ("kernels.cpu.softmax", "from tinygrad_ft.tensor import Tensor", "tinygrad_ft.tensor.Tensor"),
        ("train.loop", "import torch.nn", "torch.nn"),
        ("train.loop", "from pickle import loads", "pickle.loads"),
        ("ops.linalg", "if TYPE_CHECKING:\n    pass\nelse:\n    import jax", "jax"),
    ],
)
def test_a_forbidden_import_is_caught(module, source, name):
    assert forbidden(source, f"tinygrad_ft.{module}") == {name}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("ops.linalg", "import numpy\nfrom tinygrad_ft.engine import Op\nfrom .shape import reshape"),
        ("ops.__init__", "from .linalg import matmul\nfrom . import shape"),
        ("__init__", "from .tensor import Tensor\nfrom . import nn"),
        ("__main__", "from tinygrad_ft.cli import main"),
        ("engine", "if TYPE_CHECKING:\n    from tinygrad_ft.tensor import Tensor"),
        ("engine", "if typing.TYPE_CHECKING:\n    from tinygrad_ft.tensor import Tensor"),
        ("kernels.cpu.softmax", "from tinygrad_ft.ops import softmax\nfrom tinygrad_ft.kernels.cpu import common"),
    ],
)
def test_an_allowed_import_passes(module, source):
    assert forbidden(source, f"tinygrad_ft.{module}") == set()


def test_no_file_of_the_package_is_too_long_to_read():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for path, name in FILES.items()}
    assert {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_the_files_of_the_kernels_are_among_the_checked_ones_once():
    modules = list(FILES.values())
    assert modules.count("tinygrad_ft.kernels.__init__") == 1
    assert modules.count("tinygrad_ft.__init__") == 1


def test_importing_the_package_is_quick_and_leaves_heavy_libraries_alone(tmp_path):
    seconds, modules = zip(*(probe("tinygrad_ft", ROOT, tmp_path) for _ in range(5)), strict=True)
    assert modules[0] & LAZY == set()
    assert min(seconds) < LONGEST_IMPORT  # the best of five: what else runs on the machine only ever adds


def test_a_slow_import_and_a_heavy_library_are_seen(tmp_path):
    (tmp_path / "slow.py").write_text("import time, numba\nwhile time.process_time() < 1: pass")
    (tmp_path / "numba.py").touch()
    seconds, modules = probe("slow", tmp_path, tmp_path / "cache")
    assert modules & LAZY == {"numba"}
    assert seconds >= LONGEST_IMPORT
