"""Switch matrices: one module a family, each a `SwitchMatrix` (`contract.py`)."""
