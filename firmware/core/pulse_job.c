#include "pulse_job.h"

#include "board_limits.h"
#include "convert.h"
#include "drive.h"

/* Whether one record is inside the limits. */
static verdict_t check_limits(const limits_t *limits, const pulse_record_t *r, size_t index)
{
    if (r->polarity != POLARITY_RESET && r->polarity != POLARITY_SET && r->polarity != POLARITY_FORM) {
        return verdict_refused(REASON_BAD_VALUE, index, r->polarity, 0.0);
    }
    if (r->amplitude_uv <= 0 || r->amplitude_uv > limits->v_max_uv) {
        return verdict_refused(REASON_V_MAX, index, r->amplitude_uv * 1e-6, limits->v_max_uv * 1e-6);
    }
    if (r->gate_uv < 0 || r->gate_uv > limits->v_gate_max_uv) {
        return verdict_refused(REASON_V_GATE_MAX, index, r->gate_uv * 1e-6, limits->v_gate_max_uv * 1e-6);
    }
    if (r->width_ns == 0 || r->width_ns > limits->width_max_ns) {
        return verdict_refused(REASON_WIDTH_MAX, index, r->width_ns * 1e-9, limits->width_max_ns * 1e-9);
    }
    if (r->count == 0 || r->count > limits->pulses_per_cell_max) {
        return verdict_refused(REASON_PULSES_MAX, index, r->count, limits->pulses_per_cell_max);
    }
    return verdict_accepted();
}

/* Converts one record that is inside the limits. */
static verdict_t convert(const board_t *board, uint8_t array, const pulse_record_t *r, size_t index, afe_pulse_t *pulse)
{
    const afe_info_t *info = &board->info;
    const int32_t line = convert_pulse_code(board, array, r->polarity, r->row, r->col, r->amplitude_uv);
    if (!span_holds(convert_pulse_span(board, array, r->polarity, r->row, r->col), line)) {
        return verdict_refused(REASON_CONVERTER, index, r->amplitude_uv * 1e-6, info->pulse_full_scale_uv * 1e-6);
    }
    const int32_t gate = convert_gate_code(board, array, r->row, r->gate_uv);
    if (!span_holds(convert_gate_span(board, array, r->row), gate)) {
        return verdict_refused(REASON_CONVERTER, index, r->gate_uv * 1e-6, info->gate_full_scale_uv * 1e-6);
    }
    const afe_pulse_t made = {r->row, r->col, r->polarity, (uint16_t)line, (uint16_t)gate, r->width_ns};
    *pulse = made;
    return verdict_accepted();
}

/* Takes one record into the job; a cell may be named once only. */
static verdict_t take(const board_t *board, pulse_job_t *job, const pulse_record_t *r)
{
    const size_t index = job->count;
    verdict_t verdict = limits_check_cell(board, job->array, r->row, r->col, index);
    for (size_t i = 0; i < index && verdict.reason == REASON_NONE; i++) {
        if (job->cells[i].pulse.row == r->row && job->cells[i].pulse.col == r->col) {
            verdict = verdict_refused(REASON_BAD_CELL, index, 0.0, 0.0);
        }
    }
    if (verdict.reason == REASON_NONE) {
        verdict = check_limits(&board->limits, r, index);
    }
    pulse_cell_t cell = {.asked = r->count};
    if (verdict.reason == REASON_NONE) {
        verdict = convert(board, job->array, r, index, &cell.pulse);
    }
    job->cells[job->count++] = cell;
    return verdict;
}

verdict_t pulse_start(board_t *board, const uint8_t *payload, size_t n)
{
    pulse_msg_t m;
    const size_t count = pulse_count(n);
    if (!pulse_unpack(&m, payload, n) || count > CELLS_MAX) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, (double)pulse_size(CELLS_MAX));
    }
    if (!board->limits.set) {
        return verdict_refused(REASON_NOT_CONFIGURED, 0, 0.0, 0.0);
    }
    if (count == 0) {
        return verdict_refused(REASON_BAD_VALUE, 0, 0.0, CELLS_MAX);
    }
    pulse_job_t *job = &board->job.pulse;
    job->id = m.id;
    job->array = m.array;
    job->count = 0;
    for (size_t i = 0; i < count; i++) {
        pulse_record_t record;
        pulse_record_unpack(&record, payload, i);
        const verdict_t verdict = take(board, job, &record);
        if (verdict.reason != REASON_NONE) {
            return verdict;
        }
    }
    board->work = WORK_PULSE;
    return verdict_accepted();
}

/* A cell that hit the current limit gets no further pulse. */
static bool goes_on(const pulse_cell_t *cell)
{
    return cell->applied < cell->asked && cell->status == CELL_STATUS_OK;
}

job_state_t pulse_step(board_t *board)
{
    pulse_job_t *job = &board->job.pulse;
    afe_pulse_t round[CELLS_MAX] = {{0}};
    uint8_t compliance[CELLS_MAX] = {0}, of[CELLS_MAX], count = 0;
    for (uint8_t i = 0; i < job->count; i++) {
        if (goes_on(&job->cells[i])) {
            of[count] = i;
            round[count++] = job->cells[i].pulse;
        }
    }
    const bool driven = drive_pulse(board, job->array, round, count, compliance);
    bool more = false;
    for (uint8_t i = 0; i < count; i++) {
        pulse_cell_t *cell = &job->cells[of[i]];
        /* Where the front end failed, the pulse may have been applied: better one too many in the books. */
        cell->applied = (uint16_t)(cell->applied + (driven || board->fault == FAULT_FRONT_END ? 1 : 0));
        cell->status = driven ? (compliance[i] ? CELL_STATUS_COMPLIANCE : CELL_STATUS_OK) : CELL_STATUS_ABORTED;
        more = more || goes_on(cell);
    }
    return driven ? (more ? JOB_MORE : JOB_DONE) : JOB_FAILED;
}

size_t pulse_result(const pulse_job_t *job, uint8_t *payload)
{
    const pulsed_msg_t m = {job->id};
    pulsed_pack(&m, payload);
    for (size_t i = 0; i < job->count; i++) {
        const pulse_cell_t *cell = &job->cells[i];
        const pulsed_record_t record = {cell->applied, goes_on(cell) ? CELL_STATUS_ABORTED : cell->status};
        pulsed_record_pack(&record, payload, i);
    }
    return pulsed_size(job->count);
}
