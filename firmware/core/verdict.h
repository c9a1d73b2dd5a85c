/* How a request is judged. */
#ifndef EAPU_VERDICT_H
#define EAPU_VERDICT_H

#include <stddef.h>
#include <stdint.h>

/* Why a request is refused, as REFUSED tells the host; reason 0 (NONE): it is accepted. SI units. */
typedef struct {
    uint8_t reason;
    uint16_t index; /* of the record, field or line at fault */
    double asked, allowed;
} verdict_t;

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
