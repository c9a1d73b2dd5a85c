/* WRITE: write-verify of the cells side by side, as one epoch of write_verify in eapu_hil/writeverify.py. */
#ifndef EAPU_WRITE_JOB_H
#define EAPU_WRITE_JOB_H

#include "afe.h"
#include "decide.h"
#include "job.h"

typedef struct {
    uint16_t row, col;
    int16_t read_code; /* of the row's driver */
    double v_read_v;   /* what that code gives */
    double g_target_s, g_before_s, g_after_s;
    double energy_j;
    uint16_t pulses, reads;
    uint8_t status;
    bool active; /* not stopped yet */
    history_t history;
    decision_t decision;
} write_cell_t;

typedef enum { WRITE_FIRST_READ, WRITE_PULSE, WRITE_READ } write_phase_t;

typedef struct {
    uint32_t id;
    uint8_t array, slot, count;
    uint8_t phase; /* write_phase_t: what comes next */
    uint64_t start_ns;
    write_cell_t cells[CELLS_MAX];
} write_job_t;

verdict_t write_start(board_t *board, const uint8_t *payload, size_t n);
job_state_t write_step(board_t *board);
/* Payload of WRITTEN. aborted: cells that still go on are ABORTED; one that was never read has NaN conductances. */
size_t write_result(const write_job_t *job, uint8_t *payload, bool aborted);

#endif
