/* Sequenced requests: one at a time is judged, run and answered.
 *
 * Where requests_start or requests_step returns a fault and not FAULT_NONE, the caller grounds the board, ends the
 * running request and enters FAULT.
 */
#ifndef EAPU_REQUESTS_H
#define EAPU_REQUESTS_H

#include "board.h"
#include "link.h"
#include "results.h"

typedef struct {
    board_t *board;
    link_t *link;
    results_t results;
    uint32_t last_op, refused; /* as in STATUS_IS */
    uint32_t job_id;           /* of the running request */
    bool starved;              /* it waits for PRODUCT_DATA */
    bool waiting, skipped;     /* a WAIT runs; the front end was told of it */
    uint64_t wait_until_ns;
    uint32_t product_id; /* of the last PRODUCT: what is left of its data, after a refusal, is dropped */
    bool product_known;
    uint8_t doomed; /* of the next requests, how many were on their way when ABORT, GROUND or CLEAR ended them */
} requests_t;

void requests_init(requests_t *r, board_t *board, link_t *link);
/* Starts or answers one sequenced request; nothing else may be running. in_fault: the board is, and it is refused.
 * Reads `n` bytes of the payload at most. */
fault_t requests_start(requests_t *r, bool in_fault, uint8_t type, const uint8_t *payload, size_t n);
/* One transaction of the running request, at most, and the answers that came of it. */
fault_t requests_step(requests_t *r);
/* Ends the running request: pulses and writes answer what they did so far, all else is REFUSED for `reason`. */
void requests_end(requests_t *r, reason_t reason);
/* The requests that wait now will be REFUSED as ABORTED. */
void requests_doom(requests_t *r);
/* The host that asked is no more: ends the running request, and forgets what belonged to the link. */
void requests_forget(requests_t *r);
bool requests_running(const requests_t *r);

#endif
