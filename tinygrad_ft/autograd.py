"""All about gradients under PyTorch's name for it: computing them, switching them off, checking them."""

from tinygrad_ft.gradcheck import GradcheckError, gradcheck, gradgradcheck
from tinygrad_ft.gradients import backward, enable_grad, grad, no_grad

__all__ = ["GradcheckError", "backward", "enable_grad", "grad", "gradcheck", "gradgradcheck", "no_grad"]
