/* READ: a block of cells, in one transaction. */
#ifndef EAPU_READ_JOB_H
#define EAPU_READ_JOB_H

#include "afe.h"
#include "job.h"

typedef struct {
    uint32_t id;
    uint8_t array, count;
    afe_read_t cells[CODES_MAX];
    int16_t codes[CODES_MAX];
} read_job_t;

verdict_t read_start(board_t *board, const uint8_t *payload, size_t n);
job_state_t read_step(board_t *board);
size_t read_result(const read_job_t *job, uint8_t *payload); /* payload of READ_IS */

#endif
