#include "fake_port.h"

#include <stdlib.h>

fake_port_t port;

void port_reset(void)
{
    memset(&port, 0, sizeof port);
    port.now_us = 5000000;
}

void port_forget(void)
{
    port.count = 0;
}

uint64_t port_now_us(void)
{
    return port.now_us;
}

void port_send(const uint8_t *bytes, size_t count)
{
    uint8_t content[FRAME_CONTENT(PAYLOAD_MAX)];
    frame_decoder_t decoder;
    frame_event_t event = FRAME_NONE;
    frame_decoder_init(&decoder, content, sizeof content);
    for (size_t i = 0; i < count; i++) {
        event = frame_feed(&decoder, bytes[i]);
    }
    if (event != FRAME_READY) { /* one whole frame a call */
        abort();
    }
    if (port.count < FAKE_SENT) {
        sent_t *sent = &port.sent[port.count];
        sent->type = decoder.type;
        sent->seq = decoder.seq;
        sent->ack = decoder.ack;
        sent->size = decoder.size;
        memcpy(sent->payload, decoder.payload, decoder.size);
    }
    port.count++;
    if (port.line != NULL) {
        port.line(bytes, count);
    }
}

uint32_t port_sent(uint8_t type)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < port.count && i < FAKE_SENT; i++) {
        count += port.sent[i].type == type ? 1u : 0u;
    }
    return count;
}

const sent_t *port_last(uint8_t type)
{
    for (uint32_t i = port.count < FAKE_SENT ? port.count : FAKE_SENT; i > 0; i--) {
        if (port.sent[i - 1].type == type) {
            return &port.sent[i - 1];
        }
    }
    return NULL;
}
