"""What a report says: the witnesses and who disagrees, the table, the curve, JSON."""

import json
import re

import numpy as np
import pytest

import tinygrad_ft as tg
from tinygrad_ft.engine import Op
from tinygrad_ft.gradcheck import GradcheckError, Verdict, examine, gradcheck
from tinygrad_ft.gradcheck.witnesses import Statement, judged


def variable(*numbers):
    return tg.tensor(np.array(numbers), requires_grad=True)


def said(report):
    """What each witness says about the worst element, and the judgement."""
    testimony = report.witnesses[0]
    return {s.witness: s.value for s in testimony.statements}, testimony.judgement


def tripled():
    def cube(xp, x):
        return x**3

    op = Op(cube)
    op.vjp(lambda g, x: g * x * x)
    return op


def test_four_witnesses_agree_about_a_right_gradient():
    numbers, judgement = said(examine(lambda x: tg.exp(x).sum(), variable(1.0, 2.0)))
    assert list(numbers) == ["reverse", "forward", "complex step", "differences"] and judgement == "all 4 agree"
    assert all(abs(n - numbers["differences"]) < 1e-9 * n for n in numbers.values())


def test_a_wrong_rule_is_told_by_those_who_see_only_values():
    op = tripled()
    numbers, judgement = said(examine(lambda x: op(x).sum(), variable(1.0, 2.0)))
    assert numbers["reverse"] == numbers["forward"] == pytest.approx(numbers["complex step"] / 3)
    assert judgement.endswith("a rule is wrong")


def test_a_wrong_gradient_by_hand_stands_alone():
    report = examine(lambda x: (x**2).sum(), variable(1.0, 2.0), gradient=lambda x: -2 * x)
    assert said(report)[1] == "reverse, forward, complex step and differences agree; by hand disagrees"


def test_a_fault_of_the_differences_is_told_by_the_other_three():
    report = examine(lambda x: tg.sin(x * 1e9).sum(), variable(1.0, 2.0), eps=1e-3)
    statements = [s._replace(value=0.0, uncertainty=0.0) if s.witness == "differences" else s
                  for s in report.witnesses[0].statements]  # fmt: skip
    assert judged(statements).endswith("differences disagrees")


@pytest.mark.parametrize("f", [tg.abs, lambda x: x * tg.sign(x) * x, lambda x: tg.floor(x) * x, tg.lgamma])
def test_a_complex_step_that_is_not_analytic_is_not_available_and_says_so(f):
    report = examine(lambda x: f(x).sum(), variable(1.3, 2.6))
    complex_step = next(s for s in report.witnesses[0].statements if s.witness == "complex step")
    assert complex_step.value is None and complex_step.why and report.ok


def test_a_complex_step_goes_through_plain_functions_too():
    report = examine(lambda x: float(np.real(np.sum(x**2))), np.ones(3), gradient=lambda x: 2 * x)
    assert said(report)[0]["complex step"] is None  # it threw the imaginary part away
    report = examine(lambda x: np.sum(x**2), np.ones(3), gradient=lambda x: 2 * x)
    assert said(report)[0]["complex step"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("numbers", "judgement"),
    [
        ({"reverse": 1.0}, "there is nothing to compare"),
        ({"reverse": 1.0, "forward": 1.0 + 1e-7}, "all 2 agree"),
        (
            {"reverse": 1.0, "forward": 2.0, "differences": 2.0},
            "differences and forward|forward and differences agree; ",
        ),
        ({"reverse": 1.0, "differences": 2.0}, "a rule is wrong"),
        ({"by hand": 1.0, "differences": 2.0}, "the gradient by hand is wrong"),
        ({"reverse": np.nan, "forward": 2.0, "differences": 2.0}, "reverse disagrees"),
    ],
)
def test_the_majority_decides(numbers, judgement):
    assert re.search(judgement, judged([Statement(name, n) for name, n in numbers.items()]))


def test_a_report_reads_as_a_table_and_as_json():
    report = examine(tripled(), variable(1.0, 2.0))
    text = str(report)
    assert "cube: wrong" in text and "ratio" in text and "differences" in text and str(report.worst.element) in text
    data = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert data["verdict"] == "wrong" and data["ok"] is False and data["worst"]["ratio"] == pytest.approx(1 / 3)
    assert data["witnesses"][0]["statements"][0]["witness"] == "reverse"
    right = examine(tg.exp, variable(1.0)).as_dict()
    assert right["ok"] and "witnesses" not in right
    assert json.dumps(examine(tg.sqrt, variable(0.0)).as_dict(), allow_nan=False)


def test_an_error_carries_the_report():
    with pytest.raises(GradcheckError) as caught:
        gradcheck(tripled(), variable(1.0, 2.0))
    assert caught.value.report.verdict == Verdict.WRONG and caught.value.report.worst.guess in str(caught.value)


def test_the_curve_can_be_drawn(tmp_path):
    report = examine(lambda x: tg.exp(50 * x), variable(1.0, 2.0))
    assert len(report.curve.steps) == len(report.curve.central) > 10
    off = np.abs(report.curve.central / report.worst.expected - 1)
    assert off[0] > 1 and off.min() < 1e-6  # far too large at first, good in the middle
    report.plot(tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no curve"):
        examine(tg.exp, tg.tensor(np.zeros((0, 2)), requires_grad=True)).plot(tmp_path / "none.png")
