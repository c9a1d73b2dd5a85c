/* A port for tests: a clock that stands still, and a record of the frames that were sent. */
#ifndef EAPU_FAKE_PORT_H
#define EAPU_FAKE_PORT_H

#include "frame.h"
#include "port.h"
#include "protocol.h"

enum { FAKE_SENT = 256 };

typedef struct {
    uint8_t type, seq, ack;
    size_t size;
    uint8_t payload[PAYLOAD_MAX];
} sent_t;

typedef struct {
    uint64_t now_us;
    uint32_t count; /* frames sent since port_forget; the first FAKE_SENT are kept */
    sent_t sent[FAKE_SENT];
    void (*line)(const uint8_t *bytes, size_t count); /* where they go besides, or NULL */
} fake_port_t;

extern fake_port_t port;

void port_reset(void);
void port_forget(void);
/* How many frames of a type were sent, and the last one (NULL when there was none). */
uint32_t port_sent(uint8_t type);
const sent_t *port_last(uint8_t type);

#endif
