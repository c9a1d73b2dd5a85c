"""The compiled part of the twin: what happens to each cell, line and current, as loops over plain arrays.

The physics is written once, here. `tests/twin` compares it with the general write-verify, with laws and with exact
circuits.
Nothing of this is imported before a twin is opened: the compiler behind it takes its time.
"""
