"""Benches and experiments that are packaged names once this package is installed."""
