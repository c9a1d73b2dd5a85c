/* What all jobs share: how a request is judged, and how far a job has come. */
#ifndef EAPU_JOB_H
#define EAPU_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

typedef struct board board_t;

/* Why a request is refused, as REFUSED tells the host; reason 0 (NONE): it is accepted. SI units. */
typedef struct {
    uint8_t reason;
    uint16_t index; /* of the record, field or line at fault */
    double asked, allowed;
} verdict_t;

typedef enum {
    JOB_MORE,    /* call board_step again */
    JOB_OUTPUT,  /* a frame is ready for board_result, and there is more to come */
    JOB_DONE,    /* the last frame is ready for board_result, which ends the job */
    JOB_STARVED, /* a product waits for PRODUCT_DATA */
    JOB_FAILED   /* board->fault says why; ground, and end the job with board_result(..., true) */
} job_state_t;

/* Bits of a cell's status, as in eapu_hil/hal.py (CellStatus). */
enum { CELL_OK = 0, CELL_NOT_CONVERGED = 1, CELL_COMPLIANCE = 2, CELL_LIMIT = 4, CELL_STUCK = 16, CELL_ABORTED = 32 };

static inline verdict_t verdict_accepted(void)
{
    const verdict_t verdict = {0, 0, 0.0, 0.0};
    return verdict;
}

static inline verdict_t verdict_refused(uint8_t reason, size_t index, double asked, double allowed)
{
    const verdict_t verdict = {reason, (uint16_t)index, asked, allowed};
    return verdict;
}

#endif
