"""`python -m eapu_hil.cli`: the same as `eapu-hil`."""

import sys

from eapu_hil.cli.parser import main

sys.exit(main())
