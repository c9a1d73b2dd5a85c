#include "fake_afe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

fake_t fake;

/* Cells: SET brings one up to what its gate lets through, RESET down to what its amplitude leaves. */
static const double SLOPE_S_PER_V = 40e-6, GATE_THRESHOLD_V = 0.7;
static const double RESET_S_PER_V = 30e-6, RESET_CEILING_V = 2.6, G_LEAST_S = 0.5e-6;

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

void fake_reset(uint8_t arrays, uint16_t rows, uint16_t cols)
{
    static const afe_info_t INFO = {
        .simulated_time = true,
        .v_max_uv = 4000000,
        .v_gate_max_uv = 3000000,
        .i_max_na = 1000000,
        .width_max_ns = 1000000,
        .read_full_scale_uv = 250000,
        .read_top = 511,
        .pulse_full_scale_uv = 4000000,
        .pulse_top = 4095,
        .gate_full_scale_uv = 3000000,
        .gate_top = 4095,
        .adc_top = 2047,
        .read_range = 1,
        .ranges = 4,
        .range_full_scale_a = {4e-6f, 20e-6f, 100e-6f, 500e-6f},
    };
    memset(&fake, 0, sizeof fake);
    fake.info = INFO;
    fake.info.arrays = arrays;
    fake.info.rows = rows;
    fake.info.cols = cols;
    fake.cell_ns = 1000;
    fake.grounded = true;
    for (size_t i = 0; i < sizeof fake.g_S / sizeof(double); i++) {
        (&fake.g_S[0][0][0])[i] = 2e-6;
    }
}

uint32_t fake_calls(fake_kind_t kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < fake.count && i < FAKE_CALLS; i++) {
        count += fake.calls[i].kind == kind ? 1u : 0u;
    }
    return count;
}

const fake_call_t *fake_last(fake_kind_t kind)
{
    for (uint32_t i = fake.count < FAKE_CALLS ? fake.count : FAKE_CALLS; i > 0; i--) {
        if (fake.calls[i - 1].kind == kind) {
            return &fake.calls[i - 1];
        }
    }
    return NULL;
}

void fake_forget(void)
{
    fake.count = 0;
}

/* Records a call, and says whether it is to fail. */
static bool fails(const fake_call_t *call)
{
    if (fake.count < FAKE_CALLS) {
        fake.calls[fake.count] = *call;
    }
    fake.count++;
    if (fake.fail_at == 0) {
        return false;
    }
    return --fake.fail_at == 0;
}

static void most(int32_t *so_far, int32_t code)
{
    *so_far = abs(code) > *so_far ? abs(code) : *so_far;
}

static int16_t measured(double current_a, uint8_t range)
{
    const double top = fake.info.adc_top;
    const double code = floor(current_a / (double)fake.info.range_full_scale_a[range] * top + 0.5);
    return (int16_t)larger(smaller(code, top), -top);
}

/* From -noise_S to noise_S. */
static double noise_S(void)
{
    fake.seed = fake.seed * 1664525u + 1013904223u;
    return fake.noise_S * ((double)(fake.seed >> 8) / (double)(1u << 23) - 1.0);
}

static double read_volts(int32_t code)
{
    return code * 1e-6 * fake.info.read_full_scale_uv / fake.info.read_top;
}

bool afe_open(afe_info_t *info)
{
    const fake_call_t call = {.kind = CALL_OPEN};
    *info = fake.info;
    return !fails(&call);
}

uint64_t afe_time_ns(void)
{
    return fake.time_ns;
}

bool afe_skip(uint64_t until_ns)
{
    const fake_call_t call = {.kind = CALL_SKIP};
    if (until_ns > fake.time_ns) {
        fake.time_ns = until_ns;
    }
    return !fails(&call);
}

bool afe_arm(uint32_t i_max_na, uint32_t width_max_ns, int32_t v_gate_max_uv)
{
    const fake_call_t call = {.kind = CALL_ARM};
    fake.i_max_na = i_max_na;
    fake.width_max_ns = width_max_ns;
    fake.v_gate_max_uv = v_gate_max_uv;
    return !fails(&call);
}

bool afe_ground(void)
{
    const fake_call_t call = {.kind = CALL_GROUND};
    if (fake.on_ground != NULL) {
        fake.on_ground();
    }
    if (fails(&call)) {
        return false;
    }
    if (fake.fail_grounds > 0) {
        fake.fail_grounds--;
        return false;
    }
    fake.grounded = true;
    return true;
}

