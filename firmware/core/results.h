/* The answers of the last pulses and writes, for requests that come twice and for RECALL. */
#ifndef EAPU_RESULTS_H
#define EAPU_RESULTS_H

#include <stddef.h>
#include <stdint.h>

#include "protocol.h"

enum { RESULTS_HELD = 32 };

typedef struct {
    uint8_t type, size; /* 0: empty */
    uint8_t payload[PAYLOAD_MAX];
} result_t;

typedef struct {
    result_t held[RESULTS_HELD];
    uint8_t next; /* the oldest, which the next one replaces */
} results_t;

void results_keep(results_t *results, uint8_t type, const uint8_t *payload, size_t n);
/* The answer whose first operation is `id`, or NULL. */
const result_t *results_find(const results_t *results, uint32_t id);

#endif
