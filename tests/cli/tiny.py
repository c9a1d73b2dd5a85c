"""A bench and an experiment that take no time."""

BENCH = {
    "backend": "twin",
    "preset": "ideal",
    "arrays": 1,
    "shape": [64, 32],
    "limits": {
        "v_max_v": 3.5,
        "v_gate_max_v": 5.0,
        "i_max_a": 2e-3,
        "width_max_s": 1e-3,
        "pulses_per_cell_max": 1000,
    },
}
EXPERIMENT = {
    "name": "tiny",
    "bench": BENCH,
    "task": {"name": "digits", "hidden": 6},
    "rule": {"name": "eapu"},
    "optimizer": {"name": "adam", "lr": 5e-3},
    "steps": 6,
    "batch": 8,
    "evaluate_every": 3,
    "checkpoint_every": 2,
}
