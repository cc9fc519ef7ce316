"""tinygrad-ft gradcheck: what it says about ops and about functions in users' files, and how it ends."""

import json
import re

import pytest

from tinygrad_ft import ops
from tinygrad_ft.cli import main
from tinygrad_ft.engine import OPS

FILE = """
import numpy as np
import tinygrad_ft as tg

x, y = np.linspace(-1.0, 1.0, 5), np.arange(5.0)
inputs = np.array([0.5, -0.2]), np.array(0.3)

def error(w):
    return np.mean((w * x - y) ** 2)

error_inputs = 0.7

def error_gradient(w):
    return 2.0 * np.sum((w * x - y) * x) / 5

def summed(w):
    return error(w)

summed_inputs = 0.7

def summed_gradient(w):
    return 5 * error_gradient(w)

def net(a, b):
    return tg.sin(a) * b

def drawn_inputs():
    return [tg.tensor([1.0, 2.0], dtype=tg.float64, requires_grad=True), 3]

def drawn(a, n):
    return a ** n

def alone_inputs():
    raise FloatingPointError("no such numbers")

def alone(x):
    return x
"""


@pytest.fixture
def call(capsys):
    """Run gradcheck in this process: (exit code, standard output, standard error)."""

    def called(*argv):
        try:
            code = main(["gradcheck", *map(str, argv)])
        except SystemExit as end:  # argparse's way to leave
            code = end.code
        return code, *capsys.readouterr()

    return called


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


# ---------------------------------------------------------------- ops


def test_a_table_with_verdicts_counts_and_time(call):
    code, out, err = call("softmax", "argmax", "--seed", 3)
    assert (code, err) == (0, "")
    head, row, flat, last = out.splitlines()
    assert head.split() == ["verdict", "function", "samples"]
    assert re.fullmatch(r"ok +softmax +\d+", row)
    assert flat == "without a derivative: argmax"
    assert re.fullmatch(r"functions: 1, samples: \d+, seconds: \d+\.\d; all ok", last)


def test_a_wrong_rule_fails_with_its_numbers_and_a_guess(call, monkeypatch):
    monkeypatch.setattr(OPS["sin"], "rule", lambda g, x: g * -ops.cos(x))
    code, out, err = call("sin", "exp")
    assert (code, err) == (1, "")
    assert re.search(r"^wrong +sin", out, re.MULTILINE) and re.search(r"^ok +exp", out, re.MULTILINE)
    assert "sign?" in out and "ratio" in out and "differences" in out
    assert out.splitlines()[-1].endswith("1 not ok: sin")


def test_order_1_does_not_look_at_second_derivatives(call, monkeypatch):
    monkeypatch.setattr(OPS["exp"], "rule", lambda g, y: g * getattr(y, "array", y))
    assert call("exp", "--order", 1)[0] == 0
    assert call("exp", "--order", 2)[0] == call("exp")[0] == 1


def test_json_has_every_number(call, monkeypatch):
    monkeypatch.setattr(OPS["sin"], "rule", lambda g, x: g * 2.0 * ops.cos(x))
    code, out, _ = call("sin", "exp", "argmax", "--json")
    answer = json.loads(out)
    assert code == 1 and answer["ok"] is False and answer["not checked"] == ["argmax"] and answer["seconds"] > 0
    sin, exp = answer["checked"]
    assert (sin["name"], sin["verdict"], exp["verdict"]) == ("sin", "wrong", "ok")
    assert sin["worst"]["ratio"] == pytest.approx(2.0, rel=1e-6) and "2" in sin["worst"]["guess"]
    assert exp["samples"] == 3 and sin["witnesses"]


def test_all_means_every_op_with_samples(call, monkeypatch):
    checked = []
    monkeypatch.setattr("tinygrad_ft.gradcheck.SAMPLES", {"sin": None, "cos": None})
    monkeypatch.setattr("tinygrad_ft.cli.gradcheck._of_op", lambda name, _: checked.append(name) or Line)
    for targets in ((), ("all",)):
        assert call(*targets)[0] == 0
    assert checked == ["sin", "cos"] * 2


class Line:
    name, samples = "an op", 1

    class report:
        ok = True


