"""All about gradients under PyTorch's name for it: computing them, switching them off, checking them."""

from typing import TYPE_CHECKING, Any

from tinygrad_ft.anomaly import detect_anomaly
from tinygrad_ft.gradients import backward, enable_grad, grad, no_grad

if TYPE_CHECKING:
    from tinygrad_ft.gradcheck import GradcheckError, gradcheck, gradgradcheck

__all__ = [
    "GradcheckError",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "no_grad",
]


def __getattr__(name: str) -> Any:
    """The checks come when they are first named: their samples take a tenth of the package's time to import."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tinygrad_ft import gradcheck

    return getattr(gradcheck, name)
