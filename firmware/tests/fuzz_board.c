/* Every request of the board on any payload, in allocations of exactly its size, so that a sanitizer sees whoever
 * reads past it; jobs run, fail, are aborted, in any order that the controller may call for.
 *
 * Input: [what][size][payload] again and again.
 */
#include <stdlib.h>

#include "afe_free.h"
#include "board_limits.h"
#include "job.h"
#include "product_job.h"
#include "pulse_job.h"
#include "read_job.h"
#include "recipe.h"
#include "write_job.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { STEPS_MAX = 200, REQUESTS_MAX = 64 };

static board_t board;
static uint32_t fail_in; /* transactions until the front end fails, once; 0: never */

static void require(bool truth)
{
    if (!truth)
        abort();
}

bool afe_exchange(afe_message_t *message)
{
    if (fail_in > 0 && --fail_in == 0)
        return false;
    afe_free_answer(message);
    return true;
}

static void end(bool aborted)
{
    uint8_t type, *payload = malloc(PAYLOAD_MAX);
    require(payload != NULL);
    (void)job_result(&board, &type, payload, aborted);
    free(payload);
}

/* As the controller does; what is left of `steps` is for the next time. */
static void run(uint32_t steps)
{
    while (steps-- > 0 && board.work != WORK_NONE) {
        switch (job_step(&board)) {
        case JOB_MORE:
            break;
        case JOB_OUTPUT:
        case JOB_DONE:
            end(false);
            break;
        case JOB_STARVED:
            return;
        case JOB_FAILED:
            require(board.fault == FAULT_FRONT_END); /* and not a request that should have been refused */
            (void)board_ground(&board);
            end(true);
            board_drop(&board);
            break;
        }
    }
}

static void request(uint8_t what, const uint8_t *payload, size_t n)
{
    const bool idle = board.work == WORK_NONE;
    switch (what % 12) {
    case 0:
        if (idle)
            (void)limits_set(&board, payload, n);
        break;
    case 1:
        if (idle)
            (void)calibrate_set(&board, payload, n);
        break;
    case 2:
        if (idle)
            (void)recipe_set(&board, payload, n);
        break;
    case 3:
        if (idle)
            (void)read_start(&board, payload, n);
        break;
    case 4:
        if (idle)
            (void)pulse_start(&board, payload, n);
        break;
    case 5:
        if (idle)
            (void)write_start(&board, payload, n);
        break;
    case 6:
        if (idle)
            (void)product_start(&board, payload, n);
        break;
    case 7:
        if (board.work == WORK_PRODUCT && product_has_room(&board) && product_feed(&board, payload, n).reason)
            board_drop(&board);
        break;
    case 8:
        fail_in = n > 0 ? payload[0] : 1;
        break;
    case 9:
        if (!idle) {
            end(true);
            board_drop(&board);
        }
        require(board_ground(&board) || fail_in == 0);
        break;
    case 10:
        board_reset(&board);
        break;
    default:
        run(STEPS_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const past = data + size;
    fail_in = 0;
    require(afe_free_start(16, 8, 2) && board_open(&board));
    for (int i = 0; i < REQUESTS_MAX && past - data >= 2; i++) {
        const uint8_t what = *data++;
        size_t n = *data++;
        uint8_t *payload;
        if (n > (size_t)(past - data))
            n = (size_t)(past - data);
        payload = malloc(n);
        require(payload != NULL || n == 0);
        if (n > 0)
            memcpy(payload, data, n);
        request(what, payload, n);
        free(payload);
        data += n;
        run(4);
    }
    run(STEPS_MAX);
    return 0;
}
