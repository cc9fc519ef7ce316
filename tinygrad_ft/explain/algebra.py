"""Sums, products and powers of formulas, simplified as they are built.

Nothing is ever built unsimplified: numbers are added up, like terms and like factors are one, signs and fractions come
to the front, and the parts stand in one order. So building a simplified formula again gives the same formula.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from tinygrad_ft.explain.expression import (
    HALF,
    MINUS,
    ONE,
    ZERO,
    E,
    Expression,
    Value,
    column,
    elementwise,
    plain_number,
    together,
    uncolumn,
)
from tinygrad_ft.explain.facts import is_integer, is_nonnegative, is_positive, is_truth, power_of_numbers, scaled, split

SHORT = 100  # parts of a product that is multiplied out to see whether less is left
MANY = 16  # terms: longer sums are left as they are
Terms = dict[Expression, Value]


def negative(x: Expression) -> Expression:
    """-x; a sum keeps the order of its terms."""
    if x.head != "sum":
        return multiply(MINUS, x)
    return scaled(Fraction(-1), x)


@elementwise
def add(*terms: Expression) -> Expression:
    """The sum: like terms are one, and a number comes last."""
    together(*terms)  # or they do not broadcast
    parts: Terms = {}
    for t in _columns_joined(terms):
        _collect(t, Fraction(1), parts)
    for t in [t for t, c in parts.items() if t.head == "sum" and c in (1, -1)]:  # 3 s - 2 s, with s a sum
        c = parts.pop(t)
        for u in t.args:
            _collect(u, c, parts)
    parts = {t: c for t, c in parts.items() if c != 0}
    _softplus(parts)
    if len(parts) <= MANY:
        parts = _over_one_denominator(_multiplied_out(parts))
    if not parts:
        return ZERO
    ordered = sorted(parts, key=_place_in_sum)
    made = tuple(scaled(parts[t], t) for t in ordered)
    if sum(t.head == "column" for t in made) > 1:  # what was multiplied out has brought another
        return add(*made)
    return made[0] if len(made) == 1 else Expression("sum", made, shape=together(*made))


def _columns_joined(terms: Sequence[Expression]) -> Sequence[Expression]:
    """Terms of which all columns are one."""
    flat = [u for t in terms for u in (t.args if t.head == "sum" else (t,))]
    columns = [t for t in flat if t.head == "column"]
    if len(columns) < 2:
        return terms
    return [*(t for t in flat if t.head != "column"), column(add(*map(uncolumn, columns)))]


def _collect(term: Expression, factor: Value, parts: Terms) -> None:
    c, rest = split(term)
    if rest.head == "sum" and c == 1:
        for t in rest.args:
            _collect(t, factor * c, parts)
    else:
        parts[rest] = _exact(parts.get(rest, Fraction(0)) + factor * c)


def _multiplied_out(parts: Terms) -> Terms:
    """Products of sums multiplied out, one after the other, where terms then meet their like and less is left."""
    for t in sorted(parts, key=_place_in_sum):
        factors = t.args if t.head == "product" else (t,)
        inner = next((f for f in factors if f.head == "sum"), None)
        if inner is None or t.size > SHORT:
            continue
        tried = {u: c for u, c in parts.items() if u is not t}
        terms = [split(multiply(*(f for f in factors if f is not inner), u)) for u in inner.args]
        if any(rest.head == "sum" for _, rest in terms) or not any(rest in tried for _, rest in terms):
            continue
        for c, rest in terms:
            tried[rest] = _exact(tried.get(rest, Fraction(0)) + parts[t] * c)
        tried = {u: c for u, c in tried.items() if c != 0}
        if _length(tried) < _length(parts):
            return _multiplied_out(tried)
    return parts


def _over_one_denominator(parts: Terms) -> Terms:
    """a/s + b/s^2 as (a s + b)/s^2, where less is left."""
    lowest: dict[tuple[Expression, Value], Value] = {}  # by base, and by what its exponents are beside whole numbers
    for t in parts:
        for base, p in _factors(t):
            if p < 0:
                lowest[base, p % 1] = min(p, lowest.get((base, p % 1), p))
    for (base, beside), least in lowest.items():
        found = [t for t in parts if any(b == base and p < 0 and p % 1 == beside for b, p in _factors(t))]
        if len(found) < 2:
            continue
        below = power(base, plain_number(least))
        above = add(*(multiply(scaled(parts[t], t), power(base, plain_number(-least))) for t in found))
        tried = {t: c for t, c in parts.items() if t not in found}
        _collect(multiply(above, below), Fraction(1), tried)
        tried = {t: c for t, c in tried.items() if c != 0}
        if _length(tried) < _length(parts):
            return _over_one_denominator(tried)
    return parts


def _factors(t: Expression) -> list[tuple[Expression, Value]]:
    return [_numbered(f) for f in (t.args if t.head == "product" else (t,))]


def _numbered(f: Expression) -> tuple[Expression, Value]:
    """A factor as its base and its exponent, which is 1 unless it is a fraction."""
    exact = f.head == "power" and f.args[1].head == "number" and isinstance(f.args[1].data, Fraction)
    return (f.args[0], f.args[1].data) if exact else (f, Fraction(1))


def _without_fractions_inside(made: list[Expression]) -> list[Expression] | None:
    """(1 + a/b)^n as (b + a)^n/b^n, if all of it is shorter so."""
    for f in made:
        s, n = _numbered(f)
        if s.head != "sum" or n.denominator != 1:  # type: ignore[union-attr]
            continue
        least: dict[Expression, Value] = {}
        for base, p in (pair for t in s.args for pair in _factors(t)):
            if p < 0 and p % 1 == 0:
                least[base] = min(p, least.get(base, p))
        for base, p in least.items():
            above = add(*(multiply(t, power(base, plain_number(-p))) for t in s.args))
            tried = multiply(
                *(h for h in made if h is not f), power(base, plain_number(p * n)), power(above, plain_number(n))
            )
            if tried.size < 1 + sum(h.size for h in made):
                return [tried]
    return None


def _length(parts: Terms) -> int:
    return sum(u.size + (c not in (1, -1)) for u, c in parts.items())


def _exact(value: Value) -> Value:
    """What is left of a difference of floats that were equal but for rounding is nothing."""
    return Fraction(0) if isinstance(value, float) and abs(value) < 1e-15 else value


def _place_in_sum(term: Expression) -> tuple[float, object]:
    return -degree(term), term.key


def degree(x: Expression) -> float:
    """How often symbols are multiplied in a term: terms of a sum stand by it, the number last."""
    if x.head == "symbol":
        return 1.0
    if x.head in ("product", "matmul"):
        return sum(map(degree, x.args))
    if x.head == "power":
        return degree(x.args[0]) * float(x.args[1].data) if x.args[1].head == "number" else 0.5
    if x.head in ("column", "transpose", "reduce"):
        return degree(x.args[0])
    return 0.0 if x.head in ("number", "constant") else 0.5


def _softplus(parts: Terms) -> None:
    """max(x, 0) + log(1 + e^-|x|), which does not overflow, is log(1 + e^x)."""
    for t in [t for t in parts if t.head == "call" and t.data == "maximum" and t.args[1] == ZERO]:
        x = t.args[0]
        tail = Expression("call", (add(ONE, power(E, negative(absolute(x)))),), "log", x.shape)
        if parts.get(tail) == parts[t]:
            c = parts.pop(t)
            del parts[tail]
            smooth = Expression("call", (x,), "softplus", x.shape)
            parts[smooth] = parts.get(smooth, Fraction(0)) + c


@elementwise
def multiply(*factors: Expression) -> Expression:
    """The product: numbers in front, like factors as one power."""
    together(*factors)
    coefficient: Value = Fraction(1)
    powers: dict[Expression, list[Expression]] = {}
    queue = [*reversed(_with_one_column(factors))]
    while queue:
        f = queue.pop()
        if f.head == "number":
            coefficient = _product(coefficient, f.data)
        elif f.head == "product":
            queue += reversed(f.args)
        else:
            base, exponent = f.args if f.head == "power" else (f, ONE)
            flipped = negative(base) if base.head == "sum" and is_integer(exponent) else base
            if flipped in powers and base not in powers:  # (a - b) (b - a)
                coefficient = -coefficient if exponent.data % 2 else coefficient
                base = flipped
            powers.setdefault(base, []).append(exponent)
    if coefficient == 0:
        return ZERO
    made: list[Expression] = []
    merged = False
    for base, exponents in powers.items():
        one = power(base, add(*exponents))
        merged = merged or len(exponents) > 1 or one.head in ("number", "product")
        made.append(one)
    made, softened = _softened(signed := _signed(made))
    made, sign = _signs(made)
    coefficient *= sign
    if merged or softened or len(signed) < len(powers):  # what became of them may meet other factors
        return multiply(plain_number(coefficient), *made)
    if len(made) > 1 and (cleared := _without_fractions_inside(made)):
        return multiply(plain_number(coefficient), *cleared)
    return _finished(coefficient, made)


def _finished(coefficient: Value, made: list[Expression]) -> Expression:
    if len(made) == 1 and made[0].head == "sum" and coefficient != 1:
        values = [coefficient * split(t)[0] for t in made[0].args]
        fractional = isinstance(coefficient, Fraction) and coefficient.denominator != 1
        if coefficient == -1 or (fractional and all(isinstance(v, Fraction) and v.denominator == 1 for v in values)):
            return add(*(scaled(v, split(t)[1]) for v, t in zip(values, made[0].args, strict=True)))
    made.sort(key=_place_in_product)
    number = [] if coefficient == 1 and made else [plain_number(coefficient)]
    parts = (*number, *made)
    return parts[0] if len(parts) == 1 else Expression("product", parts, shape=together(*parts))


def _place_in_product(f: Expression) -> tuple[int, object]:
    """Roots of numbers, then symbols and their powers, then powers of e, then all else."""
    base = f.args[0] if f.head == "power" else f
    first = {"number": 0, "constant": 2 if base is E else 0, "symbol": 1}
    return first.get(base.head, 3), f.key


def _with_one_column(factors: Iterable[Expression]) -> list[Expression]:
    """All columns as one, and what of it has no axis beside it: 2 g x^T, not (2 g) x^T."""
    flat = [g for f in factors for g in (f.args if f.head == "product" else (f,))]
    columns = [f for f in flat if f.head == "column"]
    if not columns:
        return flat
    joint = multiply(*map(uncolumn, columns))
    inside = joint.args if joint.head == "product" else (joint,)
    alone = [f for f in inside if not f.shape]
    left = [f for f in inside if f.shape]
    return [f for f in flat if f.head != "column"] + alone + ([column(multiply(*left))] if left else [])


def _product(a: Value, b: Value) -> Value:
    return a * b if isinstance(a, Fraction) and isinstance(b, Fraction) else float(a) * float(b)


def _signs(made: list[Expression]) -> tuple[list[Expression], int]:
    """Sums of which every term is negative give their sign away."""
    sign, answer = 1, []
    for f in made:
        base, exponent = f.args if f.head == "power" else (f, ONE)
        if base.head == "sum" and len(made) > 1 and is_integer(exponent) and all(split(t)[0] < 0 for t in base.args):
            sign *= -1 if exponent.data % 2 else 1
            f = power(negative(base), exponent)
        answer.append(f)
    return answer, sign


def _signed(made: list[Expression]) -> list[Expression]:
    """X sign(x) is |x|, and |x| sign(x) is x."""
    for f in [f for f in made if f.head == "call" and f.data == "sign"]:
        x, size = f.args[0], absolute(f.args[0])
        for old, new in ((x, size), (size, x)):
            if old in made and size.head == "call":
                return [*(g for g in made if g is not f and g != old), new]
    return made


UPWARDS = {"greater_equal", "less_equal"}  # x >= 0, and x <= 0, which is -x >= 0


def _softened(made: list[Expression]) -> tuple[list[Expression], bool]:
    """The two quotients that stand for a function of their own: softmax, and the sigmoid that does not overflow."""
    for f in made:
        g = uncolumn(f)
        if g.head != "power" or g.args[1] != MINUS:
            continue
        total = g.args[0]
        if total.head == "reduce" and total.data == ("sum", (-1,)) and total.args[0].head == "power":
            e = total.args[0]
            if e.args[0] is E and e in made and bool(e.shape[1:]) == (f.head == "column"):
                soft = Expression("softmax", (e.args[1],), shape=e.shape)
                return [h for h in made if h is not f and h != e] + [soft], True
        for h in made:
            if h.head == "call" and h.data == "where" and h.args[0].data in UPWARDS and h.args[1] == ONE:
                x = h.args[0].args[0] if h.args[0].data == "greater_equal" else negative(h.args[0].args[0])
                tail = power(E, negative(absolute(x)))
                if h.args[0].args[1] == ZERO and h.args[2] == tail and total == add(ONE, tail):
                    smooth = Expression("call", (x,), "sigmoid", x.shape)
                    return [k for k in made if k is not f and k is not h] + [smooth], True
    return made, False


def divide(a: Expression, b: Expression) -> Expression:
    """a / b."""
    return multiply(a, power(b, MINUS))


@elementwise
def power(base: Expression, exponent: Expression) -> Expression:
    """base^exponent; 0^0 is 1."""
    if exponent == ZERO or base == ONE:
        return ONE
    if exponent == ONE:
        return base
    if base.head == "number" and exponent.head == "number":
        return power_of_numbers(base.data, exponent.data)
    if base is E and (taken := _of_logarithms(exponent)) is not None:
        return taken
    if base is E and exponent.head == "sum" and len(exponent.shape) == 2:
        columns = [t for t in exponent.args if t.head == "column"]
        if columns:  # e^(A + c 1^T), a factor for each row
            rest = add(*(t for t in exponent.args if t.head != "column"))
            return multiply(power(E, add(*columns)), power(E, rest))
    if base.head == "power" and (is_integer(exponent) or is_positive(base.args[0])):
        return power(base.args[0], multiply(base.args[1], exponent))
    if base.head == "power" and exponent == HALF and base.args[1] == plain_number(2):
        return absolute(base.args[0])
    if base.head == "product":
        free = [f for f in base.args if is_integer(exponent) or is_positive(f)]
        if free:
            outside = [power(f, exponent) for f in free]
            inside = multiply(*(f for f in base.args if f not in free))
            return multiply(*outside, power(inside, exponent))
    if is_truth(base) and is_positive(exponent):
        return base
    if base.head == "call" and base.data == "abs" and is_integer(exponent) and exponent.data % 2 == 0:
        return power(base.args[0], exponent)
    raised = Expression("power", (base, exponent), shape=together(base, exponent))
    if base.head == "sum" and (cleared := _without_fractions_inside([raised])):
        return cleared[0]
    return raised


def _of_logarithms(exponent: Expression) -> Expression | None:
    """e^(a log u + rest) as u^a e^rest."""
    terms = exponent.args if exponent.head == "sum" else (exponent,)
    outside, inside = [], []
    for t in terms:
        factors = t.args if t.head == "product" else (t,)
        logs = [f for f in factors if f.head == "call" and f.data == "log"]
        if len(logs) == 1:
            others = [f for f in factors if f is not logs[0]]
            outside.append(power(logs[0].args[0], multiply(*others) if others else ONE))
        else:
            inside.append(t)
    if not outside:
        return None
    return multiply(*outside, power(E, add(*inside)) if inside else ONE)


@elementwise
def absolute(x: Expression) -> Expression:
    """|x|."""
    if is_nonnegative(x):
        return x
    c, rest = split(x)
    if rest is ONE or c != 1:
        return multiply(plain_number(max(c, -c)), absolute(rest))
    if x.head == "product":
        free = [f for f in x.args if is_nonnegative(f)]
        if free:
            return multiply(*free, absolute(multiply(*(f for f in x.args if f not in free))))
    if x.head == "sum" and split(x.args[0])[0] < 0:
        return absolute(negative(x))
    return Expression("call", (x,), "abs", x.shape)
