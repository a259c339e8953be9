"""The computations of this paper, one module each, and the store of their results."""
