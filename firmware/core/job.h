/* The running job, whichever it is: one at a time.
 *
 * {read,pulse,write,product}_start begin a job (only when board->work is WORK_NONE); nothing reaches the front end
 * before the first job_step, and nothing ever when they refuse.
 */
#ifndef EAPU_JOB_H
#define EAPU_JOB_H

#include "board.h"

/* One transaction with the front end at most. */
job_state_t job_step(board_t *board);
/* The frame that JOB_OUTPUT or JOB_DONE announced: its message number and its payload of at most PAYLOAD_MAX bytes;
 * returns the payload's size. aborted: ends the job, wherever it is; returns 0 for a READ or a PRODUCT, which
 * then has no answer of its own. */
size_t job_result(board_t *board, uint8_t *type, uint8_t *payload, bool aborted);

#endif
