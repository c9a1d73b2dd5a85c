#include "job.h"

#include "product_job.h"
#include "pulse_job.h"
#include "read_job.h"
#include "write_job.h"

job_state_t job_step(board_t *board)
{
    switch (board->work) {
    case WORK_READ:
        return read_step(board);
    case WORK_PULSE:
        return pulse_step(board);
    case WORK_WRITE:
        return write_step(board);
    case WORK_PRODUCT:
        return product_step(board);
    default: /* nothing runs: asking is a mistake of the caller's */
        board->fault = FAULT_GUARD;
        return JOB_FAILED;
    }
}

size_t job_result(board_t *board, uint8_t *type, uint8_t *payload, bool aborted)
{
    const uint8_t work = board->work;
    size_t size = 0;
    bool ended = true;
    if (work == WORK_PULSE) {
        *type = MSG_PULSED;
        size = pulse_result(&board->job.pulse, payload);
    } else if (work == WORK_WRITE) {
        *type = MSG_WRITTEN;
        size = write_result(&board->job.write, payload, aborted);
    } else if (work == WORK_READ && !aborted) {
        *type = MSG_READ_IS;
        size = read_result(&board->job.read, payload);
    } else if (work == WORK_PRODUCT && !aborted) {
        *type = MSG_PRODUCT_IS;
        size = product_result(&board->job.product, payload);
        ended = board->job.product.left == 0 && board->job.product.out_count == 0;
    }
    if (ended) {
        board_drop(board);
    }
    return size;
}
