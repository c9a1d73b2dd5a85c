"""What compiled loops of all rooms share: how they are compiled, and random bits.

Who imports a kernel imports the compiler, 0.3 s: modules whose names are wanted without it import kernels in functions.
"""
