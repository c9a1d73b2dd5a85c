-- Pulses, sweeps and write-verify inside a Keithley 2600B. Only what Lua 5.0 and 5.1 have in common.

-- smu: smua or smub. level in V, width in s. Returns whether a pulse ran into the compliance.
-- The width is timed by trigger timers: 1 starts a pulse, 2 its reading, which ends 60 us before it, 3 ends it.
-- With an error in the queue nothing is triggered: a setting that was refused leaves the one before it.
function eapu_pulse(smu, level, width, count)
  local nplc = smu.measure.nplc
  smu.measure.nplc = 0.001
  trigger.timer[1].count = math.max(count - 1, 1)
  trigger.timer[1].delay = 2 * width
  trigger.timer[1].passthrough = 1
  trigger.timer[1].stimulus = smu.trigger.ARMED_EVENT_ID
  trigger.timer[2].count = 1
  trigger.timer[2].delay = width - smu.measure.nplc / localnode.linefreq - 60e-6
  trigger.timer[2].passthrough = 0
  trigger.timer[2].stimulus = trigger.timer[1].EVENT_ID
  trigger.timer[3].count = 1
  trigger.timer[3].delay = width
  trigger.timer[3].passthrough = 0
  trigger.timer[3].stimulus = trigger.timer[1].EVENT_ID
  smu.trigger.source.listv({level})
  smu.trigger.source.action = smu.ENABLE
  smu.trigger.source.limiti = smu.source.limiti
  smu.nvbuffer1.clear()
  smu.nvbuffer1.appendmode = 1
  smu.trigger.measure.i(smu.nvbuffer1)
  smu.trigger.measure.action = smu.ENABLE
  smu.trigger.endpulse.action = smu.SOURCE_IDLE
  smu.trigger.endsweep.action = smu.SOURCE_IDLE
  smu.trigger.count = count
  smu.trigger.arm.count = 1
  smu.trigger.arm.stimulus = 0
  smu.trigger.source.stimulus = trigger.timer[1].EVENT_ID
  smu.trigger.measure.stimulus = trigger.timer[2].EVENT_ID
  smu.trigger.endpulse.stimulus = trigger.timer[3].EVENT_ID
  if errorqueue.count == 0 then
    smu.trigger.initiate()
    waitcomplete()
  end
  smu.measure.nplc = nplc
  local hit = false
  for k = 1, smu.nvbuffer1.n do
    if math.abs(smu.nvbuffer1.readings[k]) >= 0.99 * smu.source.limiti then
      hit = true
    end
  end
  return hit
end

-- Current at each level, 1 where the source was limited, and the level; ends at 0 V. Prints them in one line, and then
-- the state of the output, how many errors there are, and `tied`, the number of the question.
function eapu_sweep(smu, levels, count, tied)
  local text, separator = "", ""
  for k = 1, count do
    smu.source.levelv = levels[k]
    local current = smu.measure.i()
    local limited = 0
    if smu.source.compliance then
      limited = 1
    end
    text = text .. separator .. string.format("%.9e\t%d\t%.9e", current, limited, smu.source.levelv)
    separator = "\t"
  end
  smu.source.levelv = 0
  print(text .. string.format("\t%d\t%d\t%d", smu.source.output, errorqueue.count, tied))
end

-- How the source reads or pulses: range in V, limit and current range in A. At 0 V. Returns whether all was taken.
function eapu_setup(smu, volts, limit)
  smu.source.rangev = volts
  smu.source.limiti = limit
  smu.measure.rangei = limit
  return smu.source.rangev >= 0.999 * volts and math.abs(smu.source.limiti - limit) <= 1e-3 * limit
    and smu.measure.rangei >= 0.999 * limit
end

-- A cell that was read once: what eapu_decide remembers of it.
function eapu_start(first)
  return {
    first = first, direction = 0, gate = 0, set_amplitude = 0, reset_amplitude = 0, pulses = 0, flips = 0,
    at_cap = 0, confirming = false, moved = false, probed = false,
  }
end

-- Gate and amplitude of the next SET, and whether it is the strongest there is.
function eapu_next_set(r, target, error_S, h)
  local gate = r.set_gate_offset + target / r.set_gate_slope
  local again = h.direction == 1
  if h.gate ~= 0 then
    gate = h.gate
    if again then
      gate = h.gate + math.max(-error_S / r.set_gate_slope, r.set_gate_step)
    end
  end
  gate = math.min(math.max(gate, r.set_gate_start), r.set_gate_stop)
  local amplitude = r.set_start
  if again and h.gate >= r.set_gate_stop then
    amplitude = math.min(h.set_amplitude + r.set_step, r.set_stop)
  end
  return gate, amplitude, gate >= r.set_gate_stop and amplitude >= r.set_stop
end

-- Amplitude of the next RESET, and whether it is the strongest there is.
function eapu_next_reset(r, h)
  local amplitude = r.reset_start
  if h.direction == -1 then
    amplitude = math.min(h.reset_amplitude + r.reset_step, r.reset_stop)
  end
  return amplitude, amplitude >= r.reset_stop
end

