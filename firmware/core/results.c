#include "results.h"

void results_keep(results_t *results, uint8_t type, const uint8_t *payload, size_t n)
{
    result_t *result = &results->held[results->next];
    result->type = type;
    result->size = (uint8_t)n;
    memcpy(result->payload, payload, n);
    results->next = (uint8_t)((results->next + 1) % RESULTS_HELD);
}

const result_t *results_find(const results_t *results, uint32_t id)
{
    for (size_t i = 0; i < RESULTS_HELD; i++) {
        const result_t *result = &results->held[i];
        if (result->size > 0 && get_u32(result->payload) == id) {
            return result;
        }
    }
    return NULL;
}
