import json
import sys

from pymeasure.instruments.keithley import Keithley2400

meter = Keithley2400(
    sys.argv[1], visa_library="@py", read_termination="\n", write_termination="\n", timeout=5000
)
assert "MODEL 2400" in meter.id
meter.reset()
meter.apply_voltage(voltage_range=2, compliance_current=1e-4)
meter.measure_current(nplc=1, current=1e-4, auto_range=False)
limited_at = meter.compliance_current
meter.source_voltage = 0.2
meter.enable_source()
current_a = meter.current
if isinstance(current_a, list):
    current_a = current_a[1] if len(current_a) > 1 else current_a[0]
meter.shutdown()
print(
    json.dumps({"conductance_s": current_a / 0.2, "compliance_a": limited_at, "errors": meter.check_errors()})
)
