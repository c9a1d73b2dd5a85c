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
meter.sense.four_wire_measurement(False)
meter.sense.range(1e-4)
meter.sense.nplc(1)
meter.source.range(2)
meter.source.limit(1e-4)
meter.source.read_back_enabled(False)
compliance_a = meter.source.limit()
with meter.output_enabled.set_to(True):
    meter.source.voltage(0.2)
    conductance_S = meter.sense.current() / 0.2
    assert not meter.source.limit_tripped()

meter.source.sweep_setup(0.05, 0.2, 4)
with meter.output_enabled.set_to(True):
    swept_a = np.asarray(meter.sense.sweep())
    assert meter.ask(":OUTP?") == "0"  # which ends a sweep
slope_S = np.polyfit([0.05, 0.1, 0.15, 0.2], swept_a, 1)[0]

buffer = meter.buffer("mine", size=100)
buffer.elements(["source_value", "measurement", "source_value_status"])
meter.sense.range(1e-6)
meter.source.limit(1e-6)
with meter.output_enabled.set_to(True):
    meter.source.voltage(0.2)
    assert abs(meter.sense.current() - 1e-6) < 1e-8
    assert meter.source.limit_tripped()
source_v, measured_a, status = map(float, buffer.get_data(1, 1))
assert abs(source_v - 0.2) < 1e-6  # as programmed: what is at the terminals is not read back
assert abs(measured_a - 1e-6) < 1e-8
assert int(status) & (1 << 5), "the source was limited"
assert buffer.number_of_readings() == 1
buffer.delete()
error = meter.ask(":SYST:ERR?")
print(
    json.dumps(
        {
            "conductance_S": conductance_S,
            "compliance_a": compliance_a,
            "slope_S": slope_S,
            "errors": [] if error.startswith("0,") else [error],
        }
    )
)
meter.close()
