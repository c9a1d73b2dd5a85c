/* The front end of the reference board. Lines are driven inside a window of the hardware timer and at no other
 * time; between two calls only the gates of a product's rows are at a voltage. */
#include "afe.h"

#include "parts.h"
#include "port.h"
#include "wiring.h"

static bool seen; /* the parts answered once: from then on grounding that they do not take is a fault */
static uint32_t width_max_ns;
static int32_t read_gate_code; /* 0 until armed: gates stay shut */

/* Of the products: lines of the array, numbered as wiring.h does. */
static uint8_t driven[LINES], measured[LINES];
static uint32_t driven_count, measured_count;
static uint32_t driver; /* DAC_ROWS or DAC_COLS */

static bool usable(uint8_t array)
{
    if (array != 0 || !parts_ready())
        return false;
    seen = true;
    return true;
}

bool afe_open(afe_info_t *info)
{
    info->arrays = 1;
    info->rows = ROWS;
    info->cols = COLS;
    info->simulated_time = false;
    info->v_max_uv = info->v_gate_max_uv = DRIVE_FULL_SCALE_UV;
    info->i_max_na = BOARD_I_MAX_NA;
    info->width_max_ns = BOARD_WIDTH_MAX_NS;
    info->read_full_scale_uv = info->pulse_full_scale_uv = info->gate_full_scale_uv = DRIVE_FULL_SCALE_UV;
    info->read_top = info->pulse_top = info->gate_top = DRIVE_TOP;
    info->adc_top = ADC_TOP;
    info->read_range = READ_RANGE;
    info->ranges = RANGE_COUNT;
    for (uint32_t i = 0; i < RANGES_MAX; i++)
        info->range_full_scale_a[i] = i < RANGE_COUNT ? ADC_FULL_SCALE_V / FEEDBACK_OHM[i] : 0.0f;
    return true;
}

uint64_t afe_time_ns(void)
{
    return port_now_us() * 1000u;
}

bool afe_skip(uint64_t until_ns)
{
    (void)until_ns;
    return true;
}

bool afe_arm(uint32_t i_max_na, uint32_t longest_ns, int32_t v_gate_max_uv)
{
    const int32_t gate_uv = v_gate_max_uv < READ_GATE_UV ? v_gate_max_uv : READ_GATE_UV;
    limit_set(i_max_na);
    width_max_ns = longest_ns;
    read_gate_code = (int32_t)((int64_t)gate_uv * DRIVE_TOP / DRIVE_FULL_SCALE_UV); /* never rounded up */
    return true;
}

bool afe_ground(void)
{
    bool done;
    window_close();
    done = lines_connect(0, 0);
    for (uint32_t dac = 0; dac < DACS; dac++) {
        for (uint32_t line = 0; line < ROWS; line++)
            done = dac_load(dac, line, 0) && done;
        done = dac_update(dac) && done;
    }
    driven_count = measured_count = 0;
    return done || !seen;
}

/* Columns `lines` while one row is driven. */
static bool read_row(uint16_t row, int16_t code, const uint8_t *lines, size_t count, int16_t *codes)
{
    const uint32_t columns = (uint32_t)(((1u << COLS) - 1u) << ROWS);
    bool done = lines_connect(1u << row, columns) && dac_set(DAC_GATES, row, read_gate_code) &&
                dac_set(DAC_ROWS, row, code);
    if (done) {
        wait_us(DAC_SETTLE_US);
        window_open(READ_WINDOW_NS);
        wait_us(READ_SETTLE_US);
        done = adc_measure(lines, count, codes) && window_is_open(); /* else it measured an undriven row */
    }
    window_close();
    return dac_set(DAC_ROWS, row, 0) && dac_set(DAC_GATES, row, 0) && done;
}

bool afe_read(uint8_t array, const afe_read_t *cells, uint8_t count, int16_t *codes)
{
    bool done = usable(array);
    adc_range(READ_RANGE);
    for (uint8_t first = 0, end; first < count && done; first = end) {
        uint8_t lines[COLS];
        end = first;
        while (end < count && end - first < COLS && cells[end].row == cells[first].row &&
               cells[end].code == cells[first].code) {
            lines[end - first] = (uint8_t)(ROWS + cells[end].col);
            end++;
        }
        done = read_row(cells[first].row, cells[first].code, lines, (size_t)(end - first), codes + first);
    }
    return done;
}

