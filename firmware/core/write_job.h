/* WRITE: write-verify of the cells side by side, as one epoch of write_verify in eapu_hil/hal/writeverify.py. */
#ifndef EAPU_WRITE_JOB_H
#define EAPU_WRITE_JOB_H

#include "board.h"
#include "verdict.h"

verdict_t write_start(board_t *board, const uint8_t *payload, size_t n);
job_state_t write_step(board_t *board);
/* Payload of WRITTEN. aborted: cells that still go on are ABORTED; one that was never read has NaN conductances. */
size_t write_result(const write_job_t *job, uint8_t *payload, bool aborted);

#endif
