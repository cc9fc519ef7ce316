"""The engine explains itself: formulas, derivations, paths, graphs, with this call's numbers and shapes."""
