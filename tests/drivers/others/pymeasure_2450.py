import json
import sys

from pymeasure.instruments.keithley import Keithley2450

meter = Keithley2450(
    sys.argv[1], visa_library="@py", read_termination="\n", write_termination="\n", timeout=5000
)
assert "MODEL 2450" in meter.id
meter.reset()
meter.use_front_terminals()
meter.apply_voltage(voltage_range=2, compliance_current=1e-4)
assert meter.source_voltage_range == 2
meter.measure_current(nplc=1, current=1e-4, auto_range=False)
assert meter.current_range == 1e-4
meter.source_voltage = 0.2
meter.enable_source()
assert meter.source_enabled
conductance_S = meter.current / 0.2
compliance_a = meter.compliance_current

meter.measure_voltage()
assert abs(meter.voltage - 0.2) < 1e-3
meter.measure_resistance()
assert abs(meter.resistance * conductance_S - 1.0) < 1e-3

meter.measure_current(nplc=1, current=1e-6, auto_range=False)
meter.compliance_current = 1e-6
assert abs(meter.current - 1e-6) < 1e-8
meter.measure_voltage()
assert abs(meter.voltage * conductance_S - 1e-6) < 1e-7  # the voltage that the limit leaves

# A limit that does not fit the range is changed: the driver does not notice, the instrument warns at most.
meter.measure_current(nplc=1, current=1e-3, auto_range=False)
assert abs(meter.compliance_current - 1.06e-4) < 1e-8
meter.shutdown()
assert not meter.source_enabled
print(
    json.dumps({"conductance_S": conductance_S, "compliance_a": compliance_a, "errors": meter.check_errors()})
)
