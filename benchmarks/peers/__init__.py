"""The same work done by others: aihwkit, badcrossbar, PyTorch, and the authors' optimizer as it is described.

One module a workload. Each function returns what is timed, ready to be called again and again. Heavy imports stay in
these modules, so that `speed` imports only those whose package is there (`there`).
"""

from __future__ import annotations

import importlib.util


def there(package: str) -> bool:
    """Whether a peer can be imported."""
    return importlib.util.find_spec(package) is not None
