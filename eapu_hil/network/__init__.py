"""Layers, network and optimizer: float arithmetic around the products of an array."""
