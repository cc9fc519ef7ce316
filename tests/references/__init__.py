"""What each op computes, once more and by other means: loops over Python floats, `math`, `statistics`, other formulas.

`REFERENCES[name](*arrays, **params)` takes what the op of that name takes, as plain arrays; a table for each family.
"""

from references import activations, arrange, convolution, elementwise, linalg, nn, reduce, shape, update
from references.values import VALUES

REFERENCES = {
    **elementwise.REFERENCES,
    **activations.REFERENCES,
    **reduce.REFERENCES,
    **shape.REFERENCES,
    **arrange.REFERENCES,
    **linalg.REFERENCES,
    **nn.REFERENCES,
    **convolution.REFERENCES,
    **update.REFERENCES,
}

__all__ = ["REFERENCES", "VALUES"]
