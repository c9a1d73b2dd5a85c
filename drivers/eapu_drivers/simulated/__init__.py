"""Simulated devices, for tests and for any client; no driver imports them."""
