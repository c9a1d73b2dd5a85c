/* READ: a block of cells, in one transaction. */
#ifndef EAPU_READ_JOB_H
#define EAPU_READ_JOB_H

#include "board.h"
#include "verdict.h"

verdict_t read_start(board_t *board, const uint8_t *payload, size_t n);
job_state_t read_step(board_t *board);
size_t read_result(const read_job_t *job, uint8_t *payload); /* payload of READ_IS */

#endif