static bool pulse_one(const afe_pulse_t *pulse, uint8_t *compliance)
{
    const bool reset = pulse->polarity < 0;
    const uint32_t dac = reset ? DAC_ROWS : DAC_COLS, channel = reset ? pulse->row : pulse->col;
    const uint32_t line = reset ? channel : ROWS + channel;
    const uint64_t late_us = port_now_us() + DAC_SETTLE_US + pulse->width_ns / 1000u + 1000u;
    bool done = pulse->width_ns <= width_max_ns && lines_connect(1u << line, 0) &&
                dac_set(dac, channel, pulse->line_code) && dac_set(DAC_GATES, pulse->row, pulse->gate_code);
    if (done) {
        wait_us(DAC_SETTLE_US);
        limit_clear();
        window_open(pulse->width_ns);
        while (window_is_open() && port_now_us() < late_us)
            ;
        done = !window_is_open();
        *compliance = limit_hit();
    }
    window_close();
    return dac_set(dac, channel, 0) && dac_set(DAC_GATES, pulse->row, 0) && done;
}

bool afe_pulse(uint8_t array, const afe_pulse_t *pulses, uint8_t count, uint8_t *compliance)
{
    bool done = usable(array);
    for (uint8_t i = 0; i < count && done; i++)
        done = pulse_one(&pulses[i], &compliance[i]);
    return done;
}

/* The lines whose bits are set, from line number `first` on; returns how many. */
static uint32_t chosen(const uint8_t *bits, uint32_t count, uint32_t first, uint8_t *lines, uint32_t *mask)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++)
        if (bits[i / 8] >> (i % 8) & 1) {
            lines[found++] = (uint8_t)(first + i);
            *mask |= 1u << (first + i);
        }
    return found;
}

bool afe_select(uint8_t array, uint8_t direction, uint8_t range, const uint8_t *bits, uint8_t size)
{
    const bool transposed = direction == LINE_DIRECTION_TRANSPOSED;
    uint32_t drive = 0, measure = 0, rows;
    bool done;
    _Static_assert(ROWS % 8 == 0 && COLS % 8 == 0, "the masks of driven and measured lines start at a byte");
    if (size != LINES / 8 || range >= RANGE_COUNT || !usable(array))
        return false;
    driver = transposed ? DAC_COLS : DAC_ROWS;
    driven_count = chosen(bits, transposed ? COLS : ROWS, transposed ? ROWS : 0, driven, &drive);
    bits += (transposed ? COLS : ROWS) / 8;
    measured_count = chosen(bits, transposed ? ROWS : COLS, transposed ? 0 : ROWS, measured, &measure);
    adc_range(range);
    done = lines_connect(drive, measure);
    rows = transposed ? measure : drive;
    for (uint32_t row = 0; row < ROWS; row++)
        done = dac_load(DAC_GATES, row, rows >> row & 1u ? read_gate_code : 0) && done;
    done = dac_update(DAC_GATES) && done;
    wait_us(DAC_SETTLE_US);
    return done;
}

bool afe_product(uint16_t vectors, const int16_t *in, uint16_t in_count, int16_t *out, uint16_t out_count)
{
    const uint32_t first = driver == DAC_ROWS ? 0 : ROWS;
    bool done = parts_ready() && in_count == vectors * driven_count && out_count == vectors * measured_count;
    for (uint32_t v = 0; v < vectors && done; v++) {
        for (uint32_t i = 0; i < driven_count; i++)
            done = dac_load(driver, driven[i] - first, *in++) && done;
        done = dac_update(driver) && done;
        wait_us(DAC_SETTLE_US);
        window_open(READ_WINDOW_NS);
        wait_us(READ_SETTLE_US);
        done = adc_measure(measured, measured_count, out) && done && window_is_open();
        window_close();
        out += measured_count;
    }
    for (uint32_t i = 0; i < driven_count; i++)
        done = dac_load(driver, driven[i] - first, 0) && done;
    return dac_update(driver) && done;
}
