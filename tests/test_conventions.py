"""The page of conventions is true: every answer is computed anew, by us and by PyTorch, and a wrong row is seen."""

import json
from math import inf, nan

import pytest

import tinygrad_ft as tg
from tinygrad_ft.cli import main
from tinygrad_ft.gradcheck.conventions import REFUSED, Convention, answer, conventions, same

ROWS = conventions()


def told(c):
    return f"{c.name}, {c.of}"


def wrong(c, library, stated):
    """What the library answers now, if that is not what is stated."""
    now = answer(c, library)
    return None if same(now, stated) else now


@pytest.mark.parametrize("c", ROWS, ids=told)
def test_our_answer_is_the_one_that_is_stated(c):
    assert wrong(c, tg, c.ours) is None


@pytest.mark.reference
@pytest.mark.parametrize("c", ROWS, ids=told)
@pytest.mark.filterwarnings("ignore")
def test_pytorchs_answer_is_the_one_that_is_stated(c):
    import torch

    assert wrong(c, torch, c.pytorch) is None


def test_every_row_has_a_name_of_its_own_and_a_reason_where_pytorch_differs():
    assert len({(c.name, c.of) for c in ROWS}) == len(ROWS) > 200
    assert [c.name for c in ROWS if c.differs and not c.why] == []
    assert all(c.topic and c.name and c.of in ("value", *(f"d/d{name}" for name in c.point)) for c in ROWS)


def test_what_the_issue_asks_about_is_there():
    text = " ".join(f"{c.name} {c.expression}" for c in ROWS)
    asked = (
        "relu( abs( sign( sqrt( ** norm( prod( maximum( minimum( amax( amin( fmax( fmin( clamp( median( sort( topk( "
    )
    asked += "where( xlogy( atan2( hypot( std( var( softmax( logsumexp( round( remainder( fmod( floor( hardshrink( "
    asked += "softshrink( hardtanh( relu6( hardswish( elu( celu( leaky_relu( prelu( selu( threshold( smooth_l1_loss( "
    asked += "huber_loss( l1_loss( pairwise_distance( cosine_similarity( gather( embedding( scatter( padding_idx "
    asked += "nan_to_num( mean( ignore_index eigh( svd( cholesky( dropout( batch_norm("
    assert [word for word in asked.split() if word not in text] == []


@pytest.mark.parametrize(
    "row",
    [
        "relu at 0 | relu(x) | x=0.0 | d/dx | 0.5",
        "max, ties | max(x) | x=[1.0, 1.0] | d/dx | [1.0, 0.0]",
        "log of 0 | log(x) | x=0.0 | value | nan",
        "sum of nothing | sum(x) | x=[] | value | refused",
        "an index too far | x[i] | x=[1.0], i=[1] | value | [1.0]",
        "floats | tensor([1.0]).dtype | | value | float64",
        "truths | tensor([1]) == 1 | | value | [1]",
    ],
)
def test_a_wrong_row_is_seen(row):
    (c,) = conventions(f"# planted\n{row}")
    assert wrong(c, tg, c.ours) is not None


@pytest.mark.reference
def test_a_wrong_row_about_pytorch_is_seen():
    import torch

    (c,) = conventions("# planted\nhypot | hypot(x, y) | x=0.0, y=0.0 | d/dx | 0.0")
    assert wrong(c, tg, c.pytorch) is None and wrong(c, torch, c.pytorch) is not None


def test_a_row_is_read_as_it_is_written():
    rows = conventions(
        "# a\none | f(x) | x=[0.0, inf], i=[1] | d/dx | [nan, 1.0] | refused |\n    because\ntwo | g() | | value | 1"
    )
    assert rows[0][:5] == ("a", "one", "f(x)", {"x": [0.0, inf], "i": [1]}, "d/dx")
    assert same(rows[0].ours, [nan, 1.0]) and rows[0].pytorch == REFUSED and rows[0].why == "because"
    assert rows[1] == Convention("a", "two", "g()", {}, "value", 1, 1, "") and not rows[1].differs


@pytest.mark.parametrize(
    ("a", "b", "equal"),
    [
        (nan, nan, True), ([nan, 1.0], [nan, 1.0 + 1e-12], True), (0.0, -0.0, True), (inf, inf, True),
        (1.0, 1.0 + 1e-6, False), (inf, -inf, False), (nan, 0.0, False), ([1.0], 1.0, False),
        ([1.0], [1.0, 1.0], False), (1, 1.0, False), (True, 1, False), (None, 0.0, False), (REFUSED, nan, False),
        (REFUSED, REFUSED, True),
    ],
)  # fmt: skip
def test_answers_are_compared_by_structure_kind_and_number(a, b, equal):
    assert same(a, b) is equal


def test_the_command_prints_the_page(capsys):
    assert main(["conventions"]) == 0
    page = capsys.readouterr().out
    assert all(c.name in page and c.topic in page for c in ROWS)
    assert f"{len(ROWS)} conventions; PyTorch differs in {sum(c.differs for c in ROWS)}" in page


def test_the_command_prints_json_and_chooses(capsys):
    assert main(["conventions", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [row["name"] for row in rows] == [c.name for c in ROWS]
    assert {"topic", "name", "expression", "point", "of", "ours", "pytorch", "why", "differs"} == rows[0].keys()
    assert main(["conventions", "hypot", "--different"]) == 0
    assert "PyTorch: nan" in capsys.readouterr().out
    assert main(["conventions", "no-such-word"]) == 1
    assert "no convention speaks of no-such-word" in capsys.readouterr().err
