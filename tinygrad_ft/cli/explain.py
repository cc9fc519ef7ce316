"""The command that explains an expression: its value, its derivatives as formulas and as numbers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

MOST_ORDERS = 6
LONG = 40  # characters of a formula that is told in steps


def add_commands(commands: Any) -> None:
    """Add explain."""
    shown = commands.add_parser(
        "explain",
        help="an expression's derivatives, as formulas and as numbers",
        description="Derives an expression by the engine's own rules: formulas, LaTeX, numbers, step by step. It knows "
        "+ - * / @ ** and .T, pi and e, and functions such as exp, log, sin, tanh, sigmoid, relu, sqrt, maximum, "
        "softmax, layer_norm, sum and mean (with axis=0 or 1), matmul, dot, outer.",
        epilog='example: tinygrad-ft explain "sum((W @ x + b)**2)" --at "W=[[1,2],[3,4]],x=[1,1],b=[0,1]" --wrt W',
    )
    shown.add_argument("expression", metavar="EXPRESSION", help="such as 'x * exp(sin(y))'; in () if it begins with -")
    shown.add_argument("--at", default="", metavar="VALUES", help="such as x=2,v=[1,2],W=[[1,2],[3,4]] (default: none)")
    shown.add_argument("--wrt", metavar="NAMES", help="by which variables, such as x,y (default: by all)")
    shown.add_argument("--order", type=int, default=1, help=f"1 to {MOST_ORDERS}, all up to it (default: 1)")
    shown.add_argument("--latex", action="store_true", help="only the formulas, as LaTeX (default: text and numbers)")
    shown.add_argument("--steps", action="store_true", help="also the backward pass, step by step (default: not)")
    shown.add_argument("--paths", action="store_true", help="also every path to each variable (default: not)")
    shown.set_defaults(run=_explain)


def _explain(arguments: argparse.Namespace) -> int:
    from tinygrad_ft.explain.parser import ParseError, parse, parse_values

    if not 1 <= arguments.order <= MOST_ORDERS:
        raise ValueError(f"--order is 1 to {MOST_ORDERS}: got {arguments.order}")
    try:
        tree, values = parse(arguments.expression), parse_values(arguments.at)
    except ParseError as error:
        print(error.pointed(), file=sys.stderr)
        raise
    names = tree.names()
    if missing := [name for name in names if name not in values]:
        raise ValueError(f"{missing[0]} has no value: give one, as in --at {missing[0]}=2")
    if strange := [name for name in values if name not in names]:
        raise ValueError(
            f"--at names {strange[0]}, which is not in the expression: it has {', '.join(names) or 'none'}"
        )
    wrt = [name.strip() for name in arguments.wrt.split(",")] if arguments.wrt else names
    if unknown := [name for name in wrt if name not in names]:
        raise ValueError(f"--wrt names {unknown[0]!r}, which is not in the expression: it has {', '.join(names)}")
    for line in _lines(tree, values, list(dict.fromkeys(wrt)), arguments.order, arguments.latex):
        print(line)
    for part in _walked(tree, values, wrt, arguments.steps, arguments.paths):
        print(f"\n{part}")
    return 0


def _walked(tree: Any, values: dict[str, Any], wrt: list[str], steps: bool, paths: bool) -> Any:
    """The backward pass of the engine itself, and its paths; of a value of many numbers that of their sum."""
    if not (steps or paths):
        return
    import numpy as np

    from tinygrad_ft.explain.explanation import Explanation
    from tinygrad_ft.explain.parser import compute
    from tinygrad_ft.tensor import Tensor, tensor

    leaves = {name: tensor(np.asarray(value, np.float64), requires_grad=name in wrt) for name, value in values.items()}
    with np.errstate(all="ignore"):
        y = compute(tree, leaves, lambda c: tensor(np.float64(c)))
        if not isinstance(y, Tensor) or y.node is None:
            raise ValueError("no op stands between the variables and the value, so there are no steps to show")
        explanation = Explanation(y, [(name, leaf) for name, leaf in leaves.items() if leaf.node is not None])
        if steps:
            yield explanation.derivation()
        if paths:
            yield from (explanation.paths(leaf) for leaf in leaves.values() if leaf.node in explanation.recorded.number)


def _lines(tree: Any, values: dict[str, Any], wrt: list[str], order: int, latex: bool) -> Any:
    import numpy as np

    from tinygrad_ft.explain.formulas import constant, formula
    from tinygrad_ft.explain.parser import compute

    arrays = {name: np.asarray(value, np.float64) for name, value in values.items()}
    y = formula(
        lambda *xs: compute(tree, dict(zip(arrays, xs, strict=True)), constant),
        **{name: a.shape for name, a in arrays.items()},
    )
    known: dict[tuple[str, ...], Any] = {(): y}

    def by(names: Sequence[str]) -> Any:
        if tuple(names) not in known:
            known[tuple(names)] = by(names[:-1]).derivative(names[-1])
        return known[tuple(names)]

    of = next(n for n in ("y", "f", "L", "result") if n not in values)
    yield from _shown(of, y, values, _numbers(tree, arrays, ()), latex)
    for names in (n for k in range(1, order + 1) for n in combinations_with_replacement(wrt, k)):
        axes = [len(y.shape), *(arrays[name].ndim for name in names)]
        if len(axes) == 2 and sum(axes) > 2 and axes[0]:
            (name,) = names
            g = next(n for n in ("g", "arriving") if n not in values)
            handed_on, first = y.vjp(name, g), np.eye(1, y.size).reshape(y.shape)
            numbers = np.tensordot(first, _numbers(tree, arrays, names), y.ndim)
            title = f"handed on to {name}, where {g} = dL/d{of} arrives"
            yield from _shown(title, handed_on, {**values, g: first}, numbers, latex)
            if not latex:
                yield f"    the numbers: for {g} = 1 at the first element, 0 at the others"
        elif sum(axes) > 2:
            yield f"{_title(of, names)} has {sum(axes)} axes: ask for one of a sum"
        else:
            derived = by(sorted(names, key=lambda n: arrays[n].ndim))  # any order gives the same; Jacobians last
            yield from _shown(_title(of, names), derived, values, _numbers(tree, arrays, names), latex)


def _numbers(tree: Any, arrays: dict[str, Any], names: tuple[str, ...]) -> Any:
    """What the engine itself computes with numbers: the value, or a derivative by those names in turn."""
    import numpy as np

    from tinygrad_ft import func
    from tinygrad_ft.explain.parser import compute
    from tinygrad_ft.tensor import Tensor, tensor

    def f(*xs: Any) -> Any:
        return compute(tree, dict(zip(arrays, xs, strict=True)), lambda c: tensor(np.float64(c)))

    for name in names:
        f = func.jacrev(f, list(arrays).index(name))
    with np.errstate(all="ignore"):
        return np.asarray(f(*map(Tensor, arrays.values())).array)


def _title(of: str, names: tuple[str, ...]) -> str:
    power = f"^{len(names)}" if len(names) > 1 else ""
    below = [f"d{n}^{names.count(n)}" if names.count(n) > 1 else f"d{n}" for n in dict.fromkeys(names)]
    return f"d{power}{of}/{' '.join(below)}"


def _shown(title: str, formula: Any, values: dict[str, Any], numbers: Any, latex: bool) -> list[str]:
    import numpy as np

    from tinygrad_ft.explain.abbreviate import Abbreviated, abbreviated

    short = abbreviated(formula) if len(formula.text) > LONG else Abbreviated(formula, {})
    if latex:
        where = "".join(rf" \quad {name} = {part.latex}" for name, part in short.parts.items())
        return [f"{title}: {short.formula.latex}{where}"]
    lines = [f"{title} = {short.formula.text}"]
    lines += [f"    where {name} = {part.text}" for name, part in short.parts.items()]
    lines.append(f"    = {_written(numbers)}")
    by_formula = np.asarray(formula.evaluate(**values))
    with np.errstate(all="ignore"):
        if not np.allclose(by_formula, numbers, 1e-9, 1e-12, equal_nan=True):
            lines.append(f"    the formula gives {_written(by_formula)} here: it is of points off ties and kinks")
    return [*lines, f"    LaTeX: {short.formula.latex}"]


def _written(x: Any) -> str:
    import numpy as np

    return (
        f"{float(x):.12g}"
        if not x.ndim
        else " ".join(np.array2string(x, precision=6, separator=", ", threshold=60).split())
    )
