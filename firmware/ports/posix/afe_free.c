#include "afe_free.h"

#include <math.h>
#include <stdlib.h>

/* SET and FORM take a cell to what the gate's voltage lets through, RESET to the bottom: one pulse is enough. */
#define GATE_OFFSET_V 0.7
#define GATE_SLOPE_S_PER_V 40e-6
#define G_BOTTOM_S 1e-6

#define READ_FULL_SCALE_UV 500000
#define DRIVE_FULL_SCALE_UV 5000000
enum { TOP = INT16_MAX };
enum { READ_RANGE = 1, RANGE_COUNT = 4 };
static const float full_scale_a[RANGES_MAX] = {4e-6f, 20e-6f, 100e-6f, 500e-6f};

enum { READ_NS = 10000, PULSE_NS = 1000, PRODUCT_NS = 10000 }; /* bench time, not real time */

static double *cells; /* [array][row][col], S */
static uint32_t rows, cols, arrays;
static uint64_t time_ns;
static uint8_t array, range;
static uint8_t driven[LINES_MAX], measured[LINES_MAX];
static uint32_t driven_count, measured_count;
static bool transposed;

bool afe_free_start(unsigned row_count, unsigned col_count, unsigned array_count)
{
    if (row_count - 1 >= LINES_MAX || col_count - 1 >= LINES_MAX || array_count - 1 >= ARRAYS_MAX)
        return false;
    rows = row_count;
    cols = col_count;
    arrays = array_count;
    time_ns = 0;
    free(cells);
    cells = calloc((size_t)arrays * rows * cols, sizeof *cells);
    for (size_t i = 0; cells && i < (size_t)arrays * rows * cols; i++)
        cells[i] = G_BOTTOM_S;
    return cells != NULL;
}

static double *cell(uint32_t a, uint32_t row, uint32_t col)
{
    return a < arrays && row < rows && col < cols ? &cells[(a * rows + row) * cols + col] : NULL;
}

static double read_volts(int16_t code)
{
    return code * (READ_FULL_SCALE_UV * 1e-6 / TOP);
}

static int16_t measure(double current_a, uint8_t in_range)
{
    const double code = floor(current_a / (double)full_scale_a[in_range] * TOP + 0.5);
    return (int16_t)fmin(fmax(code, -TOP), TOP);
}

static bool open(afe_message_t *m)
{
    afe_info_msg_t info = {0};
    info.time_ns = time_ns;
    info.arrays = (uint8_t)arrays;
    info.rows = (uint16_t)rows;
    info.cols = (uint16_t)cols;
    info.v_max_uv = info.v_gate_max_uv = DRIVE_FULL_SCALE_UV;
    info.i_max_na = 10000000;
    info.width_max_ns = 10000000;
    info.read_full_scale_uv = READ_FULL_SCALE_UV;
    info.read_top = info.adc_top = TOP;
    info.pulse_full_scale_uv = info.gate_full_scale_uv = DRIVE_FULL_SCALE_UV;
    info.pulse_top = info.gate_top = TOP;
    info.read_range = READ_RANGE;
    info.ranges = RANGE_COUNT;
    memcpy(info.range_full_scale_a, full_scale_a, sizeof full_scale_a);
    m->type = MSG_AFE_INFO;
    m->size = afe_info_pack(&info, m->payload);
    return true;
}

static bool done(afe_message_t *m)
{
    const afe_done_msg_t is = {time_ns};
    m->type = MSG_AFE_DONE;
    m->size = afe_done_pack(&is, m->payload);
    return true;
}

static bool skip(afe_message_t *m)
{
    afe_skip_msg_t until;
    if (!afe_skip_unpack(&until, m->payload, m->size))
        return false;
    if (until.until_ns > time_ns)
        time_ns = until.until_ns;
    return done(m);
}

static bool read(afe_message_t *m)
{
    afe_read_msg_t request;
    afe_read_is_msg_t is;
    const size_t count = afe_read_count(m->size);
    int16_t codes[AFE_READ_RECORDS_MAX];
    if (!afe_read_unpack(&request, m->payload, m->size) || count > AFE_READ_RECORDS_MAX)
        return false;
    for (size_t i = 0; i < count; i++) {
        afe_read_record_t record;
        afe_read_record_unpack(&record, m->payload, i);
        const double *g_S = cell(request.array, record.row, record.col);
        if (!g_S)
            return false;
        codes[i] = measure(*g_S * read_volts(record.code), READ_RANGE);
    }
    time_ns += READ_NS * count;
    is.time_ns = time_ns;
    m->type = MSG_AFE_READ_IS;
    m->size = afe_read_is_pack(&is, m->payload) + count * AFE_READ_IS_RECORD_SIZE;
    for (size_t i = 0; i < count; i++)
        put_i16(m->payload + afe_read_is_size(i), codes[i]);
    return true;
}

