"""Source-measure units and switch matrices over VISA."""
