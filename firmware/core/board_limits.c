#include "board_limits.h"

#include <math.h>

#include "convert.h"

/* A calibration corrects what a converter is off by. One beyond these would be a way around the limits. */
static const float GAIN_MIN = 0.5f, GAIN_MAX = 2.0f;
static const float OFFSET_MAX = 0.1f; /* V of a driver; of the range of a converter */

/* One limit: what is asked, what the board allows, and the unit of both in SI. */
typedef struct {
    double asked, allowed, unit;
} bound_t;

verdict_t limits_set(board_t *board, const uint8_t *payload, size_t n)
{
    limits_msg_t m;
    if (!limits_unpack(&m, payload, n)) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, LIMITS_SIZE);
    }
    const afe_info_t *info = &board->info;
    const bound_t bounds[] = {
        {m.v_max_uv, info->v_max_uv, 1e-6},   {m.v_gate_max_uv, info->v_gate_max_uv, 1e-6},
        {m.v_read_max_uv, info->v_max_uv, 1e-6}, {m.i_max_na, info->i_max_na, 1e-9},
        {m.width_max_ns, info->width_max_ns, 1e-9}, {m.pulses_per_cell_max, UINT32_MAX, 1.0},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        const bound_t *b = &bounds[i];
        if (b->asked <= 0.0 || b->asked > b->allowed) {
            const uint8_t reason = b->asked <= 0.0 ? REASON_BAD_VALUE : REASON_BOARD_LIMIT;
            return verdict_refused(reason, i + 1, b->asked * b->unit, b->allowed * b->unit);
        }
    }
    board->limits.set = false; /* until the front end enforces them too */
    if (!afe_arm(m.i_max_na, m.width_max_ns, m.v_gate_max_uv)) {
        return verdict_refused(REASON_FRONT_END, 0, 0.0, 0.0);
    }
    const limits_t limits = {true,       m.v_max_uv,     m.v_gate_max_uv,      m.v_read_max_uv,
                             m.i_max_na, m.width_max_ns, m.pulses_per_cell_max};
    board->limits = limits;
    return verdict_accepted();
}

size_t limits_get(const board_t *board, uint32_t id, uint8_t *payload)
{
    const limits_t *l = &board->limits;
    const limits_are_msg_t m = {id,          l->v_max_uv,     l->v_gate_max_uv,      l->v_read_max_uv,
                                l->i_max_na, l->width_max_ns, l->pulses_per_cell_max};
    return limits_are_pack(&m, payload);
}

/* Rows or columns that lines of this kind number. */
static uint16_t lines_of(const board_t *board, uint8_t kind)
{
    return kind == LINE_KIND_COL_DAC || kind == LINE_KIND_COL_ADC ? board->info.cols : board->info.rows;
}

verdict_t calibrate_set(board_t *board, const uint8_t *payload, size_t n)
{
    calibrate_msg_t m;
    const size_t count = calibrate_count(n);
    if (!calibrate_unpack(&m, payload, n)) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, CALIBRATE_SIZE);
    }
    if (m.array >= board->info.arrays || m.kind >= LINE_KINDS || count == 0) {
        return verdict_refused(REASON_BAD_VALUE, 0, 0.0, 0.0);
    }
    const uint16_t lines = lines_of(board, m.kind);
    if (m.first + count > lines) {
        return verdict_refused(REASON_BAD_VALUE, 0, (double)(m.first + count), lines);
    }
    calibrate_record_t line;
    for (size_t i = 0; i < count; i++) {
        calibrate_record_unpack(&line, payload, i);
        if (!(line.gain >= GAIN_MIN && line.gain <= GAIN_MAX)) {
            return verdict_refused(REASON_BAD_VALUE, m.first + i, (double)line.gain, (double)GAIN_MAX);
        }
        if (!(fabsf(line.offset) <= OFFSET_MAX)) {
            return verdict_refused(REASON_BAD_VALUE, m.first + i, (double)line.offset, (double)OFFSET_MAX);
        }
    }
    for (size_t i = 0; i < count; i++) {
        calibrate_record_unpack(&line, payload, i);
        const line_calibration_t calibration = {line.gain, line.offset};
        board->calibration[m.array][m.kind][m.first + i] = calibration;
    }
    return verdict_accepted();
}

verdict_t limits_check_cell(const board_t *board, uint8_t array, uint16_t row, uint16_t col, size_t index)
{
    const afe_info_t *info = &board->info;
    if (array >= info->arrays) {
        return verdict_refused(REASON_BAD_CELL, index, array, info->arrays - 1);
    }
    if (row >= info->rows) {
        return verdict_refused(REASON_BAD_CELL, index, row, info->rows - 1);
    }
    if (col >= info->cols) {
        return verdict_refused(REASON_BAD_CELL, index, col, info->cols - 1);
    }
    return verdict_accepted();
}
