import json
import sys

from pymeasure.instruments.keithley import Keithley2600

meter = Keithley2600(
    sys.argv[1], visa_library="@py", read_termination="\n", write_termination="\n", timeout=5000
)
assert "2636B" in meter.id
channel = meter.ChA
channel.apply_voltage(voltage_range=2, compliance_current=1e-4)
channel.measure_current(nplc=1, current=1e-4, auto_range=False)
channel.source_voltage = 0.2
channel.source_output = "ON"
current_a = channel.current
limited_at = channel.compliance_current
channel.source_output = "OFF"
print(json.dumps({"conductance_S": current_a / 0.2, "compliance_a": limited_at, "errors": []}))