bool afe_read(uint8_t array, const afe_read_t *cells, uint8_t count, int16_t *codes)
{
    fake_call_t call = {.kind = CALL_READ, .array = array, .count = count};
    memcpy(call.reads, cells, sizeof *cells * (count < FAKE_CELLS ? count : (size_t)FAKE_CELLS));
    fake.grounded = false;
    for (uint8_t i = 0; i < count; i++) {
        most(&fake.most_read_code, cells[i].code);
        const double g_S = fake.g_S[array][cells[i].row][cells[i].col] + noise_S();
        const double current_a = g_S * read_volts(cells[i].code);
        codes[i] = measured(current_a, fake.info.read_range);
    }
    fake.time_ns += count * fake.cell_ns;
    return !fails(&call);
}

/* One pulse on one cell; returns whether it met the current limit. */
static bool apply(uint8_t array, const afe_pulse_t *pulse)
{
    const double volts = pulse->line_code * 1e-6 * fake.info.pulse_full_scale_uv / fake.info.pulse_top;
    const double gate_v = pulse->gate_code * 1e-6 * fake.info.gate_full_scale_uv / fake.info.gate_top;
    double *g_S = &fake.g_S[array][pulse->row][pulse->col];
    most(&fake.most_line_code, pulse->line_code);
    most(&fake.most_gate_code, pulse->gate_code);
    fake.pulses[array][pulse->row][pulse->col]++;
    if (fake.stuck[array][pulse->row][pulse->col]) {
        return false;
    }
    const double before_S = *g_S;
    if (pulse->polarity > 0) {
        *g_S = larger(*g_S, SLOPE_S_PER_V * (gate_v - GATE_THRESHOLD_V) + noise_S());
    } else {
        *g_S = smaller(*g_S, larger(G_LEAST_S, RESET_S_PER_V * (RESET_CEILING_V - volts) + noise_S()));
    }
    return larger(before_S, *g_S) * volts * 1e9 >= fake.i_max_na;
}

bool afe_pulse(uint8_t array, const afe_pulse_t *pulses, uint8_t count, uint8_t *compliance)
{
    fake_call_t call = {.kind = CALL_PULSE, .array = array, .count = count};
    memcpy(call.pulses, pulses, sizeof *pulses * (count < FAKE_CELLS ? count : (size_t)FAKE_CELLS));
    fake.grounded = false;
    if (fails(&call)) {
        return false;
    }
    for (uint8_t i = 0; i < count; i++) {
        compliance[i] = apply(array, &pulses[i]) ? 1 : 0;
    }
    fake.time_ns += count * fake.cell_ns;
    return true;
}

/* What the last select chose. */
static struct {
    uint8_t array, range;
    bool forward;
    uint16_t driven_count, measured_count;
    uint16_t driven[LINES_MAX], measured[LINES_MAX];
} chosen;

static uint16_t lines_of(const uint8_t *bits, uint16_t lines, uint16_t *out)
{
    uint16_t count = 0;
    for (uint16_t i = 0; i < lines; i++) {
        if ((bits[i / 8] >> (i % 8) & 1) != 0) {
            out[count++] = i;
        }
    }
    return count;
}

bool afe_select(uint8_t array, uint8_t direction, uint8_t range, const uint8_t *bits, uint8_t size)
{
    fake_call_t call = {.kind = CALL_SELECT, .array = array, .direction = direction, .range = range, .size = size};
    memcpy(call.bits, bits, size);
    chosen.array = array;
    chosen.range = range;
    chosen.forward = direction == LINE_DIRECTION_FORWARD;
    const uint16_t driven = chosen.forward ? fake.info.rows : fake.info.cols;
    const uint16_t other = chosen.forward ? fake.info.cols : fake.info.rows;
    chosen.driven_count = lines_of(bits, driven, chosen.driven);
    chosen.measured_count = lines_of(bits + (driven + 7) / 8, other, chosen.measured);
    return !fails(&call);
}

bool afe_product(uint16_t vectors, const int16_t *in, uint16_t in_count, int16_t *out, uint16_t out_count)
{
    const fake_call_t call = {.kind = CALL_PRODUCT, .array = chosen.array, .count = vectors};
    fake.grounded = false;
    if (fails(&call) || in_count != vectors * chosen.driven_count || out_count != vectors * chosen.measured_count) {
        return false;
    }
    for (uint16_t v = 0; v < vectors; v++) {
        for (uint16_t m = 0; m < chosen.measured_count; m++) {
            double current_a = 0.0;
            for (uint16_t d = 0; d < chosen.driven_count; d++) {
                const int16_t code = in[v * chosen.driven_count + d];
                const uint16_t row = chosen.forward ? chosen.driven[d] : chosen.measured[m];
                const uint16_t col = chosen.forward ? chosen.measured[m] : chosen.driven[d];
                most(&fake.most_read_code, code);
                current_a += fake.g_S[chosen.array][row][col] * read_volts(code);
            }
            out[v * chosen.measured_count + m] = measured(current_a, chosen.range);
        }
    }
    fake.time_ns += vectors * fake.cell_ns;
    return true;
}