def test_a_curve_is_drawn(call, file, tmp_path):
    for target in ("exp", f"{file}:error"):
        path = tmp_path / "curve.png"
        assert call(target, "--plot", path)[0] == 0
        assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        path.unlink()
    code, _, err = call("exp", "sin", "--plot", tmp_path / "two.png")
    assert code == 2 and "one op or one function" in err


# ---------------------------------------------------------------- functions in files


def test_a_gradient_by_hand_is_checked(call, file):
    code, out, err = call(f"{file}:error")
    assert (code, err) == (0, "") and re.search(r"^ok .*mine\.py:error$", out, re.MULTILINE)


def test_a_wrong_gradient_by_hand_fails_with_the_guess(call, file):
    code, out, _ = call(f"{file}:summed")
    assert code == 1 and "ratio 5" in out and "mean against sum" in out


def test_without_one_the_engine_s_gradient_is_checked_on_tensors(call, file):
    for name in ("net", "drawn"):
        assert call(f"{file}:{name}")[0] == 0


def test_the_op_to_blame_is_named(call, file, monkeypatch):
    monkeypatch.setattr(OPS["sin"], "rule", lambda g, x: g * -ops.cos(x))
    code, out, _ = call(f"{file}:net")
    assert code == 1 and "sin has a wrong rule" in out
    code, out, _ = call(f"{file}:net", "--json")
    assert code == 1 and "sin has a wrong rule" in json.loads(out)["checked"][0]["bisect"]


def test_several_targets_of_both_kinds(call, file):
    code, out, _ = call("exp", f"{file}:error", f"{file}:summed")
    assert code == 1 and out.splitlines()[-1].startswith("functions: 3, samples: 3, ")


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (FILE, "nothing", "has no function nothing; it has error, summed, net"),
        (FILE, "y", "has no function y"),
        (FILE, "alone", "FloatingPointError: no such numbers"),
        ("def f(x):\n    return x\n", "f", "write f_inputs = (x, ...)"),
        ("1 / 0\n", "f", "cannot be run: ZeroDivisionError: division by zero"),
        ("def f(:\n", "f", "cannot be run: SyntaxError"),
        ("inputs = 1.0\ndef f(x):\n    return 1 / 0\n", "f", "f raised ZeroDivisionError"),
        ("inputs = 1\ndef f(x):\n    return x\n", "f", "requires_grad=True"),
        ("inputs = 1.0\ndef f(x):\n    return 'text'\n", "f", "got str"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_line(call, tmp_path, text, name, said):
    path = tmp_path / "theirs.py"
    path.write_text(text, encoding="utf-8")
    code, _, err = call(f"{path}:{name}")
    assert code == 1 and said in err and err.startswith("tinygrad-ft: ") and err.count("\n") == 1


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("sotfmax", "no such op: sotfmax; `tinygrad-ft ops` lists them"),
        ("mine.py", "name a function in it, as FILE.py:FUNCTION"),
        ("nowhere.py:f", "nowhere.py: no such file"),
        ("notes.txt:f", "no such op: notes.txt:f"),
    ],
)
def test_a_target_that_does_not_exist_is_bad_usage(call, target, said):
    code, out, err = call("exp", target)
    assert (code, out) == (2, "") and said in err.splitlines()[-1]


def test_what_a_file_imports_may_stand_beside_it(call, tmp_path):
    (tmp_path / "a_neighbour.py").write_text("def f(x):\n    return x * x\n", encoding="utf-8")
    (tmp_path / "mine.py").write_text("from a_neighbour import f\nf_inputs = 2.0\n", encoding="utf-8")
    assert call(f"{tmp_path / 'mine.py'}:f")[0] == 0


def test_what_is_found_is_printed_even_where_there_is_no_curve_to_draw(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\ninputs = np.array([1.0])\n"
        "def f(x): return (x * np.random.rand()).sum()\ndef f_gradient(x): return x\n"
    )
    assert main(["gradcheck", f"{file}:f", "--plot", str(tmp_path / "c.png")]) == 1
    assert "not deterministic" in capsys.readouterr().out


def test_inputs_of_integers_are_named_as_what_came(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("import numpy as np\ninputs = np.array([1, 2])\ndef f(x): return x\n")
    assert main(["gradcheck", f"{file}:f"]) == 1
    assert "got int64, none of which does" in capsys.readouterr().err
