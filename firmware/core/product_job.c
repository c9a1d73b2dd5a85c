#include "product_job.h"

#include <string.h>

#include "convert.h"
#include "drive.h"

static bool bit_of(const uint8_t *bits, size_t line)
{
    return (bits[line / 8] >> (line % 8) & 1) != 0;
}

/* How many of `lines` bits are set; `lines` + 1 where the padding is not zero. */
static size_t count_bits(const uint8_t *bits, size_t lines)
{
    size_t count = 0;
    for (size_t line = 0; line < (lines + 7) / 8 * 8; line++) {
        if (bit_of(bits, line)) {
            if (line >= lines) {
                return lines + 1;
            }
            count++;
        }
    }
    return count;
}

/* Which lines are driven, and how far each may be: computed once for all the vectors. */
static void choose_lines(board_t *board, const product_msg_t *m, const uint8_t *bits, size_t lines)
{
    selection_t *chosen = &board->selection;
    const uint8_t kind = m->direction == LINE_DIRECTION_FORWARD ? LINE_KIND_ROW_DAC : LINE_KIND_COL_DAC;
    chosen->driven = 0;
    for (uint16_t line = 0; line < lines; line++) {
        if (bit_of(bits, line)) {
            chosen->line[chosen->driven] = (uint8_t)line;
            chosen->span[chosen->driven++] = convert_read_span(board, m->array, kind, line);
        }
    }
}

static verdict_t check(const board_t *board, const product_msg_t *m)
{
    if (!board->limits.set) {
        return verdict_refused(REASON_NOT_CONFIGURED, 0, 0.0, 0.0);
    }
    if (m->array >= board->info.arrays) {
        return verdict_refused(REASON_BAD_CELL, 0, m->array, board->info.arrays - 1);
    }
    if (m->direction > LINE_DIRECTION_TRANSPOSED) {
        return verdict_refused(REASON_BAD_VALUE, 0, m->direction, LINE_DIRECTION_TRANSPOSED);
    }
    if (m->range >= board->info.ranges) {
        return verdict_refused(REASON_BAD_VALUE, 0, m->range, board->info.ranges - 1);
    }
    return m->vectors > 0 ? verdict_accepted() : verdict_refused(REASON_BAD_VALUE, 0, 0.0, UINT32_MAX);
}

/* A new job for lines that were counted. */
static void begin(product_job_t *job, const product_msg_t *m, size_t driven, size_t measured)
{
    const size_t in = PRODUCT_IN_MAX / driven, out = PRODUCT_OUT_MAX / measured;
    job->id = m->id;
    job->array = m->array;
    job->direction = m->direction;
    job->range = m->range;
    job->selected = false;
    job->per_call = (uint16_t)(in < out ? in : out);
    job->left = m->vectors;
    job->owed = (uint64_t)m->vectors * driven;
    job->line = 0;
    job->in_count = job->out_count = 0;
}

verdict_t product_start(board_t *board, const uint8_t *payload, size_t n)
{
    product_msg_t m;
    if (!product_unpack(&m, payload, n)) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, PRODUCT_SIZE);
    }
    const verdict_t verdict = check(board, &m);
    if (verdict.reason != REASON_NONE) {
        return verdict;
    }
    const bool forward = m.direction == LINE_DIRECTION_FORWARD;
    const size_t driven_lines = forward ? board->info.rows : board->info.cols;
    const size_t measured_lines = forward ? board->info.cols : board->info.rows;
    const size_t driven_bytes = (driven_lines + 7) / 8, size = driven_bytes + (measured_lines + 7) / 8;
    if (product_count(n) != size) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, (double)product_size(size));
    }
    const uint8_t *bits = payload + PRODUCT_SIZE;
    const size_t driven = count_bits(bits, driven_lines);
    const size_t measured = count_bits(bits + driven_bytes, measured_lines);
    if (driven == 0 || driven > driven_lines || measured == 0 || measured > measured_lines) {
        return verdict_refused(REASON_BAD_VALUE, 0, (double)driven, (double)measured);
    }
    begin(&board->job.product, &m, driven, measured);
    memcpy(board->job.product.bits, bits, size);
    board->job.product.bits_size = (uint8_t)size;
    choose_lines(board, &m, bits, driven_lines);
    board->selection.measured = (uint8_t)measured;
    board->work = WORK_PRODUCT;
    return verdict;
}

