/* PRODUCT: vectors stream in as PRODUCT_DATA, pass the front end many at a time, and stream out as PRODUCT_IS. */
#ifndef EAPU_PRODUCT_JOB_H
#define EAPU_PRODUCT_JOB_H

#include "afe.h"
#include "job.h"

/* Codes that fit into one transaction with a simulated front end: the payload less its other fields. */
enum { PRODUCT_IN_MAX = (AFE_PAYLOAD_MAX - 2u) / 2u, PRODUCT_OUT_MAX = (AFE_PAYLOAD_MAX - 8u) / 2u };
/* Codes that come in gather for one transaction, and then some, so that the link's window drains meanwhile. Those
 * that go out leave before the next transaction, but for less than one frame. */
enum { PRODUCT_IN_ROOM = 1024, PRODUCT_OUT_ROOM = PRODUCT_OUT_MAX + CODES_MAX };

typedef struct {
    uint32_t id;
    uint8_t array, direction, range;
    bool selected; /* the front end knows the lines */
    uint8_t bits[2u * (LINES_MAX / 8u)];
    uint8_t bits_size;
    uint16_t per_call;    /* vectors in one transaction */
    uint32_t left;        /* vectors not measured yet */
    uint64_t owed;        /* codes still to come in */
    uint8_t line;         /* which of the driven lines the next code is for */
    uint16_t in_count, out_count;
    int16_t in[PRODUCT_IN_ROOM], out[PRODUCT_OUT_ROOM];
} product_job_t;

verdict_t product_start(board_t *board, const uint8_t *payload, size_t n);
/* Takes a PRODUCT_DATA of the running product; call it only while product_has_room. A refusal ends the product:
 * the caller answers it and calls board_drop. */
verdict_t product_feed(board_t *board, const uint8_t *payload, size_t n);
bool product_has_room(const board_t *board);
job_state_t product_step(board_t *board);
/* Payload of the next PRODUCT_IS. */
size_t product_result(product_job_t *job, uint8_t *payload);

#endif
