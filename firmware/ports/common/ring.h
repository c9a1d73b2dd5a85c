/* A byte ring between one interrupt handler and the main loop. The size is a power of two. All is volatile, so that
 * a byte is in its place before the count says so. */
#ifndef EAPU_RING_H
#define EAPU_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    volatile uint8_t *bytes;
    uint32_t size;
    volatile uint32_t head, tail; /* written by whoever puts, and by whoever takes; only differences count */
} ring_t;

static inline uint32_t ring_count(const ring_t *ring)
{
    return ring->head - ring->tail;
}

static inline uint32_t ring_room(const ring_t *ring)
{
    return ring->size - ring_count(ring);
}

/* false: full, and the byte is lost. */
static inline bool ring_put(ring_t *ring, uint8_t byte)
{
    if (ring_room(ring) == 0)
        return false;
    ring->bytes[ring->head & (ring->size - 1)] = byte;
    ring->head = ring->head + 1;
    return true;
}

static inline bool ring_take(ring_t *ring, uint8_t *byte)
{
    if (ring_count(ring) == 0)
        return false;
    *byte = ring->bytes[ring->tail & (ring->size - 1)];
    ring->tail = ring->tail + 1;
    return true;
}

static inline size_t ring_take_many(ring_t *ring, uint8_t *bytes, size_t room)
{
    size_t count = 0;
    while (count < room && ring_take(ring, &bytes[count]))
        count++;
    return count;
}

#endif
