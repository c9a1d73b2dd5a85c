"""Where weights lie on the arrays: differential pairs, tiles, moved rows, wear levelling."""
