"""Training on the host, with noise on the weights, and one write-verify of all weights after the last step.

Joshi, Le Gallo et al., Nat. Commun. 11:2473 (2020), doi 10.1038/s41467-020-16108-9.
"""

from __future__ import annotations

from typing import Literal

from eapu_hil.rules.host_first import HostFirstConfig


class OfflineThenMapConfig(HostFirstConfig):
    """See `HostFirstConfig`."""

    name: Literal["offline_then_map"] = "offline_then_map"
