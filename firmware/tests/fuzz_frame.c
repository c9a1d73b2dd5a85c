/* The frame decoder on any bytes, in buffers of any size, and frames there and back. */
#include <stdlib.h>
#include <string.h>

#include "frame.h"
#include "protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth)
        abort();
}

static void decode(const uint8_t *data, size_t size, size_t room)
{
    uint8_t *content = malloc(room);
    frame_decoder_t decoder;
    require(content != NULL);
    frame_decoder_init(&decoder, content, room);
    for (size_t i = 0; i < size; i++) {
        const frame_event_t event = frame_feed(&decoder, data[i]);
        require(data[i] == 0 || event == FRAME_NONE);
        if (event == FRAME_READY)
            require(FRAME_CONTENT(decoder.size) <= room && decoder.payload == content + FRAME_HEADER);
    }
    free(content);
}

static void there_and_back(const uint8_t *payload, size_t n, uint8_t type, uint8_t seq, uint8_t ack)
{
    const size_t room = FRAME_ENCODED(n);
    uint8_t *bytes = malloc(room), *content = malloc(FRAME_CONTENT(n));
    frame_decoder_t decoder;
    size_t count;
    require(bytes != NULL && content != NULL);
    require(frame_encode(bytes, room - 1, type, seq, ack, payload, n) == 0);
    count = frame_encode(bytes, room, type, seq, ack, payload, n);
    require(count > 0 && count <= room && memchr(bytes, 0, count) == bytes + count - 1);
    frame_decoder_init(&decoder, content, FRAME_CONTENT(n));
    for (size_t i = 0; i + 1 < count; i++)
        require(frame_feed(&decoder, bytes[i]) == FRAME_NONE);
    require(frame_feed(&decoder, 0) == FRAME_READY);
    require(decoder.type == type && decoder.seq == seq && decoder.ack == ack && decoder.size == n);
    require(memcmp(decoder.payload, payload, n) == 0);
    free(bytes);
    free(content);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 4)
        return 0;
    decode(data + 1, size - 1, data[0]);
    decode(data + 1, size - 1, FRAME_CONTENT(PAYLOAD_MAX));
    if (size - 4 <= AFE_PAYLOAD_MAX)
        there_and_back(data + 4, size - 4, data[1], data[2], data[3]);
    return 0;
}
