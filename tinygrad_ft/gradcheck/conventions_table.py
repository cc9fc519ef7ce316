"""Our conventions, a line each: what is asked, an expression, at which point, for what; our answer, and PyTorch's.

PyTorch's stands there where it differs or a reason follows. The expression means the same in both libraries (F is
nn.functional); `d/dx` is the gradient of its sum; lists are Tensors, float64 or int64. A line that is set in belongs
to the one above. `conventions.py` reads this, and the tests compute every answer anew.
"""

TABLE = """
# kinks
relu at 0 | relu(x) | x=0.0 | d/dx | 0.0 | same | 0 is a subgradient there
abs at 0 | abs(x) | x=0.0 | d/dx | 0.0 | same | 0 is a subgradient there
sign is flat | sign(x) | x=[-2.0, 0.0, 3.0] | d/dx | [0.0, 0.0, 0.0]
leaky_relu at 0 | F.leaky_relu(x, 0.1) | x=0.0 | d/dx | 0.1
prelu at 0 | F.prelu(x, a) | x=[0.0], a=[0.25] | d/dx | [0.25]
elu at 0 | F.elu(x, 2.0) | x=0.0 | d/dx | 2.0
celu at 0 | F.celu(x, 2.0) | x=0.0 | d/dx | 1.0
selu at 0 | F.selu(x) | x=0.0 | d/dx | 1.7580993408473766
threshold at the threshold | F.threshold(x, 1.0, 7.0) | x=1.0 | d/dx | 0.0
threshold at the threshold, value | F.threshold(x, 1.0, 7.0) | x=1.0 | value | 7.0
relu6 at 0 and 6 | F.relu6(x) | x=[0.0, 6.0] | d/dx | [0.0, 0.0]
hardtanh at -1 and 1 | F.hardtanh(x) | x=[-1.0, 1.0] | d/dx | [0.0, 0.0]
hardsigmoid at -3 and 3 | F.hardsigmoid(x) | x=[-3.0, 3.0] | d/dx | [0.0, 0.0]
hardswish at -3 and 3 | F.hardswish(x) | x=[-3.0, 3.0] | d/dx | [0.0, 1.0]
hardshrink at -0.5 and 0.5 | F.hardshrink(x) | x=[-0.5, 0.5] | d/dx | [0.0, 0.0]
softshrink at -0.5 and 0.5 | F.softshrink(x) | x=[-0.5, 0.5] | d/dx | [0.0, 0.0]
l1_loss where equal | F.l1_loss(x, y) | x=[1.0], y=[1.0] | d/dx | [0.0]
smooth_l1_loss at beta | F.smooth_l1_loss(x, y) | x=[1.0], y=[0.0] | d/dx | [1.0]
huber_loss at delta | F.huber_loss(x, y, delta=2.0) | x=[2.0], y=[0.0] | d/dx | [2.0]
margin_ranking_loss at the hinge | F.margin_ranking_loss(x, y, z) | x=[1.0], y=[1.0], z=[1.0] | d/dx | [-1.0]
hinge_embedding_loss at the margin | F.hinge_embedding_loss(x, y) | x=[1.0], y=[-1.0] | d/dx | [-1.0]
# ties and ends
maximum, equal | maximum(x, y) | x=1.0, y=1.0 | d/dx | 0.5 | same | shared evenly: the middle of the subgradients
minimum, equal | minimum(x, y) | x=1.0, y=1.0 | d/dx | 0.5
fmax, equal | fmax(x, y) | x=1.0, y=1.0 | d/dx | 1.0
fmax, equal: the other | fmax(x, y) | x=1.0, y=1.0 | d/dy | 0.0
fmin, equal | fmin(x, y) | x=1.0, y=1.0 | d/dx | 1.0
amax, ties | amax(x, 0) | x=[2.0, 1.0, 2.0] | d/dx | [0.5, 0.0, 0.5] | same | shared evenly
amin, ties | amin(x, 0) | x=[1.0, 1.0, 2.0] | d/dx | [0.5, 0.5, 0.0]
max of all, ties | max(x) | x=[2.0, 1.0, 2.0] | d/dx | [0.5, 0.0, 0.5]
max along an axis, ties | max(x, 0).values | x=[2.0, 1.0, 2.0] | d/dx | [1.0, 0.0, 0.0] | same |
    it answers with an index too: the derivative goes there
min along an axis, ties | min(x, 0).values | x=[1.0, 1.0, 2.0] | d/dx | [1.0, 0.0, 0.0]
argmax, ties | argmax(x) | x=[1.0, 2.0, 2.0] | value | 1
median of all, ties | median(x) | x=[2.0, 2.0, 1.0] | d/dx | [0.5, 0.5, 0.0]
median along an axis, ties | median(x, 0).values | x=[2.0, 2.0, 1.0] | d/dx | [1.0, 0.0, 0.0]
median of an even number | median(x) | x=[1.0, 2.0, 3.0, 4.0] | value | 2.0
sort, ties | (sort(x, stable=True).values * w).sum() | x=[2.0, 1.0, 2.0], w=[1.0, 10.0, 100.0] | d/dx |
    [10.0, 1.0, 100.0]
topk, ties | topk(x, 1).values | x=[2.0, 2.0, 1.0] | d/dx | [1.0, 0.0, 0.0]
clamp at its bounds | clamp(x, 0.0, 1.0) | x=[0.0, 1.0] | d/dx | [1.0, 1.0]
clamp, bounds crossed | clamp(x, 2.0, 1.0) | x=[0.0, 3.0] | value | [1.0, 1.0]
clamp at a bound that is an array | clamp(x, min=y) | x=[1.0], y=[1.0] | d/dx | [1.0]
clamp at a bound that is an array: the bound | clamp(x, min=y) | x=[1.0], y=[1.0] | d/dy | [0.0]
max_pool, ties | F.max_pool1d(x, 2) | x=[[[1.0, 1.0]]] | d/dx | [[[1.0, 0.0]]]
scatter_reduce amax, ties | scatter_reduce(x, 0, i, y, 'amax') | x=[1.0], i=[0], y=[1.0] | d/dx | [0.5]
inf-norm, ties | linalg.vector_norm(x, inf) | x=[2.0, -2.0, 1.0] | d/dx | [0.5, -0.5, 0.0]
# powers, roots and logarithms
sqrt at 0 | sqrt(x) | x=0.0 | d/dx | inf
rsqrt at 0 | rsqrt(x) | x=0.0 | d/dx | -inf
0**0 | x ** 0 | x=0.0 | value | 1.0
x**0 at 0 | x ** 0 | x=0.0 | d/dx | 0.0 | same | x**0 is 1 for every x
x**y at 0, 0: in x | x ** y | x=0.0, y=0.0 | d/dx | 0.0
x**y at 0, 0: in y | x ** y | x=0.0, y=0.0 | d/dy | 0.0
0**y in y | x ** y | x=[0.0, 0.0, 0.0], y=[2.0, 0.0, -1.0] | d/dy | [0.0, 0.0, -inf]
x**y at x<0: in y | x ** y | x=-2.0, y=2.0 | d/dy | nan
log at 0 | log(x) | x=0.0 | d/dx | inf
where leaves out log(0) | where(x > 0, log(x), 0.0) | x=0.0 | d/dx | 0.0 | nan |
    a cotangent of zero stays zero: the branch left out cannot reach the result
where leaves out sqrt(0) | where(x > 0, sqrt(x), 0.0) | x=0.0 | d/dx | 0.0 | nan | a cotangent of zero stays zero
where leaves out 1/0 | where(x > 0, 1.0 / x, 0.0) | x=0.0 | d/dx | 0.0 | nan | a cotangent of zero stays zero
where leaves out an infinite product | where(x > 0, x * inf, 0.0) | x=0.0 | d/dx | nan | same |
    guarding every product would cost more than the product
xlogy at 0, 0 | xlogy(x, y) | x=0.0, y=0.0 | value | 0.0
xlogy at 0, 0: in x | xlogy(x, y) | x=0.0, y=0.0 | d/dx | 0.0
xlogy at 0, 0: in y | xlogy(x, y) | x=0.0, y=0.0 | d/dy | 0.0 | nan | xlogy(0, y) is 0 for every y
xlogy at 0, 2: in x | xlogy(x, y) | x=0.0, y=2.0 | d/dx | 0.6931471805599453
asin at 1 | asin(x) | x=1.0 | d/dx | inf
acosh at 1 | acosh(x) | x=1.0 | d/dx | inf
sinc at 0 | sinc(x) | x=0.0 | d/dx | 0.0
atan2 at the origin | atan2(x, y) | x=0.0, y=0.0 | d/dx | 0.0
hypot at the origin | hypot(x, y) | x=0.0, y=0.0 | d/dx | 0.0 | nan | as the 2-norm, which hypot is
kl_div, target 0 | F.kl_div(x, y, reduction='sum') | x=[-1.0], y=[0.0] | d/dx | [0.0]
kl_div, target 0: in the target | F.kl_div(x, y, reduction='sum') | x=[-1.0], y=[0.0] | d/dy | [1.0] | [nan] |
    0 log 0 is taken as a constant, as xlogy has it
binary_cross_entropy, sure and wrong | F.binary_cross_entropy(x, y) | x=[0.0], y=[1.0] | value | 100.0
binary_cross_entropy, sure and right | F.binary_cross_entropy(x, y) | x=[1.0], y=[1.0] | d/dx | [0.0]
# norms, spreads and distances
2-norm at 0 | norm(x) | x=[0.0, 0.0] | d/dx | [0.0, 0.0] | same | 0 is a subgradient there, the smallest
inf-norm at 0 | norm(x, inf) | x=[0.0, 0.0] | d/dx | [0.0, 0.0]
3-norm at 0 | norm(x, 3) | x=[0.0, 0.0] | d/dx | [0.0, 0.0]
1/2-norm at 0 | norm(x, 0.5) | x=[0.0, 0.0] | d/dx | [0.0, 0.0]
1/2-norm, one element 0 | norm(x, 0.5) | x=[0.0, 1.0] | d/dx | [0.0, 1.0]
3-norm, one element 0 | norm(x, 3) | x=[0.0, 1.0] | d/dx | [0.0, 1.0]
3/2-norm, one element 0 | norm(x, 1.5) | x=[0.0, 1.0] | d/dx | [0.0, 1.0]
-1-norm, one element 0 | norm(x, -1) | x=[0.0, 1.0] | d/dx | [0.0, 0.0]
-1-norm, one element 0, value | norm(x, -1) | x=[0.0, 1.0] | value | 0.0
0-norm is flat | norm(x, 0) | x=[0.0, 3.0] | d/dx | [0.0, 0.0] | None |
    a count is flat, as sign is: its gradient is 0, not missing
inf-norm of nothing | norm(x, inf) | x=[] | value | refused
dist of equal points | dist(x, y) | x=[1.0, 2.0], y=[1.0, 2.0] | d/dx | [0.0, 0.0]
matrix_norm at 0 | linalg.matrix_norm(x) | x=[[0.0, 0.0], [0.0, 0.0]] | d/dx | [[0.0, 0.0], [0.0, 0.0]]
pairwise_distance of equal points | F.pairwise_distance(x, y) | x=[[1.0]], y=[[1.0]] | value | [1e-06] | same |
    eps is added to every difference
pairwise_distance of equal points, slope | F.pairwise_distance(x, y) | x=[[1.0]], y=[[1.0]] | d/dx | [[1.0]]
pairwise_distance, eps 0 | F.pairwise_distance(x, y, eps=0.0) | x=[[1.0]], y=[[1.0]] | d/dx | [[0.0]]
cosine_similarity with 0 | F.cosine_similarity(x, y) | x=[[0.0, 0.0]], y=[[1.0, 0.0]] | value | [0.0]
cosine_similarity with 0, slope | F.cosine_similarity(x, y) | x=[[0.0, 0.0]], y=[[1.0, 0.0]] | d/dx |
    [[100000000.0, 0.0]]
normalize of 0 | F.normalize(x, dim=0) | x=[0.0, 0.0] | d/dx | [1000000000000.0, 1000000000000.0]
std of equal numbers | std(x) | x=[2.0, 2.0] | d/dx | [0.0, 0.0] | same | 0, as the norm at 0
std of equal numbers, value | std(x) | x=[2.0, 2.0] | value | 0.0
var of one number | var(x) | x=[2.0] | value | nan
var of one number, slope | var(x) | x=[2.0] | d/dx | [nan]
var counts n - 1 unless told | var(x) | x=[1.0, 3.0] | value | 2.0
layer_norm of equal numbers | F.layer_norm(x, (2,), eps=0.01) | x=[2.0, 2.0] | value | [0.0, 0.0]
batch_norm: eps under the root | F.batch_norm(x, None, None, training=True, eps=1.0) | x=[[-1.0], [1.0]] | value |
    [[-0.7071067811865475], [0.7071067811865475]]
# products
prod with one zero | prod(x) | x=[0.0, 2.0, 3.0] | d/dx | [6.0, 0.0, 0.0]
prod with two zeros | prod(x) | x=[0.0, 0.0, 3.0] | d/dx | [0.0, 0.0, 0.0]
cumprod with a zero | cumprod(x, 0) | x=[2.0, 0.0, 3.0] | d/dx | [1.0, 8.0, 0.0]
0 * inf | x * y | x=0.0, y=inf | value | nan
det of a singular matrix | linalg.det(x) | x=[[1.0, 2.0], [2.0, 4.0]] | d/dx | [[4.0, -2.0], [-2.0, 1.0]] |
    [[0.0, 0.0], [0.0, 0.0]] | the cofactors: what differences find
det of rank 0 | linalg.det(x) | x=[[0.0, 0.0], [0.0, 0.0]] | d/dx | [[0.0, 0.0], [0.0, 0.0]]
# rounding
round half | round(x) | x=[0.5, 1.5, 2.5, -0.5] | value | [0.0, 2.0, 2.0, 0.0]
round is flat | round(x) | x=[0.5, 1.2] | d/dx | [0.0, 0.0]
floor is flat | floor(x) | x=[1.0, 1.2] | d/dx | [0.0, 0.0]
ceil is flat | ceil(x) | x=[1.0, 1.2] | d/dx | [0.0, 0.0]
trunc is flat | trunc(x) | x=[1.0, 1.2] | d/dx | [0.0, 0.0]
frac of negative numbers | frac(x) | x=[-1.25] | value | [-0.25]
frac has slope 1 | frac(x) | x=[-1.25, 1.0] | d/dx | [1.0, 1.0]
remainder has the sign of the divisor | remainder(x, y) | x=[-3.0, 3.0], y=[2.0, -2.0] | value | [1.0, -1.0]
fmod has the sign of the dividend | fmod(x, y) | x=[-3.0, 3.0], y=[2.0, -2.0] | value | [-1.0, 1.0]
% is remainder | x % 2.0 | x=-3.0 | value | 1.0
remainder at a jump, in x | remainder(x, y) | x=4.0, y=2.0 | d/dx | 1.0
remainder at a jump, in y | remainder(x, y) | x=4.0, y=2.0 | d/dy | -2.0
copysign at 0 | copysign(x, 1.0) | x=0.0 | d/dx | 0.0
# NaN and infinities
max of NaN | max(x) | x=[1.0, nan] | value | nan
max of NaN, slope | max(x) | x=[1.0, nan] | d/dx | [0.0, 1.0]
maximum with NaN | maximum(x, y) | x=1.0, y=nan | value | nan
maximum with NaN, slope | maximum(x, y) | x=1.0, y=nan | d/dx | 1.0
fmax with NaN | fmax(x, y) | x=1.0, y=nan | value | 1.0
fmax with NaN, slope | fmax(x, y) | x=1.0, y=nan | d/dx | 1.0
clamp of NaN | clamp(x, 0.0, 1.0) | x=nan | value | nan
clamp of NaN, slope | clamp(x, 0.0, 1.0) | x=nan | d/dx | 0.0
relu of NaN | relu(x) | x=nan | value | nan
relu of NaN, slope | relu(x) | x=nan | d/dx | 0.0 | 1.0 | as clamp of NaN: no slope where there is no number
sign of NaN | sign(x) | x=nan | value | nan | 0.0 | NaN stays in sight, as in NumPy
sort puts NaN last | sort(x).values | x=[nan, 1.0] | value | [1.0, nan]
argmax of NaN | argmax(x) | x=[1.0, nan, 2.0] | value | 1
median with NaN | median(x) | x=[1.0, nan, 2.0] | value | nan
nan_to_num | nan_to_num(x) | x=[nan, inf] | value | [0.0, 1.7976931348623157e+308]
nan_to_num, slope | nan_to_num(x) | x=[nan, inf, 1.0] | d/dx | [0.0, 0.0, 1.0]
softmax of -inf only | softmax(x, 0) | x=[-inf, -inf] | value | [nan, nan]
softmax with -inf | softmax(x, 0) | x=[0.0, -inf] | value | [1.0, 0.0]
softmax with inf | softmax(x, 0) | x=[0.0, inf] | value | [nan, nan]
logsumexp of -inf only | logsumexp(x, 0) | x=[-inf, -inf] | value | -inf
logsumexp of -inf only, slope | logsumexp(x, 0) | x=[-inf, -inf] | d/dx | [0.0, 0.0] | [nan, nan] |
    log 0 has no direction to go
logsumexp of inf | logsumexp(x, 0) | x=[0.0, inf] | value | inf
logsumexp of inf, slope | logsumexp(x, 0) | x=[0.0, inf] | d/dx | [0.0, nan]
logaddexp of -inf | logaddexp(x, y) | x=-inf, y=-inf | d/dx | nan
attention that may look at nothing | F.scaled_dot_product_attention(x, x, x, attn_mask=m) | x=[[[1.0]]], m=[[False]] |
    value | [[[0.0]]] | same | nothing was asked, nothing is answered
# nothing at all
mean of nothing | mean(x) | x=[] | value | nan
sum of nothing | sum(x) | x=[] | value | 0.0
var of nothing | var(x) | x=[] | value | nan
amax of nothing | amax(x, 0) | x=[] | value | refused
max of nothing | max(x) | x=[] | value | refused
argmax of nothing | argmax(x) | x=[] | value | refused
median of nothing | median(x) | x=[] | value | nan
logsumexp of nothing | logsumexp(x, 0) | x=[] | value | -inf
cat of nothing | cat([]) | | value | refused
# indices
x[[0, 0, 1]] | x[i] | x=[1.0, 2.0], i=[0, 0, 1] | d/dx | [2.0, 1.0]
gather, repeated | gather(x, 0, i) | x=[1.0, 2.0], i=[0, 0, 1] | d/dx | [2.0, 1.0]
index_select, repeated | index_select(x, 0, i) | x=[1.0, 2.0], i=[0, 0, 1] | d/dx | [2.0, 1.0]
embedding, repeated | F.embedding(i, x) | x=[[1.0], [2.0]], i=[0, 0, 1] | d/dx | [[2.0], [1.0]]
embedding, padding_idx | F.embedding(i, x, padding_idx=0) | x=[[1.0], [2.0]], i=[0, 0, 1] | d/dx | [[0.0], [1.0]]
scatter_add, repeated | scatter_add(x, 0, i, y) | x=[0.0, 0.0], i=[0, 0], y=[1.0, 2.0] | value | [3.0, 0.0]
scatter, repeated | scatter(x, 0, i, y) | x=[0.0, 0.0], i=[0, 0], y=[1.0, 2.0] | value | [2.0, 0.0]
scatter, repeated: slope | scatter(x, 0, i, y) | x=[0.0, 0.0], i=[0, 0], y=[1.0, 2.0] | d/dy | [0.0, 1.0] | [1.0, 1.0] |
    only what was written last is in the result: what differences find
index_put, repeated: slope | x.index_put((i,), y) | x=[0.0, 0.0], i=[0, 0], y=[1.0, 2.0] | d/dy | [0.0, 1.0] |
    [1.0, 1.0] | only what was written last is in the result
index_add, repeated | index_add(x, 0, i, y) | x=[0.0, 0.0], i=[0, 0], y=[1.0, 2.0] | value | [3.0, 0.0]
cat([x, x]) | (cat([x, x]) * w).sum() | x=[1.0], w=[1.0, 10.0] | d/dx | [11.0]
a negative index in gather | gather(x, 0, i) | x=[1.0, 2.0], i=[-1] | value | [2.0] | refused |
    it counts from the end, as in x[i]
a negative index in x[...] | x[i] | x=[1.0, 2.0], i=[-1] | value | [2.0]
a place that does not exist | x[i] | x=[1.0, 2.0], i=[2] | value | refused
x[0] = 1 | x.__setitem__(0, 1.0) | x=[1.0, 2.0] | value | refused | same |
    the old numbers may be needed for a gradient
slices with a negative step | x[::-1] | x=[1.0, 2.0] | value | [2.0, 1.0] | refused | as in NumPy
# losses
cross_entropy, all ignored | F.cross_entropy(x, i, ignore_index=-100) | x=[[1.0, 2.0]], i=[-100] | value | nan
cross_entropy, all ignored: slope | F.cross_entropy(x, i, ignore_index=-100) | x=[[1.0, 2.0]], i=[-100] | d/dx |
    [[0.0, 0.0]] | same | a batch without targets moves no weight
cross_entropy divides by those that count | F.cross_entropy(x, i) | x=[[0.0, 0.0], [0.0, 9.0]], i=[0, -100] | value |
    0.6931471805599453
nll_loss, all ignored | F.nll_loss(x, i) | x=[[1.0, 2.0]], i=[-100] | value | nan
cross_entropy, a class of -inf | F.cross_entropy(x, i) | x=[[0.0, -inf]], i=[1] | value | inf
gaussian_nll_loss, variance below eps | F.gaussian_nll_loss(x, y, v, eps=0.5) | x=[1.0], y=[1.0], v=[0.1] | d/dv |
    [0.0] | [1.0] | the variance is held at eps, where it is flat: what differences find
poisson_nll_loss at 0 | F.poisson_nll_loss(x, y, log_input=False, eps=0.5) | x=[0.0], y=[1.0] | value |
    0.6931471805599453
dropout of all | F.dropout(x, 1.0) | x=[1.0, 2.0] | value | [0.0, 0.0]
dropout in eval | F.dropout(x, 0.5, training=False) | x=[1.0, 2.0] | value | [1.0, 2.0]
dropout scales by 1 / (1 - p) | F.dropout(x, 0.75).max() | x=[1.0] * 64 | value | 4.0
avg_pool counts the padding | F.avg_pool1d(x, 2, padding=1) | x=[[[1.0, 1.0]]] | value | [[[0.5, 0.5]]]
interpolate, corners | F.interpolate(x, size=2, mode='nearest') | x=[[[1.0, 2.0, 3.0]]] | value | [[[1.0, 2.0]]]
# matrices
eigh of equal eigenvalues: sum of them | linalg.eigh(x)[0].sum() | x=[[1.0, 0.0], [0.0, 1.0]] | d/dx |
    [[1.0, 0.0], [0.0, 1.0]]
eigh of equal eigenvalues: a vector | linalg.eigh(x)[1][0, 0] | x=[[1.0, 0.0], [0.0, 1.0]] | d/dx |
    [[nan, 0.0], [nan, nan]] | [[nan, nan], [nan, nan]] |
    the vectors are free; the triangle that is not read has no derivative
eigh, the triangle not read | (linalg.eigh(x)[0] * w).sum() | x=[[2.0, 1.0], [1.0, 3.0]], w=[0.0, 1.0] | d/dx |
    [[0.2763932022500209, 0.0], [0.894427191, 0.7236067977499788]] |
    [[0.2763932022500209, 0.4472135955], [0.4472135955, 0.7236067977499788]] |
    only one triangle is read: what differences find
svd of equal singular values: their sum | linalg.svdvals(x).sum() | x=[[1.0, 0.0], [0.0, 1.0]] | d/dx |
    [[1.0, 0.0], [0.0, 1.0]]
svd of equal singular values: the vectors | linalg.svd(x)[0][0, 0] * linalg.svd(x)[2][0, 0] |
    x=[[1.0, 0.0], [0.0, 1.0]] | d/dx | [[nan, nan], [nan, nan]]
nuclear norm of rank 1 | linalg.matrix_norm(x, 'nuc') | x=[[1.0, 0.0], [0.0, 0.0]] | d/dx | [[1.0, 0.0], [0.0, 1.0]]
cholesky, which triangle | linalg.cholesky(x) | x=[[2.0, 1.0], [1.0, 3.0]] | d/dx |
    [[0.2558336368, 0.19543950758485482], [0.19543950758485482, 0.31622776601683794]]
cholesky of a matrix that is not symmetric | linalg.cholesky(x) | x=[[4.0, 8.0], [0.0, 5.0]] | value |
    [[2.0, 0.0], [2.0, 1.0]] | [[2.0, 0.0], [0.0, 2.2360679775]] |
    the mean of both triangles is factored, so that differences find the derivative that both share
cholesky, not positive definite | linalg.cholesky(x) | x=[[-1.0]] | value | refused
inv of a singular matrix | linalg.inv(x) | x=[[0.0]] | value | refused
slogdet of a singular matrix | linalg.slogdet(x) | x=[[0.0]] | value | [0.0, -inf]
slogdet of a singular matrix: slope | linalg.slogdet(x)[1] | x=[[0.0]] | d/dx | refused | [[inf]] |
    there is no inverse: an error says so where inf would go on
pinv of 0 | linalg.pinv(x) | x=[[0.0]] | value | [[0.0]]
solve_triangular reads its triangle | linalg.solve_triangular(x, y, upper=False) |
    x=[[2.0, 9.0], [0.0, 1.0]], y=[[2.0], [1.0]] | value | [[1.0], [1.0]]
matrix_power 0 | linalg.matrix_power(x, 0) | x=[[2.0]] | d/dx | [[0.0]]
# numbers and dtypes
integers become float32 where fractions arise | (tensor([1, 2]) / 2).dtype | | value | float32
exp of integers | exp(tensor([1, 2])).dtype | | value | float32
mean of integers | mean(tensor([1, 2])) | | value | 1.5 | refused | fractions of integers are float32
Python floats do not promote | (tensor([1.0]) * 2.5).dtype | | value | float32
int64 with float32 | (tensor([1]) * tensor([1.0])).dtype | | value | float32
float64 number of 0 axes with float32 | (tensor([1.0]) * tensor(2.0, dtype=float64)).dtype | | value | float64 |
    float32 | the dtype does not depend on the number of axes, as in NumPy 2
float16 with float32 | (tensor([1.0], dtype=float16) * tensor([1.0])).dtype | | value | float32
new Tensors of floats | tensor([1.0]).dtype | | value | float32
sum of booleans | sum(tensor([True, True])) | | value | 2
division by zero | tensor([1.0]) / 0.0 | | value | [inf]
integers divided by zero | tensor([1]) / 0 | | value | [inf]
maximum of a Tensor and a number | maximum(tensor([1.0]), 2.0) | | value | [2.0] | refused |
    numbers and arrays are taken wherever Tensors are
where with two numbers | where(tensor([True]), 1.0, 2.0).dtype | | value | float32
a gradient of integers | tensor([1]).requires_grad_() | | value | refused
3 & 1, integers | tensor([3]) & tensor([1]) | | value | [1]
transpose without axes | transpose(tensor([[1.0, 2.0]])) | | value | [[1.0], [2.0]] | refused |
    the last two axes unless told
axis for dim, keepdims for keepdim | sum(tensor([[1.0, 2.0]]), axis=1) | | value | [3.0]
the truth of several numbers | 1 if tensor([1.0, 2.0]) else 0 | | value | refused
plain arrays are taken | sum(tensor([1.0]) + tensor([1.0]).numpy()) | | value | 2.0 | same |
    numbers and arrays are taken wherever Tensors are
a plain array first | sum(tensor([1.0]).numpy() * tensor([1.0])) | | value | 1.0 | refused |
    an array and a Tensor make a Tensor, in either order
"""
