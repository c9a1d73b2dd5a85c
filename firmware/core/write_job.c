#include "write_job.h"

#include <math.h>

#include "board_limits.h"
#include "convert.h"
#include "drive.h"
#include "recipe.h"

/* Every voltage that the recipe can come to lies between these of a cell: both ends of every ramp. */
static verdict_t check_converters(const board_t *board, uint8_t array, const recipe_t *recipe, const write_cell_t *cell,
                                  size_t index)
{
    const law_t *law = &recipe->law;
    const struct {
        double volts;
        int32_t polarity;
    } pulses[] = {{law->set.start_v, POLARITY_SET},
                {law->set.stop_v, POLARITY_SET},
                {law->reset.start_v, POLARITY_RESET},
                {law->reset.stop_v, POLARITY_RESET}};
    for (size_t i = 0; i < sizeof pulses / sizeof pulses[0]; i++) {
        const double uv = convert_scaled(pulses[i].volts, 1e6);
        const int32_t code = convert_pulse_code(board, array, pulses[i].polarity, cell->row, cell->col, uv);
        if (!span_holds(convert_pulse_span(board, array, pulses[i].polarity, cell->row, cell->col), code)) {
            return verdict_refused(REASON_CONVERTER, index, pulses[i].volts, board->info.pulse_full_scale_uv * 1e-6);
        }
    }
    const double gates[] = {law->gate.stop_v, law->reset_gate_v};
    for (size_t i = 0; i < sizeof gates / sizeof gates[0]; i++) {
        const int32_t code = convert_gate_code(board, array, cell->row, convert_scaled(gates[i], 1e6));
        if (!span_holds(convert_gate_span(board, array, cell->row), code)) {
            return verdict_refused(REASON_CONVERTER, index, gates[i], board->info.gate_full_scale_uv * 1e-6);
        }
    }
    if (cell->read_code == 0 ||
        !span_holds(convert_read_span(board, array, LINE_KIND_ROW_DAC, cell->row), cell->read_code)) {
        return verdict_refused(REASON_CONVERTER, index, recipe->v_read_v, board->info.read_full_scale_uv * 1e-6);
    }
    return verdict_accepted();
}

/* A target that can be read, at a current inside the limit. Readings carry the offset of their converter, and so does
 * the target: it may be below 0, by no more than it may be above. */
static verdict_t check_target(const board_t *board, const recipe_t *recipe, double g_target_S, size_t index)
{
    if (!isfinite(g_target_S)) {
        return verdict_refused(REASON_BAD_VALUE, index, g_target_S, 0.0);
    }
    const law_t *law = &recipe->law;
    const double strongest_v = law->set.stop_v > law->reset.stop_v ? law->set.stop_v : law->reset.stop_v;
    const double most_na = board->limits.i_max_na;
    if (convert_scaled(strongest_v * fabs(g_target_S), 1e9) > most_na) {
        return verdict_refused(REASON_I_MAX, index, strongest_v * g_target_S, most_na * 1e-9);
    }
    return verdict_accepted();
}

/* Takes one record into the job; a cell may be named once only. */
static verdict_t take(const board_t *board, write_job_t *job, const write_record_t *r)
{
    const recipe_t *recipe = &board->recipes[job->slot];
    const size_t index = job->count;
    verdict_t verdict = limits_check_cell(board, job->array, r->row, r->col, index);
    for (size_t i = 0; i < index && verdict.reason == REASON_NONE; i++) {
        if (job->cells[i].row == r->row && job->cells[i].col == r->col) {
            verdict = verdict_refused(REASON_BAD_CELL, index, 0.0, 0.0);
        }
    }
    if (verdict.reason == REASON_NONE) {
        verdict = check_target(board, recipe, r->g_target_S, index);
    }
    if (verdict.reason != REASON_NONE) {
        return verdict;
    }
    const double read_uv = convert_scaled(recipe->v_read_v, 1e6);
    const int32_t code = convert_read_code(board, job->array, LINE_KIND_ROW_DAC, r->row, read_uv);
    const write_cell_t cell = {
        .row = r->row,
        .col = r->col,
        .read_code = (int16_t)(code < INT16_MAX ? (code > INT16_MIN ? code : INT16_MIN) : INT16_MAX),
        .v_read_v = convert_read_volts(board, job->array, LINE_KIND_ROW_DAC, r->row, code),
        .g_target_S = r->g_target_S,
        .g_before_S = (double)NAN,
        .g_after_S = (double)NAN,
        .status = CELL_STATUS_NOT_CONVERGED,
        .active = true,
    };
    job->cells[job->count++] = cell;
    return check_converters(board, job->array, recipe, &cell, index);
}

