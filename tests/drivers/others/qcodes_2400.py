import json
import sys

from qcodes.instrument_drivers.Keithley import Keithley2400

meter = Keithley2400("meter", sys.argv[1], visalib="@py", terminator="\n")
assert meter.get_idn()["model"] == "2400", meter.get_idn()
meter.mode("VOLT")
meter.sense("CURR")
meter.compliancei(1e-4)
meter.rangei(1e-4)
meter.nplci(1)
meter.rangev(2)
meter.volt(0.2)
meter.output(1)
current_a = meter.curr()
limited_at = meter.compliancei()
meter.output(0)
print(json.dumps({"conductance_s": current_a / 0.2, "compliance_a": limited_at, "errors": []}))
meter.close()
