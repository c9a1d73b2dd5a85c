"""The wrapper that drivers/README.md shows, as it stands there, around a driver of QCoDeS."""

import json
import re
import sys
from pathlib import Path

import numpy as np
from eapu_drivers.visa.smu.contract import Setup, SourceMeter
from qcodes.instrument_drivers.Keithley import Keithley2636B

readme = (Path(__file__).parents[3] / "drivers" / "README.md").read_text()
[source] = [
    block for block in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "QcodesSourceMeter" in block
]
names: dict[str, type] = {}
exec(source, names)
instrument = Keithley2636B("meter", sys.argv[1], visalib="@py")
meter: SourceMeter = names["QcodesSourceMeter"](instrument.smua)
assert meter.identity.model == "2636B"
meter.set_up(Setup(2.0, 1e-4, 0.1))
meter.output(True)
before_S = meter.sweep(np.array([0.1, 0.2])).current_a[1] / 0.2
assert not meter.pulse(-1.2, 2e-3)
after_S = meter.sweep(np.array([0.2])).current_a[0] / 0.2
assert after_S < 1e-6, "a RESET"
meter.safe_off()
print(json.dumps({"conductance_S": before_S, "compliance_a": instrument.smua.limiti(), "errors": []}))
meter.close()
