"""A multilayer perceptron, for toys."""
