"""A numpy twin of a 1T1R crossbar bench: cell physics, wires, converters, faults and time."""