-- The next step of a cell: -1 RESET, 0 read again, 1 SET, 2 stop; then amplitude, gate, status. Changes h.
-- The same as eapu_hil.hal.writeverify.decide, to the last bit.
function eapu_decide(r, target, read, h)
  local error_S = read - target
  local wanted = -1
  if error_S < 0 then
    wanted = 1
  end
  local gate, set_v, set_strongest = eapu_next_set(r, target, error_S, h)
  local reset_v, reset_strongest = eapu_next_reset(r, h)
  local strongest = (wanted == 1 and set_strongest) or (wanted == -1 and reset_strongest)

  local size = math.abs(error_S)
  local in_band = size <= r.band and (h.pulses > 0 or not r.rewrite_in_band)
  local turned = h.direction ~= 0 and wanted ~= h.direction
  local flips = h.flips
  if turned and not in_band then
    flips = flips + 1
  end
  local spent = strongest and not turned and h.at_cap >= r.pulses_at_cap_max
  local over = h.pulses >= r.pulses_max or flips > r.flips_max
  local on_the_way = h.direction ~= 0 and not turned and not h.confirming and size > r.band / 2
  local inside = in_band and (not on_the_way or spent or over)
  h.moved = h.moved or math.abs(read - h.first) > r.band
  local stuck = not in_band and h.probed and not h.moved
  local probe = not inside and spent and not h.moved and not h.probed and not over
  local limit = not inside and spent and not probe and not stuck
  local capped = not inside and over and not limit and not stuck
  local status = 0
  if stuck then
    status = 16
  elseif limit then
    status = 4
  elseif capped then
    status = 1
  end
  local stop = (inside and h.confirming) or status ~= 0
  local confirm = inside and not h.confirming
  local flipped = turned and not inside

  local kind = wanted
  if probe then
    kind, gate, set_v, reset_v = -wanted, r.set_gate_stop, r.set_stop, r.reset_stop
  end
  local pulsed = not stop and not confirm
  local before_gate = h.gate
  if flipped and h.direction == 1 then
    before_gate = h.gate - error_S / r.set_gate_slope
  end
  h.gate = before_gate
  h.confirming = confirm
  h.probed = h.probed or probe
  if pulsed then
    if kind == 1 then
      h.gate, h.set_amplitude = gate, set_v
    else
      h.reset_amplitude = reset_v
    end
    h.direction, h.pulses, h.flips = kind, h.pulses + 1, flips
    if strongest and not flipped then
      h.at_cap = h.at_cap + 1
    else
      h.at_cap = 0
    end
  end
  local action = kind
  if stop then
    action = 2
  elseif confirm then
    action = 0
  end
  if kind == 1 then
    return action, set_v, gate, status
  end
  return action, reset_v, r.reset_gate, status
end

-- Conductance in S. Beyond the range of currents it is that of its end; nil where there is no number.
function eapu_read(r, smu, gate)
  gate.source.levelv = r.read_gate
  smu.source.levelv = r.v_read
  local current = smu.measure.i()
  smu.source.levelv = 0
  if current ~= current then
    return nil
  end
  if current > 9e37 then
    current = r.read_limit
  elseif current < -9e37 then
    current = -r.read_limit
  end
  return current / r.v_read
end

function eapu_on(smu, gate)
  return smu.source.output == smu.OUTPUT_ON and gate.source.output == gate.OUTPUT_ON
end

-- Writes the cell between smu (column) and ground, its gate at gate, to target (S) with the recipe eapu_recipe.
-- Prints: conductance before and after (S), pulses, readings, energy (J), status; 1, or 0 if an output has gone off or
-- the gate leaks, 2 if a limit was not taken, 3 if a reading was no number; errors; tied, the number of the question.
-- What is not sound is not pulsed.
function eapu_write(smu, gate, target, tied)
  local r = eapu_recipe
  timer.reset()
  local taken = eapu_setup(smu, r.read_range, r.read_limit)
  local before = eapu_read(r, smu, gate)
  local now, pulses, reads, energy, status = before, 0, 1, 0, 1
  local h = eapu_start(before)
  local sound = not gate.source.compliance
  while sound and taken and now ~= nil do
    local action, amplitude, gate_v, decided = eapu_decide(r, target, now, h)
    if action == 2 then
      status = decided
      break
    end
    local was, hit, width = now, false, 0
    if action ~= 0 then
      width = r.reset_width
      if action == 1 then
        width = r.set_width
      end
      gate.source.levelv = gate_v
      taken = eapu_setup(smu, r.pulse_range, r.pulse_limit)
      if taken then
        hit = eapu_pulse(smu, action * amplitude, width, 1)
        pulses = pulses + 1
      end
      taken = eapu_setup(smu, r.read_range, r.read_limit) and taken
    end
    now = eapu_read(r, smu, gate)
    reads = reads + 1
    sound = eapu_on(smu, gate)
    if now == nil then
      break
    end
    if action ~= 0 then
      energy = energy + amplitude * amplitude * (0.5 * (math.max(was, 0) + math.max(now, 0))) * width
    end
    if hit then
      status = 2
      break
    end
    if errorqueue.count > 0 or timer.measure.t() >= r.time_max then
      break
    end
  end
  gate.source.levelv = 0
  sound = sound and eapu_on(smu, gate)
  local state = 0
  if now == nil then
    before, now, state = 0, 0, 3
  elseif not taken then
    state = 2
  elseif sound then
    state = 1
  end
  print(before, now, pulses, reads, energy, status, state, errorqueue.count, tied)
end
