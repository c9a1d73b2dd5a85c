/* Frames: COBS(type u8 | seq u8 | ack u8 | payload | crc32 u32), closed by one 0x00.
 *
 * COBS: S. Cheshire, M. Baker, Consistent overhead byte stuffing, doi:10.1109/90.769765. CRC-32 as in zlib.
 */
#ifndef EAPU_FRAME_H
#define EAPU_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER 3u
#define FRAME_CRC 4u
/* What a frame holds, and what it takes on the line at most, closing zero included. */
#define FRAME_CONTENT(payload) (FRAME_HEADER + (payload) + FRAME_CRC)
#define FRAME_ENCODED(payload) (FRAME_CONTENT(payload) + FRAME_CONTENT(payload) / 254u + 2u)

uint32_t frame_crc32(const uint8_t *bytes, size_t count);

/* Returns how many bytes were written, closing zero included; 0: `room` is less than FRAME_ENCODED(n). */
size_t frame_encode(uint8_t *out, size_t room, uint8_t type, uint8_t seq, uint8_t ack, const uint8_t *payload,
                    size_t n);

typedef enum {
    FRAME_NONE,
    FRAME_READY,  /* type, seq, ack, payload and size of the decoder hold it until the next byte is fed */
    FRAME_DAMAGED /* too long, too short, bad COBS or bad CRC */
} frame_event_t;

typedef struct {
    uint8_t *content; /* the caller's, FRAME_CONTENT(payload) bytes for payloads up to that size */
    size_t room, count;
    uint8_t code, left; /* of the COBS block that comes in */
    bool started, bad;
    uint8_t type, seq, ack;
    const uint8_t *payload;
    size_t size;
} frame_decoder_t;

void frame_decoder_init(frame_decoder_t *decoder, uint8_t *content, size_t room);
/* An event comes with the closing zero; zeros between frames are nothing. */
frame_event_t frame_feed(frame_decoder_t *decoder, uint8_t byte);

#endif
