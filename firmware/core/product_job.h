/* PRODUCT: vectors stream in as PRODUCT_DATA, pass the front end many at a time, and stream out as PRODUCT_IS. */
#ifndef EAPU_PRODUCT_JOB_H
#define EAPU_PRODUCT_JOB_H

#include "board.h"
#include "verdict.h"

verdict_t product_start(board_t *board, const uint8_t *payload, size_t n);
/* Takes a PRODUCT_DATA of the running product; call it only while product_has_room. A refusal ends the product:
 * the caller answers it and calls board_drop. */
verdict_t product_feed(board_t *board, const uint8_t *payload, size_t n);
bool product_has_room(const board_t *board);
job_state_t product_step(board_t *board);
/* Payload of the next PRODUCT_IS. */
size_t product_result(product_job_t *job, uint8_t *payload);

#endif
