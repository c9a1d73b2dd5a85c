/* Frames on the wire: what they look like, and that no damage passes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "frame.h"
#include "protocol.h"

static uint8_t content[FRAME_CONTENT(AFE_PAYLOAD_MAX)];
static frame_decoder_t decoder;

static void decode_payloads_of(size_t payload)
{
    frame_decoder_init(&decoder, content, FRAME_CONTENT(payload));
}

/* The events but FRAME_NONE that these bytes give: the last one, and how many. */
static frame_event_t feed(const uint8_t *bytes, size_t count, unsigned *events)
{
    frame_event_t last = FRAME_NONE;
    *events = 0;
    for (size_t i = 0; i < count; i++) {
        const frame_event_t event = frame_feed(&decoder, bytes[i]);
        if (event != FRAME_NONE) {
            last = event;
            (*events)++;
        }
    }
    return last;
}

static void test_bytes_as_other_programs_make_them(void **state)
{
    (void)state;
    /* made with Python: cobs.encode(body + zlib.crc32(body)), then a zero */
    static const uint8_t expected[] = {0x05, 0x22, 0x07, 0xfa, 0x01, 0x01, 0x01, 0x06,
                                       0x02, 0x2f, 0xf6, 0xb1, 0x7c, 0x00};
    static const uint8_t empty[] = {0x02, 0x02, 0x01, 0x05, 0x7c, 0x0d, 0xc5, 0xfc, 0x00};
    static const uint8_t payload[] = {1, 0, 0, 0, 2};
    uint8_t bytes[FRAME_ENCODED(5)];
    assert_int_equal(frame_crc32((const uint8_t *)"123456789", 9), 0xCBF43926u);
    assert_int_equal(frame_encode(bytes, sizeof bytes, 0x22, 7, 250, payload, 5), sizeof expected);
    assert_memory_equal(bytes, expected, sizeof expected);
    assert_int_equal(frame_encode(bytes, sizeof bytes, MSG_ACK, 0, 0, NULL, 0), sizeof empty);
    assert_memory_equal(bytes, empty, sizeof empty);
}

/* What COBS finds hard: zeros, none, blocks of just 254 bytes. */
static void fill(uint8_t *payload, size_t count, int pattern)
{
    for (size_t i = 0; i < count; i++) {
        payload[i] = (uint8_t)(pattern == 0 ? 0 : pattern == 1 ? 0xFF : pattern == 2 ? i % 255 == 251 ? 0 : 1 : rand());
    }
}

static void test_every_length_comes_back(void **state)
{
    (void)state;
    uint8_t payload[AFE_PAYLOAD_MAX], bytes[FRAME_ENCODED(AFE_PAYLOAD_MAX)];
    unsigned events;
    decode_payloads_of(AFE_PAYLOAD_MAX);
    srand(1);
    for (size_t n = 0; n <= AFE_PAYLOAD_MAX; n++) {
        for (int pattern = 0; pattern < 4; pattern++) {
            fill(payload, n, pattern);
            assert_int_equal(frame_encode(bytes, FRAME_ENCODED(n) - 1, 1, 2, 3, payload, n), 0);
            const size_t count = frame_encode(bytes, FRAME_ENCODED(n), 1, 2, 3, payload, n);
            assert_in_range(count, 1, FRAME_ENCODED(n));
            assert_null(memchr(bytes, 0, count - 1));
            assert_int_equal(feed(bytes, count, &events), FRAME_READY);
            assert_int_equal(events, 1);
            assert_int_equal(decoder.size, n);
            assert_true(decoder.type == 1 && decoder.seq == 2 && decoder.ack == 3);
            assert_memory_equal(decoder.payload, payload, n);
        }
    }
}

static void test_no_damaged_byte_passes(void **state)
{
    (void)state;
    uint8_t payload[40], good[FRAME_ENCODED(40)], bytes[FRAME_ENCODED(40)];
    unsigned events;
    decode_payloads_of(40);
    fill(payload, 40, 2);
    payload[7] = payload[8] = 0;
    const size_t count = frame_encode(good, sizeof good, 1, 2, 3, payload, 40);
    for (size_t i = 0; i < count; i++) {
        for (unsigned flip = 1; flip < 256; flip++) {
            memcpy(bytes, good, count);
            bytes[i] = (uint8_t)(bytes[i] ^ flip);
            assert_int_not_equal(feed(bytes, count, &events), FRAME_READY);
            (void)frame_feed(&decoder, 0); /* in case the closing zero was hit */
            assert_int_equal(feed(good, count, &events), FRAME_READY); /* and the next one is found */
        }
    }
}

static void test_lost_and_added_bytes(void **state)
{
    (void)state;
    uint8_t payload[40], good[FRAME_ENCODED(40)], bytes[FRAME_ENCODED(40) + 1];
    unsigned events;
    decode_payloads_of(40);
    fill(payload, 40, 2);
    const size_t count = frame_encode(good, sizeof good, 1, 2, 3, payload, 40);
    for (size_t i = 0; i + 1 < count; i++) {
        memcpy(bytes, good, i);
        memcpy(bytes + i, good + i + 1, count - i - 1);
        assert_int_equal(feed(bytes, count - 1, &events), FRAME_DAMAGED);
        memcpy(bytes, good, i);
        bytes[i] = 0x55;
        memcpy(bytes + i + 1, good + i, count - i);
        assert_int_equal(feed(bytes, count + 1, &events), FRAME_DAMAGED);
        assert_int_equal(events, 1);
    }
}

static void test_too_long_is_damage_until_the_next_zero(void **state)
{
    (void)state;
    uint8_t payload[41], bytes[FRAME_ENCODED(41)];
    unsigned events;
    decode_payloads_of(40);
    fill(payload, 41, 1);
    const size_t count = frame_encode(bytes, sizeof bytes, 1, 2, 3, payload, 41);
    assert_int_equal(feed(bytes, count, &events), FRAME_DAMAGED);
    for (unsigned i = 0; i < 5000; i++) {
        assert_int_equal(frame_feed(&decoder, (uint8_t)(1 + i % 255)), FRAME_NONE);
    }
    assert_int_equal(frame_feed(&decoder, 0), FRAME_DAMAGED);
    const size_t fits = frame_encode(bytes, sizeof bytes, 1, 2, 3, payload, 40);
    assert_int_equal(feed(bytes, fits, &events), FRAME_READY);
}

static void test_zeros_between_frames_are_nothing(void **state)
{
    (void)state;
    static const uint8_t zeros[9] = {0};
    static const uint8_t shorter[] = {0x05, 1, 2, 3, 4, 0}; /* good COBS, no room for a CRC */
    uint8_t bytes[FRAME_ENCODED(0)];
    unsigned events;
    decode_payloads_of(0);
    assert_int_equal(feed(zeros, sizeof zeros, &events), FRAME_NONE);
    const size_t count = frame_encode(bytes, sizeof bytes, MSG_ACK, 0, 9, NULL, 0);
    assert_int_equal(feed(bytes, count, &events), FRAME_READY);
    assert_int_equal(decoder.ack, 9);
    assert_int_equal(feed(zeros, sizeof zeros, &events), FRAME_NONE);
    assert_int_equal(feed(shorter, sizeof shorter, &events), FRAME_DAMAGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_as_other_programs_make_them),
        cmocka_unit_test(test_every_length_comes_back),
        cmocka_unit_test(test_no_damaged_byte_passes),
        cmocka_unit_test(test_lost_and_added_bytes),
        cmocka_unit_test(test_too_long_is_damage_until_the_next_zero),
        cmocka_unit_test(test_zeros_between_frames_are_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
