"""`python -m eapu_hil.cli.attached`: `eapu-hil` for a program that started it, and that it does not outlive.

That program holds the other end of stdin. However it ends, kill -9 included, stdin ends with it: this one then takes
the way out of SIGTERM, which grounds the array and finishes the run.
"""

import os
import signal
import sys
import threading

from eapu_hil.cli.parser import main


def _end_with_stdin() -> None:
    while os.read(0, 1024):
        pass
    signal.raise_signal(signal.SIGTERM)


if __name__ == "__main__":
    threading.Thread(target=_end_with_stdin, daemon=True).start()
    sys.exit(main())
