"""How every benchmark measures: contenders in processes of their own, taking turns, compared by ratio."""

from benchmarks.harness.contender import NotAvailable, Running, Work, fingerprint, loss_alone

__all__ = ["NotAvailable", "Running", "Work", "alone", "fingerprint", "loss_alone"]


def alone(name: str) -> int:
    """Run one benchmark with the words of the command line: what `python -m benchmarks.NAME` does."""
    import sys

    from tinygrad_ft.cli import main

    return main(["bench", name, *sys.argv[1:]])