static bool pulse(afe_message_t *m)
{
    afe_pulse_msg_t request;
    afe_pulsed_msg_t is;
    const size_t count = afe_pulse_count(m->size);
    if (!afe_pulse_unpack(&request, m->payload, m->size))
        return false;
    for (size_t i = 0; i < count; i++) {
        afe_pulse_record_t record;
        afe_pulse_record_unpack(&record, m->payload, i);
        double *g_S = cell(request.array, record.row, record.col);
        if (!g_S)
            return false;
        const double gate_v = record.gate_code * (DRIVE_FULL_SCALE_UV * 1e-6 / TOP);
        *g_S = record.polarity < 0 ? G_BOTTOM_S : fmax(*g_S, GATE_SLOPE_S_PER_V * (gate_v - GATE_OFFSET_V));
        time_ns += PULSE_NS + record.width_ns;
    }
    is.time_ns = time_ns;
    m->type = MSG_AFE_PULSED;
    m->size = afe_pulsed_pack(&is, m->payload) + count;
    memset(m->payload + AFE_PULSED_SIZE, 0, count);
    return true;
}

static uint32_t chosen(const uint8_t *bits, uint32_t lines, uint8_t *line)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < lines; i++)
        if (bits[i / 8] >> (i % 8) & 1)
            line[count++] = (uint8_t)i;
    return count;
}

static bool select_lines(afe_message_t *m)
{
    afe_select_msg_t request;
    if (!afe_select_unpack(&request, m->payload, m->size))
        return false;
    const bool turned = request.direction == LINE_DIRECTION_TRANSPOSED;
    const uint32_t in = turned ? cols : rows, out = turned ? rows : cols;
    if (request.array >= arrays || request.range >= RANGE_COUNT || m->size != AFE_SELECT_SIZE + (in + 7) / 8 + (out + 7) / 8)
        return false;
    array = request.array;
    range = request.range;
    transposed = turned;
    driven_count = chosen(m->payload + AFE_SELECT_SIZE, in, driven);
    measured_count = chosen(m->payload + AFE_SELECT_SIZE + (in + 7) / 8, out, measured);
    return done(m);
}

static bool product(afe_message_t *m)
{
    afe_product_msg_t request;
    afe_product_is_msg_t is;
    int16_t codes[AFE_PRODUCT_IS_RECORDS_MAX];
    if (!afe_product_unpack(&request, m->payload, m->size) ||
        m->size != afe_product_size((size_t)request.vectors * driven_count) ||
        (size_t)request.vectors * measured_count > AFE_PRODUCT_IS_RECORDS_MAX)
        return false;
    for (uint32_t v = 0; v < request.vectors; v++)
        for (uint32_t j = 0; j < measured_count; j++) {
            double current_a = 0.0;
            for (uint32_t i = 0; i < driven_count; i++) {
                const int16_t code = get_i16(m->payload + afe_product_size((size_t)v * driven_count + i));
                const double *g_S = transposed ? cell(array, measured[j], driven[i]) : cell(array, driven[i], measured[j]);
                current_a += read_volts(code) * *g_S;
            }
            codes[v * measured_count + j] = measure(current_a, range);
        }
    time_ns += (uint64_t)PRODUCT_NS * request.vectors;
    is.time_ns = time_ns;
    m->type = MSG_AFE_PRODUCT_IS;
    m->size = afe_product_is_pack(&is, m->payload);
    for (size_t i = 0; i < (size_t)request.vectors * measured_count; i++)
        put_i16(m->payload + afe_product_is_size(i), codes[i]);
    m->size = afe_product_is_size((size_t)request.vectors * measured_count);
    return true;
}

static bool answer(afe_message_t *m)
{
    switch (m->type) {
    case MSG_AFE_OPEN:
        return open(m);
    case MSG_AFE_ARM:
    case MSG_AFE_GROUND:
        return done(m);
    case MSG_AFE_SKIP:
        return skip(m);
    case MSG_AFE_READ:
        return read(m);
    case MSG_AFE_PULSE:
        return pulse(m);
    case MSG_AFE_SELECT:
        return select_lines(m);
    case MSG_AFE_PRODUCT:
        return product(m);
    default:
        return false;
    }
}

void afe_free_answer(afe_message_t *m)
{
    if (!answer(m)) {
        const afe_failed_msg_t failed = {time_ns, "not a request that this array can answer"};
        m->type = MSG_AFE_FAILED;
        m->size = afe_failed_pack(&failed, m->payload);
    }
}
