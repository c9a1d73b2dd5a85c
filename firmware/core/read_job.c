#include "read_job.h"

#include "board_limits.h"
#include "convert.h"
#include "drive.h"

/* Whether the block can be; the cells inside it are not looked at yet. */
static verdict_t check(const board_t *board, const read_msg_t *m)
{
    const double most_uv = board->limits.v_read_max_uv;
    const double size_uv = m->v_read_uv < 0 ? -(double)m->v_read_uv : (double)m->v_read_uv;
    if (!board->limits.set) {
        return verdict_refused(REASON_NOT_CONFIGURED, 0, 0.0, 0.0);
    }
    if (size_uv > most_uv || m->v_read_uv == 0) {
        return verdict_refused(REASON_V_READ_MAX, 0, (double)m->v_read_uv * 1e-6, most_uv * 1e-6);
    }
    const uint32_t count = (uint32_t)m->rows * m->cols;
    if (count == 0 || count > CODES_MAX) {
        return verdict_refused(REASON_BAD_VALUE, 0, count, CODES_MAX);
    }
    const uint32_t last_row = (uint32_t)m->row + m->rows - 1u, last_col = (uint32_t)m->col + m->cols - 1u;
    if (last_row > UINT16_MAX || last_col > UINT16_MAX) {
        return verdict_refused(REASON_BAD_CELL, 0, 0.0, 0.0);
    }
    return limits_check_cell(board, m->array, (uint16_t)last_row, (uint16_t)last_col, 0);
}

verdict_t read_start(board_t *board, const uint8_t *payload, size_t n)
{
    read_msg_t m;
    if (!read_unpack(&m, payload, n)) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, READ_SIZE);
    }
    const verdict_t verdict = check(board, &m);
    if (verdict.reason != REASON_NONE) {
        return verdict;
    }
    read_job_t *job = &board->job.read;
    job->id = m.id;
    job->array = m.array;
    job->count = 0;
    for (uint16_t row = m.row; row < m.row + m.rows; row++) {
        const int32_t code = convert_read_code(board, m.array, LINE_KIND_ROW_DAC, row, (double)m.v_read_uv);
        if (code == 0 || !span_holds(convert_read_span(board, m.array, LINE_KIND_ROW_DAC, row), code)) {
            return verdict_refused(REASON_CONVERTER, row, (double)m.v_read_uv * 1e-6,
                                   (double)board->info.read_full_scale_uv * 1e-6);
        }
        for (uint16_t col = m.col; col < m.col + m.cols; col++) {
            const afe_read_t cell = {row, col, (int16_t)code};
            job->cells[job->count++] = cell;
        }
    }
    board->work = WORK_READ;
    return verdict;
}

job_state_t read_step(board_t *board)
{
    read_job_t *job = &board->job.read;
    return drive_read(board, job->array, job->cells, job->count, job->codes) ? JOB_DONE : JOB_FAILED;
}

size_t read_result(const read_job_t *job, uint8_t *payload)
{
    const read_is_msg_t m = {job->id};
    read_is_pack(&m, payload);
    for (size_t i = 0; i < job->count; i++) {
        const read_is_record_t record = {job->codes[i]};
        read_is_record_pack(&record, payload, i);
    }
    return read_is_size(job->count);
}
