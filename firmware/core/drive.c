#include "drive.h"

#include "convert.h"

static bool failed(board_t *board, fault_t fault)
{
    board->fault = (uint8_t)fault;
    return false;
}

static bool cell_exists(const board_t *board, uint8_t array, uint16_t row, uint16_t col)
{
    return array < board->info.arrays && row < board->info.rows && col < board->info.cols;
}

bool drive_read(board_t *board, uint8_t array, const afe_read_t *cells, uint8_t count, int16_t *codes)
{
    span_t span = {1, 0};
    bool allowed = board->limits.set && count > 0;
    for (uint8_t i = 0; i < count && allowed; i++) {
        allowed = cell_exists(board, array, cells[i].row, cells[i].col);
        if (allowed && (i == 0 || cells[i].row != cells[i - 1].row)) { /* a span costs more than all the rest */
            span = convert_read_span(board, array, LINE_KIND_ROW_DAC, cells[i].row);
        }
        allowed = allowed && span_holds(span, cells[i].code);
    }
    if (!allowed) {
        return failed(board, FAULT_GUARD);
    }
    board->driven = true;
    return afe_read(array, cells, count, codes) || failed(board, FAULT_FRONT_END);
}

static bool pulse_allowed(const board_t *board, uint8_t array, const afe_pulse_t *pulse)
{
    const bool known = pulse->polarity == POLARITY_RESET || pulse->polarity == POLARITY_SET ||
                       pulse->polarity == POLARITY_FORM;
    if (!known || !cell_exists(board, array, pulse->row, pulse->col)) {
        return false;
    }
    const span_t line = convert_pulse_span(board, array, pulse->polarity, pulse->row, pulse->col);
    const span_t gate = convert_gate_span(board, array, pulse->row);
    return span_holds(line, pulse->line_code) && span_holds(gate, pulse->gate_code) && pulse->width_ns > 0 &&
           pulse->width_ns <= board->limits.width_max_ns;
}

bool drive_pulse(board_t *board, uint8_t array, const afe_pulse_t *pulses, uint8_t count, uint8_t *compliance)
{
    bool allowed = board->limits.set && count > 0;
    for (uint8_t i = 0; i < count && allowed; i++) {
        allowed = pulse_allowed(board, array, &pulses[i]);
    }
    if (!allowed) {
        return failed(board, FAULT_GUARD);
    }
    board->driven = true;
    return afe_pulse(array, pulses, count, compliance) || failed(board, FAULT_FRONT_END);
}

bool drive_select(board_t *board, uint8_t array, uint8_t direction, uint8_t range, const uint8_t *bits, uint8_t size)
{
    if (!board->limits.set || array >= board->info.arrays || range >= board->info.ranges) {
        return failed(board, FAULT_GUARD);
    }
    board->driven = true;
    return afe_select(array, direction, range, bits, size) || failed(board, FAULT_FRONT_END);
}

bool drive_product(board_t *board, uint16_t vectors, const int16_t *in, int16_t *out)
{
    const selection_t *lines = &board->selection;
    const uint32_t in_count = (uint32_t)vectors * lines->driven;
    const uint32_t out_count = (uint32_t)vectors * lines->measured;
    bool allowed = board->limits.set && in_count > 0 && in_count <= PRODUCT_IN_MAX && out_count <= PRODUCT_OUT_MAX;
    uint8_t line = 0;
    for (uint32_t i = 0; i < in_count && allowed; i++) {
        allowed = span_holds(lines->span[line], in[i]);
        line = (uint8_t)(line + 1 < lines->driven ? line + 1 : 0);
    }
    if (!allowed) {
        return failed(board, FAULT_GUARD);
    }
    board->driven = true;
    return afe_product(vectors, in, (uint16_t)in_count, out, (uint16_t)out_count) || failed(board, FAULT_FRONT_END);
}