verdict_t write_start(board_t *board, const uint8_t *payload, size_t n)
{
    write_msg_t m;
    const size_t count = write_count(n);
    if (!write_unpack(&m, payload, n) || count > CELLS_MAX) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, (double)write_size(CELLS_MAX));
    }
    if (m.slot >= RECIPES || count == 0) {
        return verdict_refused(REASON_BAD_VALUE, 0, m.slot, RECIPES - 1);
    }
    if (!board->limits.set || !board->recipes[m.slot].set) {
        return verdict_refused(REASON_NOT_CONFIGURED, 0, 0.0, 0.0);
    }
    /* The limits may have become tighter after the recipe was set. */
    verdict_t verdict = recipe_check(&board->limits, &board->recipes[m.slot]);
    write_job_t *job = &board->job.write;
    job->id = m.id;
    job->array = m.array;
    job->slot = m.slot;
    job->count = 0;
    job->phase = WRITE_FIRST_READ;
    for (size_t i = 0; i < count && verdict.reason == REASON_NONE; i++) {
        write_record_t record;
        write_record_unpack(&record, payload, i);
        verdict = take(board, job, &record);
    }
    if (verdict.reason == REASON_NONE) {
        board->work = WORK_WRITE;
    }
    return verdict;
}

/* Decides the next step of every active cell. Returns whether any goes on, and what comes next in `phase`. */
static bool plan(write_job_t *job, const law_t *law)
{
    bool any = false;
    job->phase = WRITE_READ;
    for (size_t i = 0; i < job->count; i++) {
        write_cell_t *cell = &job->cells[i];
        if (!cell->active) {
            continue;
        }
        cell->decision = decide(law, cell->g_target_S, cell->g_after_S, &cell->history);
        if (cell->decision.action == ACTION_STOP) {
            cell->active = false;
            cell->status = cell->decision.status;
            continue;
        }
        any = true;
        if (cell->decision.action != ACTION_CONFIRM) {
            job->phase = WRITE_PULSE;
        }
    }
    return any;
}

/* A code that does not fit becomes one that the last check refuses. */
static uint16_t driver_code(int32_t code)
{
    return code >= 0 && code <= INT16_MAX ? (uint16_t)code : UINT16_MAX;
}

static afe_pulse_t pulse_of(const board_t *board, uint8_t array, const write_cell_t *cell)
{
    const decision_t *d = &cell->decision;
    const double amplitude_uv = convert_scaled(d->amplitude_v, 1e6), gate_uv = convert_scaled(d->gate_v, 1e6);
    const int32_t line = convert_pulse_code(board, array, d->action, cell->row, cell->col, amplitude_uv);
    const int32_t gate = convert_gate_code(board, array, cell->row, gate_uv);
    const afe_pulse_t pulse = {cell->row,          cell->col,         (int8_t)d->action,
                               driver_code(line), driver_code(gate), (uint32_t)convert_scaled(d->width_s, 1e9)};
    return pulse;
}

static bool is_pulsed(const write_cell_t *cell)
{
    return cell->active && (cell->decision.action == ACTION_SET || cell->decision.action == ACTION_RESET);
}

