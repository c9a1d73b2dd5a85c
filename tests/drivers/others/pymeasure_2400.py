import json
import sys

import numpy as np
from pymeasure.instruments.keithley import Keithley2400

VOLTAGE, CURRENT, STATUS = 0, 1, 4  # of the five elements of a reading
COMPLIANCE = 1 << 3

meter = Keithley2400(
    sys.argv[1], visa_library="@py", read_termination="\n", write_termination="\n", timeout=5000
)
assert "MODEL 2400" in meter.id
meter.reset()
meter.source_mode = "voltage"
meter.source_voltage_range = 2
assert abs(meter.source_voltage_range - 2.1) < 1e-6  # ranges go by the end of their scale
meter.compliance_current = 1e-4
meter.current_range = 1e-4
meter.current_nplc = 1
meter.source_voltage = 0.2
meter.enable_source()
assert meter.source_enabled
compliance_a = meter.compliance_current

everything = meter.measure_all()
conductance_S = everything["current"] / 0.2
assert abs(everything["voltage"] - 0.2) < 1e-3
assert abs(everything["resistance"] * conductance_S - 1.0) < 1e-3
assert not everything["status"] & COMPLIANCE

meter.config_buffer(5)
meter.start_buffer()
meter.wait_for_buffer(timeout=5)
rows = meter.buffer_data.reshape(5, 5)
assert np.allclose(rows[:, CURRENT], conductance_S * 0.2, rtol=0.02)
assert abs(meter.mean_current - rows[:, CURRENT].mean()) < 1e-9
meter.disable_buffer()
meter.trigger_count = 1

meter.current_range = 1e-6
meter.compliance_current = 1e-6
limited = meter.measure_all()
assert limited["status"] & COMPLIANCE
assert abs(limited["current"] - 1e-6) < 1e-8
assert abs(limited["voltage"] * conductance_S - 1e-6) < 1e-7  # the voltage that the limit leaves

measured_a = meter.current  # by :MEAS:CURR?, which puts the compliance back to what it is after a reset
assert abs(measured_a - conductance_S * 0.2) < 1e-7
assert abs(meter.compliance_current - 1.05e-4) < 1e-9
meter.shutdown()
assert not meter.source_enabled
print(
    json.dumps({"conductance_S": conductance_S, "compliance_a": compliance_a, "errors": meter.check_errors()})
)
