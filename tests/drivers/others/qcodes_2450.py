import json
import sys

import numpy as np
from qcodes.instrument_drivers.Keithley import Keithley2450

meter = Keithley2450("meter", sys.argv[1], visalib="@py", terminator="\n")
assert meter.get_idn()["model"] == "2450", meter.get_idn()
meter.reset()
meter.terminals("front")
meter.source.function("voltage")
meter.sense.function("current")
meter.sense.range(1e-4)
meter.sense.nplc(1)
meter.source.range(2)
meter.source.limit(1e-4)
with meter.output_enabled.set_to(True):
    meter.source.voltage(0.2)
    current_a = meter.sense.current()
    limited = meter.source.limit_tripped()
assert not limited
meter.source.sweep_setup(0.05, 0.2, 4)
with meter.output_enabled.set_to(True):
    swept_a = np.asarray(meter.sense.sweep())
slope_s = np.polyfit([0.05, 0.1, 0.15, 0.2], swept_a, 1)[0]
print(
    json.dumps(
        {
            "conductance_s": current_a / 0.2,
            "compliance_a": meter.source.limit(),
            "slope_s": slope_s,
            "errors": [],
        }
    )
)
meter.close()
