import json
import sys

from qcodes.instrument_drivers.Keithley import Keithley2400

meter = Keithley2400("meter", sys.argv[1], visalib="@py", terminator="\n")
assert meter.get_idn()["model"] == "2400", meter.get_idn()
meter.reset()
meter.write(":FORM:ELEM VOLT,CURR")  # the driver asks for these when it opens, and its reset forgets it
meter.mode("VOLT")
assert meter.mode() == "VOLT"
meter.sense("CURR")
meter.compliancei(1e-4)
meter.rangei(1e-4)
meter.nplci(1)
meter.rangev(2)
meter.volt(0.2)
refused = False
try:
    meter.curr()  # the driver itself refuses; the instrument would with error 803, and not answer
except RuntimeError:
    refused = True
assert refused
meter.output(1)
conductance_S = meter.curr() / 0.2
compliance_a = meter.compliancei()
assert abs(meter.volt() - 0.2) < 1e-3
assert abs(meter.resistance() * conductance_S - 1.0) < 0.02

meter.compliancei(2e-6)
assert abs(meter.curr() - 2e-6) < 2e-8
assert meter.ask(":SENS:CURR:PROT:TRIP?") == "1"
meter.volt(0.05)
assert meter.ask(":SENS:CURR:PROT:TRIP?") == "0"
meter.output(0)
error = meter.ask(":SYST:ERR?")
print(
    json.dumps(
        {
            "conductance_S": conductance_S,
            "compliance_a": compliance_a,
            "errors": [] if error.startswith("0,") else [error],
        }
    )
)
meter.close()
