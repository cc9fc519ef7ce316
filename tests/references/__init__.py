"""What each op computes, once more and by other means: loops over Python floats, `math`, `statistics`, other formulas.

`REFERENCES[name](*arrays, **params)` takes what the op of that name takes, as plain arrays; a table for each family.
"""

from references import elementwise, linalg, nn, reduce, shape, update
from references.values import VALUES

REFERENCES = {
    **elementwise.REFERENCES,
    **reduce.REFERENCES,
    **shape.REFERENCES,
    **linalg.REFERENCES,
    **nn.REFERENCES,
    **update.REFERENCES,
}

__all__ = ["REFERENCES", "VALUES"]
