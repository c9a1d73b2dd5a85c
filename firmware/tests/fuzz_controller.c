/* The whole controller as a host, a bad line and a failing front end see it.
 *
 * Input: [what][size][bytes] again and again, where `what` says what becomes of the bytes: a frame in order, a frame
 * with any header, bytes as they are, a request handed over in an allocation of exactly its size, time, a failure.
 */
#include <stdlib.h>

#include "afe_free.h"
#include "controller.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_MAX = 64, POLLS_MAX = 64, POLLS_AT_END = 4 * LINK_QUEUE };

static const port_identity_t identity = {"fuzz", "fuzz", RESET_CAUSE_POWER, 1, 4096};
static controller_t controller;
static uint64_t now_us;
static uint32_t fail_in; /* transactions until the front end fails, once; 0: never */

/* The host's end of the link. */
static uint8_t next, expected;
static frame_decoder_t decoder;
static uint8_t content[FRAME_CONTENT(PAYLOAD_MAX)];

static void require(bool truth)
{
    if (!truth)
        abort();
}

uint64_t port_now_us(void)
{
    return now_us;
}

bool afe_exchange(afe_message_t *message)
{
    if (fail_in > 0 && --fail_in == 0)
        return false;
    afe_free_answer(message);
    return true;
}

/* One good frame, of a type that goes to the host. */
void port_send(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        require(frame_feed(&decoder, bytes[i]) == (i + 1 < count ? FRAME_NONE : FRAME_READY));
    require(decoder.type >= 0x80 || decoder.type == MSG_ACK || decoder.type == MSG_NAK);
    if (decoder.type == MSG_WELCOME && controller.link.base == 0 && controller.link.sent_count == 0)
        next = expected = 0;
    else if (message_sequenced(decoder.type) && decoder.seq == expected)
        expected++;
}

static void poll(int count)
{
    while (count-- > 0) {
        controller_poll(&controller);
        require(controller.fault != FAULT_GUARD); /* that would be a request that should have been refused */
    }
}

static void frame(uint8_t type, uint8_t seq, uint8_t ack, const uint8_t *payload, size_t n)
{
    uint8_t bytes[FRAME_ENCODED(PAYLOAD_MAX)];
    const size_t count = frame_encode(bytes, sizeof bytes, type, seq, ack, payload, n);
    if (count > 0)
        controller_receive(&controller, bytes, count);
}

static void hello(uint8_t link)
{
    const hello_msg_t m = {PROTOCOL_VERSION, PROTOCOL_SCHEMA, link, 50, 1000};
    uint8_t payload[HELLO_SIZE];
    frame(MSG_HELLO, 0, expected, payload, hello_pack(&m, payload));
}

/* Past the link. */
static void request(uint8_t type, const uint8_t *payload, size_t n)
{
    uint8_t *copy = malloc(n);
    require(copy != NULL || n == 0);
    if (n > 0)
        memcpy(copy, payload, n);
    if (!requests_running(&controller.requests)) {
        const fault_t fault =
            requests_start(&controller.requests, controller.fault != FAULT_NONE, type, copy, n);
        if (fault != FAULT_NONE)
            controller_fault(&controller, fault);
    }
    free(copy);
}

static void input(uint8_t what, const uint8_t *bytes, size_t n)
{
    switch (what % 8) {
    case 0:
    case 1:
        if (n > 0) {
            const uint8_t seq = message_sequenced(bytes[0]) ? next++ : 0;
            frame(bytes[0], seq, expected, bytes + 1, n - 1);
        }
        break;
    case 2:
        if (n > 2)
            frame(bytes[0], bytes[1], bytes[2], bytes + 3, n - 3);
        break;
    case 3:
        controller_receive(&controller, bytes, n);
        break;
    case 4:
        if (n > 0)
            request(bytes[0], bytes + 1, n - 1);
        break;
    case 5:
        now_us += n > 0 ? 1000u * bytes[0] * (n > 1 ? bytes[1] : 1u) : 1u;
        break;
    case 6:
        fail_in = n > 0 ? bytes[0] : 1;
        break;
    default:
        hello(n > 0 ? bytes[0] : 1);
    }
}

/* A silent host: the lines are at 0 V when the dead-man time is over. */
static void end(void)
{
    const bool watched = controller.link.open && !controller.silent;
    fail_in = 0;
    now_us += controller.dead_man_us;
    poll(1);
    require(!watched || (controller.fault != FAULT_NONE && !controller.board.driven));
    poll(POLLS_AT_END);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *const past = data + size;
    fail_in = 0;
    now_us = 1;
    next = expected = 0;
    frame_decoder_init(&decoder, content, sizeof content);
    require(afe_free_start(16, 8, 2));
    controller_init(&controller, &identity);
    hello(1);
    for (int i = 0; i < INPUTS_MAX && past - data >= 2; i++) {
        const uint8_t what = *data++;
        size_t n = *data++;
        if (n > (size_t)(past - data))
            n = (size_t)(past - data);
        input(what, data, n);
        data += n;
        poll(what / 8 % 2 == 0 ? 1 : POLLS_MAX);
    }
    end();
    return 0;
}
