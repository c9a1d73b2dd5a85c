#include "frame.h"

#include "protocol.h"

static uint32_t crc_add(uint32_t crc, uint8_t byte)
{
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u, 0x4DB26158u, 0x5005713Cu,
        0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu, 0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu,
    };
    crc ^= byte;
    crc = (crc >> 4) ^ table[crc & 15u];
    return (crc >> 4) ^ table[crc & 15u];
}

uint32_t frame_crc32(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xFFFFFFFFu;
    for (size_t i = 0; i < count; i++) {
        crc = crc_add(crc, bytes[i]);
    }
    return ~crc;
}

typedef struct {
    uint8_t *out;
    size_t block, count; /* where the open block's code goes; bytes written, that code included */
} stuffer_t;

static void stuff(stuffer_t *s, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (s->count - s->block == 255) { /* 254 bytes without a zero are a block of their own */
            s->out[s->block] = 255;
            s->block = s->count++;
        }
        if (bytes[i] != 0) {
            s->out[s->count++] = bytes[i];
        } else {
            s->out[s->block] = (uint8_t)(s->count - s->block);
            s->block = s->count++;
        }
    }
}

size_t frame_encode(uint8_t *out, size_t room, uint8_t type, uint8_t seq, uint8_t ack, const uint8_t *payload,
                    size_t n)
{
    const uint8_t header[FRAME_HEADER] = {type, seq, ack};
    uint32_t crc = 0xFFFFFFFFu;
    uint8_t check[FRAME_CRC];
    stuffer_t s = {out, 0, 1};

    if (room < FRAME_ENCODED(n)) {
        return 0;
    }
    for (size_t i = 0; i < FRAME_HEADER; i++) {
        crc = crc_add(crc, header[i]);
    }
    for (size_t i = 0; i < n; i++) {
        crc = crc_add(crc, payload[i]);
    }
    put_u32(check, ~crc);
    stuff(&s, header, FRAME_HEADER);
    stuff(&s, payload, n);
    stuff(&s, check, FRAME_CRC);
    out[s.block] = (uint8_t)(s.count - s.block);
    out[s.count++] = 0;
    return s.count;
}

void frame_decoder_init(frame_decoder_t *decoder, uint8_t *content, size_t room)
{
    memset(decoder, 0, sizeof *decoder);
    decoder->content = content;
    decoder->room = room;
}

static void take(frame_decoder_t *d, uint8_t byte)
{
    if (d->count < d->room) {
        d->content[d->count++] = byte;
    } else {
        d->bad = true;
    }
}

static frame_event_t finish(frame_decoder_t *d)
{
    const size_t count = d->count;
    const bool started = d->started, bad = d->bad || d->left != 0;

    d->started = d->bad = false;
    d->count = 0;
    d->left = 0;
    if (!started) {
        return FRAME_NONE;
    }
    if (bad || count < FRAME_CONTENT(0)) {
        return FRAME_DAMAGED;
    }
    if (frame_crc32(d->content, count - FRAME_CRC) != get_u32(d->content + count - FRAME_CRC)) {
        return FRAME_DAMAGED;
    }
    d->type = d->content[0];
    d->seq = d->content[1];
    d->ack = d->content[2];
    d->payload = d->content + FRAME_HEADER;
    d->size = count - FRAME_CONTENT(0);
    return FRAME_READY;
}

frame_event_t frame_feed(frame_decoder_t *d, uint8_t byte)
{
    if (byte == 0) {
        return finish(d);
    }
    if (d->left > 0) {
        d->left--;
        take(d, byte);
        return FRAME_NONE;
    }
    if (d->started && d->code != 255) { /* between two blocks there was a zero */
        take(d, 0);
    }
    d->started = true;
    d->code = byte;
    d->left = (uint8_t)(byte - 1);
    return FRAME_NONE;
}