bool product_has_room(const board_t *board)
{
    return board->work == WORK_PRODUCT && board->job.product.in_count + CODES_MAX <= PRODUCT_IN_ROOM;
}

/* Why a line is not to be driven with `code`. */
static verdict_t beyond(const board_t *board, const product_job_t *job, int16_t code)
{
    const uint8_t line = board->selection.line[job->line];
    const uint8_t kind = job->direction == LINE_DIRECTION_FORWARD ? LINE_KIND_ROW_DAC : LINE_KIND_COL_DAC;
    const double volts = convert_read_volts(board, job->array, kind, line, code);
    return verdict_refused(REASON_V_READ_MAX, line, volts, board->limits.v_read_max_uv * 1e-6);
}

verdict_t product_feed(board_t *board, const uint8_t *payload, size_t n)
{
    product_job_t *job = &board->job.product;
    product_data_msg_t m;
    const size_t count = product_data_count(n);
    if (!product_has_room(board) || !product_data_unpack(&m, payload, n) || m.id != job->id) {
        return verdict_refused(REASON_BAD_VALUE, 0, 0.0, 0.0);
    }
    if (count == 0 || count > CODES_MAX || count > job->owed) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)count, (double)job->owed);
    }
    for (size_t i = 0; i < count; i++) {
        product_data_record_t record;
        product_data_record_unpack(&record, payload, i);
        if (!span_holds(board->selection.span[job->line], record.code)) {
            return beyond(board, job, record.code);
        }
        job->in[job->in_count++] = record.code;
        job->line = (uint8_t)(job->line + 1 < board->selection.driven ? job->line + 1 : 0);
    }
    job->owed -= count;
    return verdict_accepted();
}

/* Full frames go out at once; what is left over at the end makes a shorter one. */
static bool has_output(const product_job_t *job)
{
    return job->out_count >= CODES_MAX || (job->left == 0 && job->out_count > 0);
}

/* Only as many vectors as one transaction holds, or the last ones: the fewest transactions. */
static job_state_t measure(board_t *board, product_job_t *job)
{
    const selection_t *lines = &board->selection;
    const uint16_t vectors = (uint16_t)(job->left < job->per_call ? job->left : job->per_call);
    const size_t in_count = (size_t)vectors * lines->driven;
    if (job->in_count < in_count) {
        return JOB_STARVED;
    }
    if (!drive_product(board, vectors, job->in, job->out + job->out_count)) {
        return JOB_FAILED;
    }
    job->in_count = (uint16_t)(job->in_count - in_count);
    memmove(job->in, job->in + in_count, job->in_count * sizeof job->in[0]);
    job->out_count = (uint16_t)(job->out_count + vectors * lines->measured);
    job->left -= vectors;
    return JOB_MORE;
}

job_state_t product_step(board_t *board)
{
    product_job_t *job = &board->job.product;
    if (!job->selected) {
        job->selected =
            drive_select(board, job->array, job->direction, job->range, job->bits, job->bits_size);
        return job->selected ? JOB_MORE : JOB_FAILED;
    }
    if (has_output(job)) {
        return job->left == 0 && job->out_count <= CODES_MAX ? JOB_DONE : JOB_OUTPUT;
    }
    return measure(board, job);
}

size_t product_result(product_job_t *job, uint8_t *payload)
{
    const size_t count = job->out_count < CODES_MAX ? job->out_count : CODES_MAX;
    const product_is_msg_t m = {job->id};
    product_is_pack(&m, payload);
    for (size_t i = 0; i < count; i++) {
        const product_is_record_t record = {job->out[i]};
        product_is_record_pack(&record, payload, i);
    }
    job->out_count = (uint16_t)(job->out_count - count);
    memmove(job->out, job->out + count, job->out_count * sizeof job->out[0]);
    return product_is_size(count);
}
