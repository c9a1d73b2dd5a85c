"""What every room may use: errors, files, YAML, units, signals, provenance. Knows no array."""
