"""An instrument family for eapu-hil in a package of its own."""
