#include "afe_line.h"

#include "frame.h"
#include "port.h"

/* A request or an answer: never both. */
static uint8_t buffer[FRAME_ENCODED(AFE_PAYLOAD_MAX)];
static uint8_t chunk[64];
static size_t chunk_count, chunk_used;
static bool in_step; /* no answer to an earlier request can be on its way */

static bool send(uint8_t type, const uint8_t *payload, size_t size)
{
    const size_t count = frame_encode(buffer, sizeof buffer, type, 0, 0, payload, size);
    return count > 0 && afe_line_write(buffer, count);
}

/* The next frame: `decoder` tells which. */
static bool receive(frame_decoder_t *decoder, uint64_t deadline_us)
{
    frame_decoder_init(decoder, buffer, sizeof buffer);
    for (;;) {
        if (chunk_used == chunk_count) {
            chunk_used = 0;
            chunk_count = afe_line_read(chunk, sizeof chunk, deadline_us);
            if (chunk_count == 0)
                return false;
        }
        while (chunk_used < chunk_count) {
            const frame_event_t event = frame_feed(decoder, chunk[chunk_used++]);
            if (event != FRAME_NONE)
                return event == FRAME_READY && decoder->size <= AFE_PAYLOAD_MAX;
        }
    }
}

/* Answers come in order: the one to AFE_OPEN is behind all that were late. */
static bool open(frame_decoder_t *decoder)
{
    static const uint8_t zero = 0;
    const uint64_t deadline_us = port_now_us() + AFE_TIMEOUT_US;
    if (!afe_line_write(&zero, 1) || !send(MSG_AFE_OPEN, NULL, 0))
        return false;
    do {
        while (!receive(decoder, deadline_us))
            if (port_now_us() >= deadline_us || chunk_count == 0)
                return false;
    } while (decoder->type != MSG_AFE_INFO);
    in_step = true;
    return true;
}

bool afe_line_exchange(afe_message_t *message)
{
    frame_decoder_t decoder;
    if (message->type == MSG_AFE_OPEN || !in_step) {
        /* Out of step, the lines are grounded first and asked afterwards. */
        if (message->type == MSG_AFE_GROUND)
            (void)send(MSG_AFE_GROUND, NULL, 0);
        if (!open(&decoder))
            return false;
    }
    if (message->type != MSG_AFE_OPEN) {
        in_step = send(message->type, message->payload, message->size) &&
                  receive(&decoder, port_now_us() + AFE_TIMEOUT_US);
        if (!in_step)
            return false;
    }
    message->type = decoder.type;
    message->size = decoder.size;
    if (decoder.size > 0)
        memcpy(message->payload, decoder.payload, decoder.size);
    return true;
}
