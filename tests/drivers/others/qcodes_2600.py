import json
import sys

import numpy as np
from qcodes.dataset import LinSweep
from qcodes.instrument_drivers.Keithley import Keithley2636B

meter = Keithley2636B("meter", sys.argv[1], visalib="@py")
assert meter.get_idn()["model"] == "2636B", meter.get_idn()
channel = meter.smua
channel.mode("voltage")
channel.nplc(0.1)
channel.sourcerange_v(2)
channel.measurerange_i(1e-4)
channel.limiti(1e-4)
channel.volt(0.2)
channel.output("on")
current_a = channel.curr()
channel.setup_fastsweep(LinSweep(channel.volt, 0.05, 0.2, 4))
swept_a = np.asarray(channel.fastsweep.get()).ravel()
channel.output("off")
slope_S = np.polyfit([0.05, 0.1, 0.15, 0.2], swept_a, 1)[0]
print(
    json.dumps(
        {"conductance_S": current_a / 0.2, "compliance_a": channel.limiti(), "slope_S": slope_S, "errors": []}
    )
)
meter.close()
