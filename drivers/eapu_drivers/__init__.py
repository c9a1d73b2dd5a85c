"""Drivers of hardware benches. See drivers/README.md for what one is."""
