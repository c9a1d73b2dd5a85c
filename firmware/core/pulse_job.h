/* PULSE: `count` pulses for each cell, one of every cell in turn; each round is one transaction. */
#ifndef EAPU_PULSE_JOB_H
#define EAPU_PULSE_JOB_H

#include "afe.h"
#include "job.h"

typedef struct {
    afe_pulse_t pulse;
    uint16_t asked, applied;
    uint8_t status;
} pulse_cell_t;

typedef struct {
    uint32_t id;
    uint8_t array, count;
    pulse_cell_t cells[CELLS_MAX];
} pulse_job_t;

verdict_t pulse_start(board_t *board, const uint8_t *payload, size_t n);
job_state_t pulse_step(board_t *board);
/* Payload of PULSED. Cells that were not finished are ABORTED. */
size_t pulse_result(const pulse_job_t *job, uint8_t *payload);

#endif
