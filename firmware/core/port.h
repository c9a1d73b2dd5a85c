/* What the core asks of the machine it runs on, besides the analog front end. */
#ifndef EAPU_PORT_H
#define EAPU_PORT_H

#include <stddef.h>
#include <stdint.h>

uint64_t port_now_us(void); /* since boot; drives the link's timers and the dead-man timer */
/* Sends to the host. Never blocks for longer than the line takes; a frame that finds no room is dropped whole
 * (the link sends it again). */
void port_send(const uint8_t *bytes, size_t count);

typedef struct {
    const char *board;  /* at most 16 characters */
    const char *serial; /* at most 16 characters */
    uint8_t reset_cause;
    uint32_t session; /* random, one a boot */
    uint16_t rx_bytes;
} port_identity_t;

#endif
