/* PULSE: `count` pulses for each cell, one of every cell in turn; each round is one transaction. */
#ifndef EAPU_PULSE_JOB_H
#define EAPU_PULSE_JOB_H

#include "board.h"
#include "verdict.h"

verdict_t pulse_start(board_t *board, const uint8_t *payload, size_t n);
job_state_t pulse_step(board_t *board);
/* Payload of PULSED. Cells that were not finished are ABORTED. */
size_t pulse_result(const pulse_job_t *job, uint8_t *payload);

#endif
