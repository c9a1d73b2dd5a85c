"""A bench for training neural networks on memristor crossbars, and a numpy twin of that bench."""

__version__ = "0.1.0"