/* One pulse for each cell that wants one. */
static job_state_t pulse_cells(board_t *board, write_job_t *job)
{
    afe_pulse_t pulses[CELLS_MAX] = {{0}};
    uint8_t compliance[CELLS_MAX] = {0}, of[CELLS_MAX], count = 0;
    for (uint8_t i = 0; i < job->count; i++) {
        if (is_pulsed(&job->cells[i])) {
            of[count] = i;
            pulses[count++] = pulse_of(board, job->array, &job->cells[i]);
        }
    }
    const bool driven = drive_pulse(board, job->array, pulses, count, compliance);
    for (uint8_t i = 0; i < count; i++) {
        write_cell_t *cell = &job->cells[of[i]];
        /* Where the front end failed, the pulse may have been applied: better one too many in the books. */
        cell->pulses = (uint16_t)(cell->pulses + (driven || board->fault == FAULT_FRONT_END ? 1 : 0));
        if (driven && compliance[i]) {
            cell->status = CELL_STATUS_COMPLIANCE; /* read once more: what it holds now belongs to the outcome */
        }
    }
    job->phase = WRITE_READ;
    return driven ? JOB_MORE : JOB_FAILED;
}

/* What a reading says of a cell, and of the pulse before it. first: nothing was pulsed yet. */
static void see(write_cell_t *cell, double g_S, bool first)
{
    cell->reads++;
    if (first) {
        cell->g_before_S = g_S;
        cell->history = history_start(g_S);
    } else if (is_pulsed(cell)) { /* V^2 times the mean conductance before and after times the width */
        const decision_t *d = &cell->decision;
        const double was_S = cell->g_after_S > 0.0 ? cell->g_after_S : 0.0, is_S = g_S > 0.0 ? g_S : 0.0;
        cell->energy_j += d->amplitude_v * d->amplitude_v * (0.5 * (was_S + is_S)) * d->width_s;
    }
    cell->g_after_S = g_S;
    cell->active = cell->status != CELL_STATUS_COMPLIANCE;
}

/* Reads every active cell. */
static bool read_cells(board_t *board, write_job_t *job)
{
    afe_read_t reads[CELLS_MAX] = {{0}};
    int16_t codes[CELLS_MAX] = {0};
    uint8_t of[CELLS_MAX], count = 0;
    for (uint8_t i = 0; i < job->count; i++) {
        const write_cell_t *cell = &job->cells[i];
        if (cell->active) {
            const afe_read_t read = {cell->row, cell->col, cell->read_code};
            of[count] = i;
            reads[count++] = read;
        }
    }
    if (!drive_read(board, job->array, reads, count, codes)) {
        return false;
    }
    for (uint8_t i = 0; i < count; i++) {
        write_cell_t *cell = &job->cells[of[i]];
        const double g_S = convert_siemens(board, job->array, cell->col, codes[i], cell->v_read_v);
        see(cell, g_S, job->phase == WRITE_FIRST_READ);
    }
    return true;
}

job_state_t write_step(board_t *board)
{
    write_job_t *job = &board->job.write;
    const recipe_t *recipe = &board->recipes[job->slot];
    if (job->phase == WRITE_PULSE) {
        return pulse_cells(board, job);
    }
    const bool first = job->phase == WRITE_FIRST_READ;
    if (first) {
        job->start_ns = afe_time_ns();
    }
    if (!read_cells(board, job)) {
        return JOB_FAILED;
    }
    const bool late = (double)(afe_time_ns() - job->start_ns) >= recipe->time_max_s * 1e9;
    if ((late && !first) || !plan(job, &recipe->law)) {
        return JOB_DONE;
    }
    return JOB_MORE;
}

size_t write_result(const write_job_t *job, uint8_t *payload, bool aborted)
{
    const written_msg_t m = {job->id};
    written_pack(&m, payload);
    for (size_t i = 0; i < job->count; i++) {
        const write_cell_t *cell = &job->cells[i];
        const uint8_t hit = cell->status & CELL_STATUS_COMPLIANCE;
        const written_record_t record = {
            .g_before_S = (float)cell->g_before_S,
            .g_after_S = (float)cell->g_after_S,
            .energy_j = (float)cell->energy_j,
            .pulses = cell->pulses,
            .reads = cell->reads,
            .status = aborted && cell->active ? (uint8_t)(hit | CELL_STATUS_ABORTED) : cell->status,
        };
        written_record_pack(&record, payload, i);
    }
    return written_size(job->count);
}
