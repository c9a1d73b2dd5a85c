"""Source-measure units: one module a family, each a `SourceMeter` (`contract.py`)."""
