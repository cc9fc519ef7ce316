"""Our functions on PyTorch's own test cases: value, first and second derivative in float64, to 1e-9."""

import importlib

import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest")
opdb = importlib.import_module("opdb")

pytestmark = pytest.mark.reference

AGREEING = [
    "mul",
    "neg",
    "sqrt",
    "pow",
    "exp",
    "log",
    "sin",
    "cos",
    "tanh",
    "erf",
    "maximum",
    "minimum",
    "sign",
    "sigmoid",
    "nn.functional.gelu",
    "nn.functional.relu",
    "sum",
    "mean",
    "max",
    "min",
    "amax",
    "amin",
    "logsumexp",
    "broadcast_to",
    "reshape",
    "flatten",
    "squeeze",
    "unsqueeze",
    "permute",
    "stack",
    "split",
    "matmul",
    "nn.functional.linear",
    "nn.functional.layer_norm",
    "nn.functional.cross_entropy",
    "nn.functional.mse_loss",
    "nn.functional.binary_cross_entropy",
    "nn.functional.binary_cross_entropy_with_logits",
]


@pytest.mark.parametrize("name", AGREEING)
def test_a_function_agrees_with_pytorch_on_all_of_its_samples(name):
    assert sum(len(opdb.samples(info)) for info in opdb.opinfos()[name]) > 0
    assert [(variant, i, what) for variant, i, _, what in opdb.report(name)] == []


def test_a_function_that_is_another_is_seen(monkeypatch):
    ours = opdb.ours
    monkeypatch.setattr(opdb, "ours", lambda name: ours("cos" if name == "sin" else name))
    assert opdb.report("sin")


def test_a_wrong_derivative_is_seen(monkeypatch):
    rule = opdb.ours("sin").rule
    monkeypatch.setattr(opdb.ours("sin"), "rule", lambda g, x: rule(g, x) * 1.001)
    assert any("derivative 1" in what for *_, what in opdb.report("sin"))
