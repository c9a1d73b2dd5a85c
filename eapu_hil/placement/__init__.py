"""Placement of weights on the arrays: differential pairs, tiles, moved rows, wear levelling."""
