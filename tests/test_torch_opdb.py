"""Our functions on PyTorch's own test cases: value, first and second derivative in float64, to 1e-9, and errors."""

import importlib

import pytest

pytest.importorskip("torch")
pytest.importorskip("expecttest")
opdb = importlib.import_module("opdb")
exceptions = importlib.import_module("opdb_exceptions")

pytestmark = pytest.mark.reference

PLAIN = """
abs add addcmul addcdiv sub mul div true_divide neg reciprocal square sqrt rsqrt pow exp exp2 expm1 log log2 log10
log1p logaddexp sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh sinc erf erfc erfinv lgamma digamma
xlogy hypot lerp maximum minimum fmax fmin clamp clamp_min clamp_max sign floor ceil round trunc frac fmod remainder
copysign nan_to_num logit deg2rad rad2deg where sigmoid softmax log_softmax polygamma clone
eq ne lt le gt ge logical_and logical_or logical_not isfinite argmax argmin argsort
__radd__ __rdiv__ __rmatmul__ __rmod__ __rmul__ __rpow__ __rsub__
sum mean prod median max min amax amin std var std_mean var_mean norm logsumexp cumsum cumprod logcumsumexp nansum
nanmean dist trapezoid
broadcast_to expand reshape view ravel flatten unflatten squeeze unsqueeze permute transpose movedim t cat stack hstack
vstack dstack column_stack split chunk tensor_split unbind narrow select __getitem__ take take_along_dim gather scatter
scatter_add scatter_reduce index_add index_fill index_put index_select masked_fill masked_select repeat
repeat_interleave tile roll flip fliplr flipud rot90 diag diagonal diag_embed tril triu meshgrid unfold sort topk diff
matmul mm bmm mv dot inner outer kron addmm baddbmm einsum tensordot cross trace cholesky_solve cov corrcoef
linalg.cholesky linalg.cross linalg.det linalg.eigh linalg.inv linalg.matrix_norm linalg.matrix_power linalg.norm
linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.solve_triangular linalg.svd linalg.svdvals linalg.vector_norm
"""

FUNCTIONAL = """
celu elu gelu glu hardsigmoid hardswish hardtanh hardshrink softshrink leaky_relu logsigmoid mish prelu relu relu6
selu silu softmin softplus softsign tanhshrink threshold pad linear bilinear embedding layer_norm rms_norm batch_norm
group_norm instance_norm conv1d conv2d conv_transpose1d conv_transpose2d avg_pool1d avg_pool2d max_pool1d max_pool2d
adaptive_avg_pool1d adaptive_avg_pool2d interpolate pixel_shuffle pixel_unshuffle normalize cosine_similarity
pairwise_distance dropout scaled_dot_product_attention cross_entropy nll_loss mse_loss l1_loss smooth_l1_loss
huber_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div gaussian_nll_loss poisson_nll_loss
soft_margin_loss hinge_embedding_loss margin_ranking_loss triplet_margin_loss cosine_embedding_loss
"""

NAMES = [*PLAIN.split(), *(f"nn.functional.{name}" for name in FUNCTIONAL.split())]


@pytest.mark.parametrize("name", NAMES)
def test_a_function_agrees_with_pytorch_on_every_sample_but_for_exceptions_that_are_all_needed(name):
    found = opdb.compared(name)
    assert len(found) > 0
    assert opdb.unexplained(found, exceptions.EXCEPTIONS.get(name, [])) == []


@pytest.mark.parametrize("name", NAMES)
def test_what_pytorch_refuses_is_refused_but_for_exceptions_that_are_all_needed(name):
    assert opdb.unexplained(opdb.refused(name), exceptions.ACCEPTED.get(name, [])) == []


def test_every_exception_is_one_of_a_function_that_is_compared():
    assert {*exceptions.EXCEPTIONS, *exceptions.ACCEPTED} <= set(NAMES)


def test_a_function_without_samples_is_seen(monkeypatch):
    monkeypatch.setattr(opdb, "samples", lambda info: [])
    with pytest.raises(AssertionError):
        test_a_function_agrees_with_pytorch_on_every_sample_but_for_exceptions_that_are_all_needed("sin")


def test_a_function_that_is_another_is_seen(monkeypatch):
    ours = opdb.ours
    monkeypatch.setattr(opdb, "ours", lambda name: ours("cos" if name == "sin" else name))
    assert opdb.unexplained(opdb.compared("sin"), [])


def test_a_wrong_derivative_is_seen(monkeypatch):
    rule = opdb.ours("sin").rule
    monkeypatch.setattr(opdb.ours("sin"), "rule", lambda g, x: rule(g, x) * 1.001)
    assert any("derivative 1" in what for *_, what in opdb.unexplained(opdb.compared("sin"), []))


def test_a_wrong_second_derivative_is_seen(monkeypatch):
    rule = opdb.ours("sin").rule
    monkeypatch.setattr(opdb.ours("sin"), "rule", lambda g, x: rule(g, getattr(x, "detach", lambda: x)()))
    assert all("derivative 2" in what for *_, what in opdb.unexplained(opdb.compared("sin"), []))
    assert opdb.unexplained(opdb.compared("sin"), [])


@pytest.mark.parametrize("answer", [lambda *_, **__: None, lambda *_, **__: 1 / 0, lambda x: x.no_such_thing])
def test_an_error_input_that_raises_nothing_or_an_accident_is_seen(monkeypatch, answer):
    monkeypatch.setattr(opdb, "ours", lambda name: answer)
    assert len(opdb.unexplained(opdb.refused("t"), [])) == len(opdb.refused("t")) > 0


@pytest.mark.parametrize("covers", [lambda variant, sample: True, lambda variant, sample: False])
def test_an_exception_that_is_not_needed_is_refused(covers):
    assert opdb.unexplained(opdb.compared("sin"), []) == []
    assert opdb.unexplained(opdb.compared("sin"), [(covers, "a reason")])


def test_an_exception_that_covers_more_than_what_differs_is_refused():
    ((_, reason),) = exceptions.EXCEPTIONS["logcumsumexp"]
    assert opdb.unexplained(opdb.compared("logcumsumexp"), [(lambda variant, sample: True, reason)])
