"""Tools for every room: errors, files, YAML, units, signals, provenance. This room knows no array."""
