"""The ops: each a value, then its derivative. One family a file; `tinygrad-ft ops` lists them with file and line."""

from types import ModuleType

from tinygrad_ft.chain_rule import cast as cast
from tinygrad_ft.chain_rule import clone as clone
from tinygrad_ft.chain_rule import expand as expand
from tinygrad_ft.ops.arithmetic import *
from tinygrad_ft.ops.arithmetic import clamp as clamp
from tinygrad_ft.ops.arrange import *
from tinygrad_ft.ops.attention import *
from tinygrad_ft.ops.comparison import *
from tinygrad_ft.ops.convolution import *
from tinygrad_ft.ops.decompositions import *
from tinygrad_ft.ops.determinants import *
from tinygrad_ft.ops.distances import *
from tinygrad_ft.ops.extremum_products import *
from tinygrad_ft.ops.functions import *
from tinygrad_ft.ops.index import *
from tinygrad_ft.ops.interpolation import *
from tinygrad_ft.ops.join import *
from tinygrad_ft.ops.linalg import *
from tinygrad_ft.ops.loss import *
from tinygrad_ft.ops.normalise import *
from tinygrad_ft.ops.pooling import *
from tinygrad_ft.ops.products import *
from tinygrad_ft.ops.random import *
from tinygrad_ft.ops.ranking_loss import *
from tinygrad_ft.ops.reduce import *
from tinygrad_ft.ops.regression_loss import *
from tinygrad_ft.ops.rounding import *
from tinygrad_ft.ops.scan import *
from tinygrad_ft.ops.scatter import *
from tinygrad_ft.ops.shape import *
from tinygrad_ft.ops.sort import *
from tinygrad_ft.ops.special import *
from tinygrad_ft.ops.statistics import *
from tinygrad_ft.ops.trigonometry import *
from tinygrad_ft.ops.update import *

clip = clamp  # as in PyTorch and NumPy; the op of that name takes numbers alone

__all__ = sorted(
    name for name, value in globals().items() if name[0] != "_" and not isinstance(value, type | ModuleType)
)
