/* The link: every sequenced frame arrives once and in order, whatever the line does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "fake_port.h"
#include "link.h"

enum { RESEND_US = 20000 };

static link_t link_;

static int open_link(void **state)
{
    (void)state;
    port_reset();
    link_init(&link_);
    link_open(&link_, RESEND_US, port.now_us);
    return 0;
}

/* A frame from the host; returns what link_feed says of it. */
static bool give(uint8_t type, uint8_t seq, uint8_t ack)
{
    const uint8_t payload[4] = {seq, 1, 2, 3};
    uint8_t bytes[FRAME_ENCODED(4)];
    const size_t count = frame_encode(bytes, sizeof bytes, type, seq, ack, payload, 4);
    bool urgent = false;
    for (size_t i = 0; i < count; i++) {
        urgent = link_feed(&link_, bytes[i], port.now_us);
    }
    return urgent;
}

static void give_nak(uint8_t ack, uint8_t missing, uint16_t held)
{
    const nak_msg_t m = {missing, held};
    uint8_t payload[NAK_SIZE], bytes[FRAME_ENCODED(NAK_SIZE)];
    const size_t count = frame_encode(bytes, sizeof bytes, MSG_NAK, 0, ack, payload, nak_pack(&m, payload));
    for (size_t i = 0; i < count; i++) {
        assert_false(link_feed(&link_, bytes[i], port.now_us));
    }
}

/* The last NAK sent names these. */
static void assert_asked(uint8_t missing, uint16_t held)
{
    const sent_t *sent = port_last(MSG_NAK);
    nak_msg_t m;
    assert_true(nak_unpack(&m, sent->payload, NAK_SIZE));
    assert_int_equal(m.missing, missing);
    assert_int_equal(m.held, held);
}

static void give_damage(void)
{
    static const uint8_t noise[] = {9, 1, 2, 0};
    for (size_t i = 0; i < sizeof noise; i++) {
        assert_false(link_feed(&link_, noise[i], port.now_us));
    }
}

static void send_frames(uint8_t count)
{
    for (uint8_t i = 0; i < count; i++) {
        assert_true(link_send(&link_, MSG_DONE, &i, 1, port.now_us));
    }
}

static void pass(uint64_t us)
{
    port.now_us += us;
    link_poll(&link_, false, port.now_us);
}

static void test_nothing_but_hello_before_it_is_open(void **state)
{
    (void)state;
    const uint8_t payload = 0;
    link_init(&link_);
    assert_false(give(MSG_READ, 0, 0));
    assert_false(give(MSG_STATUS, 0, 0));
    give_damage();
    assert_true(give(MSG_HELLO, 0, 0));
    assert_null(link_head(&link_));
    assert_int_equal(link_room(&link_), 0);
    assert_false(link_send(&link_, MSG_DONE, &payload, 1, port.now_us));
    link_poll(&link_, true, port.now_us);
    assert_int_equal(port.count, 0);
    assert_int_equal(link_.counters.rx_frames, 3);
    assert_int_equal(link_.counters.rx_damaged, 1);
}

static void test_in_order_and_once(void **state)
{
    (void)state;
    give(MSG_READ, 0, 0);
    give(MSG_WAIT, 1, 0);
    give(MSG_WAIT, 1, 0);
    give(MSG_READ, 0, 0);
    assert_int_equal(link_.queue_count, 2);
    assert_int_equal(link_head(&link_)->type, MSG_READ);
    assert_int_equal(link_head(&link_)->size, 4);
    link_pop(&link_);
    assert_int_equal(link_head(&link_)->type, MSG_WAIT);
    assert_int_equal(link_head(&link_)->payload[0], 1);
    link_pop(&link_);
    assert_null(link_head(&link_));
    assert_int_equal(link_.counters.rx_gaps, 0);
    assert_int_equal(port_sent(MSG_NAK), 0);
}

static void test_unsequenced_frames_overtake(void **state)
{
    (void)state;
    give(MSG_READ, 0, 0);
    assert_true(give(MSG_STATUS, 0, 0));
    assert_true(give(MSG_GROUND, 0, 0));
    assert_true(give(MSG_ABORT, 0, 0));
    assert_true(give(MSG_CLEAR, 0, 0));
    assert_false(give(MSG_ACK, 0, 0));
    assert_false(give(MSG_NAK, 0, 0));
    assert_int_equal(link_.queue_count, 1);
    assert_false(give(0x77, 1, 0)); /* of no type that is known: sequenced, so that it can be refused */
    assert_int_equal(link_.queue_count, 2);
}

static void test_one_nak_until_progress(void **state)
{
    (void)state;
    give(MSG_READ, 1, 0);
    give(MSG_READ, 2, 0);
    give_damage();
    assert_int_equal(port_sent(MSG_NAK), 1);
    assert_int_equal(port_last(MSG_NAK)->ack, 0);
    port.now_us += RESEND_US - 1;
    give(MSG_READ, 2, 0);
    assert_int_equal(port_sent(MSG_NAK), 1);
    port.now_us += 1; /* the answer to the NAK seems lost */
    give(MSG_READ, 2, 0);
    assert_int_equal(port_sent(MSG_NAK), 2);
    give(MSG_READ, 0, 0); /* progress */
    assert_int_equal(link_.queue_count, 3);
    give(MSG_READ, 4, 0);
    assert_int_equal(port_sent(MSG_NAK), 3);
    assert_int_equal(port_last(MSG_NAK)->ack, 3);
    assert_int_equal(link_.queue_count, 3);
    assert_int_equal(link_.counters.rx_gaps, 5);
}

static void test_early_frames_are_named_and_taken_in_their_turn(void **state)
{
    (void)state;
    give(MSG_READ, 0, 0);
    give(MSG_READ, 2, 0);
    assert_asked(1, 1);
    give(MSG_READ, 3, 0);
    assert_int_equal(port_sent(MSG_NAK), 1);
    give(MSG_READ, 5, 0); /* that 4 is missing too is news */
    give(MSG_READ, 5, 0);
    assert_int_equal(port_sent(MSG_NAK), 2);
    assert_asked(1, 0xB);
    assert_int_equal(link_.queue_count, 1);
    give(MSG_READ, 1, 0);
    assert_int_equal(link_.queue_count, 4);
    pass(RESEND_US); /* nobody sends 4 */
    assert_asked(4, 1);
    give(MSG_READ, 4, 0);
    assert_int_equal(link_.queue_count, 6);
    for (uint8_t i = 0; i < 6; i++) {
        assert_int_equal(link_head(&link_)->payload[0], i);
        link_pop(&link_);
    }
    port_forget();
    pass(10 * RESEND_US);
    assert_int_equal(port_sent(MSG_NAK), 0);
    give(MSG_READ, 23, 0); /* further ahead than a NAK can tell */
    for (uint8_t i = 6; i < 23; i++) {
        give(MSG_READ, i, 0);
    }
    assert_int_equal(link_.queue_count, 17);
}

static void test_a_nak_says_what_is_missing_also_behind_a_full_window(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < LINK_WINDOW + 2; i++) {
        give(MSG_READ, i, 0);
    }
    give(MSG_READ, LINK_WINDOW + 3, 0);
    assert_int_equal(port_last(MSG_NAK)->ack, LINK_WINDOW);
    assert_asked(LINK_WINDOW + 2, 1);
}

static void test_acknowledged_when_due(void **state)
{
    (void)state;
    give(MSG_READ, 0, 0);
    link_poll(&link_, false, port.now_us);
    assert_int_equal(port.count, 0); /* an answer may carry it */
    pass(RESEND_US / 4);
    assert_int_equal(port_sent(MSG_ACK), 1);
    assert_int_equal(port_last(MSG_ACK)->ack, 1);
    give(MSG_READ, 1, 0);
    link_poll(&link_, true, port.now_us); /* no answer is to come */
    assert_int_equal(port_last(MSG_ACK)->ack, 2);
    for (uint8_t i = 2; i < 2 + LINK_WINDOW / 4; i++) {
        give(MSG_READ, i, 0);
    }
    link_poll(&link_, false, port.now_us); /* many wait */
    assert_int_equal(port_last(MSG_ACK)->ack, 2 + LINK_WINDOW / 4);
    give(MSG_READ, 2 + LINK_WINDOW / 4, 0);
    send_frames(1); /* carries it */
    assert_int_equal(port_last(MSG_DONE)->ack, 3 + LINK_WINDOW / 4);
    port_forget();
    pass(RESEND_US / 2);
    assert_int_equal(port.count, 0);
}

static void test_a_duplicate_is_acknowledged_again(void **state)
{
    (void)state;
    give(MSG_READ, 0, 0);
    link_poll(&link_, true, port.now_us);
    port_forget();
    give(MSG_READ, 0, 0);
    link_poll(&link_, false, port.now_us);
    assert_int_equal(port_sent(MSG_ACK), 1);
    assert_int_equal(port_last(MSG_ACK)->ack, 1);
    link_poll(&link_, false, port.now_us);
    assert_int_equal(port.count, 1);
}

static void test_window_is_never_exceeded(void **state)
{
    (void)state;
    const uint8_t payload = 0;
    send_frames(LINK_WINDOW);
    assert_int_equal(link_room(&link_), 0);
    assert_false(link_send(&link_, MSG_DONE, &payload, 1, port.now_us));
    assert_int_equal(port.count, LINK_WINDOW);
    give(MSG_ACK, 0, 5);
    assert_int_equal(link_room(&link_), 5);
    give(MSG_ACK, 0, 3);                /* late */
    give(MSG_ACK, 0, LINK_WINDOW + 1);  /* of what was never sent */
    assert_int_equal(link_room(&link_), 5);
    send_frames(5);
    assert_int_equal(port_last(MSG_DONE)->seq, LINK_WINDOW + 4);
    give(MSG_ACK, 0, LINK_WINDOW + 5);
    assert_int_equal(link_room(&link_), LINK_WINDOW);
}

static void test_a_payload_too_long_is_not_sent(void **state)
{
    (void)state;
    const uint8_t payload[PAYLOAD_MAX + 1] = {0};
    assert_false(link_send(&link_, MSG_DONE, payload, sizeof payload, port.now_us));
    link_send_unsequenced(&link_, MSG_WELCOME, payload, sizeof payload);
    assert_int_equal(port.count, 0);
}

static void test_queue_takes_a_window_more_than_it_acknowledges(void **state)
{
    (void)state;
    for (uint8_t i = 0; i < LINK_QUEUE; i++) {
        give(MSG_READ, i, 0);
    }
    link_poll(&link_, true, port.now_us);
    assert_int_equal(link_.queue_count, LINK_QUEUE);
    assert_int_equal(port_last(MSG_ACK)->ack, LINK_WINDOW);
    give(MSG_READ, LINK_QUEUE, 0); /* a host that does not keep to the window */
    assert_int_equal(link_.queue_count, LINK_QUEUE);
    link_pop(&link_);
    port_forget();
    link_poll(&link_, false, port.now_us);
    assert_int_equal(port.count, 0);
    pass(RESEND_US / 4); /* the queue going down is news for the host */
    assert_int_equal(port_last(MSG_ACK)->ack, LINK_WINDOW + 1);
}

static void test_nak_brings_what_is_missing_and_nothing_else(void **state)
{
    (void)state;
    send_frames(8);
    port_forget();
    give_nak(2, 2, 0x15); /* 3, 5 and 7 came */
    assert_int_equal(port.count, 3);
    for (uint8_t i = 0; i < 3; i++) {
        assert_int_equal(port.sent[i].seq, 2 + 2 * i);
        assert_int_equal(port.sent[i].payload[0], 2 + 2 * i);
    }
    assert_int_equal(link_.counters.tx_resent, 3);
    port_forget();
    give_nak(2, 1, 0x1); /* of a loss that is mended */
    give_nak(2, 8, 0x1); /* of what was never sent */
    give(MSG_NAK, 0, 2); /* of a wrong length */
    assert_int_equal(port.count, 0);
    give_nak(2, 7, 0xFFFF);
    assert_int_equal(port.count, 1);
    assert_int_equal(port.sent[0].seq, 7);
}

static void test_resend_time_doubles_and_recovers(void **state)
{
    (void)state;
    uint64_t wait = RESEND_US;
    send_frames(2);
    for (int i = 0; i < 8; i++) {
        port_forget();
        pass(wait - 1);
        assert_int_equal(port.count, 0);
        pass(1);
        assert_int_equal(port.count, 2);
        assert_int_equal(port.sent[0].seq, 0);
        wait = wait < 500000 ? 2 * wait : 1000000;
    }
    assert_int_equal(wait, 1000000);
    port_forget();
    give(MSG_ACK, 0, 1);
    pass(RESEND_US - 1);
    assert_int_equal(port.count, 0);
    pass(1);
    assert_int_equal(port.count, 1);
    assert_int_equal(port.sent[0].seq, 1);
}

static void test_opening_again_starts_at_zero(void **state)
{
    (void)state;
    give(MSG_READ, 0, 0);
    send_frames(3);
    link_open(&link_, RESEND_US, port.now_us);
    assert_null(link_head(&link_));
    assert_int_equal(link_room(&link_), LINK_WINDOW);
    port_forget();
    pass(10 * RESEND_US);
    assert_int_equal(port.count, 0);
    send_frames(1);
    assert_int_equal(port.sent[0].seq, 0);
    assert_int_equal(port.sent[0].ack, 0);
}

/* Two links and a bad line between them. ----------------------------------------------------------------------- */

enum { HELD = 64, FRAMES = 4000 };

typedef struct {
    uint8_t bytes[FRAME_ENCODED(PAYLOAD_MAX) + 1];
    size_t count;
} piece_t;

static struct {
    link_t ends[2];
    piece_t pieces[2][HELD]; /* on their way to end 0 and 1 */
    size_t waiting[2];
    int from;
    unsigned percent; /* of frames that something happens to */
} pair;

static void hold(int to, const piece_t *piece, bool early)
{
    if (pair.waiting[to] < HELD) {
        piece_t *last = &pair.pieces[to][pair.waiting[to]++];
        *last = *piece;
        if (early && pair.waiting[to] > 1) { /* overtakes the one before */
            const piece_t other = last[-1];
            last[-1] = *last;
            *last = other;
        }
    }
}

static void bad_line(const uint8_t *bytes, size_t count)
{
    const int to = 1 - pair.from;
    piece_t piece = {.count = count};
    memcpy(piece.bytes, bytes, count);
    if ((unsigned)rand() % 100 >= pair.percent) {
        hold(to, &piece, false);
        return;
    }
    switch (rand() % 5) {
    case 0: /* lost */
        break;
    case 1: /* twice */
        hold(to, &piece, false);
        hold(to, &piece, false);
        break;
    case 2: /* damaged */
        piece.bytes[(size_t)rand() % count] ^= (uint8_t)(1 << rand() % 8);
        hold(to, &piece, false);
        break;
    case 3: /* cut */
        piece.count = (size_t)rand() % count;
        hold(to, &piece, false);
        break;
    default: /* early */
        hold(to, &piece, true);
        break;
    }
}

static void deliver(int to)
{
    const size_t count = pair.waiting[to];
    pair.waiting[to] = 0;
    for (size_t i = 0; i < count; i++) {
        const piece_t piece = pair.pieces[to][i];
        for (size_t k = 0; k < piece.count; k++) {
            pair.from = to; /* what it answers */
            (void)link_feed(&pair.ends[to], piece.bytes[k], port.now_us);
        }
    }
}

/* Sends what fits, and checks what came: numbers that count up. */
static void work(int end, uint32_t *sent, uint32_t *came, uint32_t most_taken)
{
    link_t *link = &pair.ends[end];
    const link_item_t *item;
    pair.from = end;
    while (*sent < FRAMES && link_room(link) > 0) {
        uint8_t payload[4];
        put_u32(payload, *sent);
        assert_true(link_send(link, MSG_DONE, payload, 4, port.now_us));
        ++*sent;
    }
    for (uint32_t taken = 0; taken < most_taken && (item = link_head(link)) != NULL; taken++) {
        assert_int_equal(item->size, 4);
        assert_int_equal(get_u32(item->payload), *came);
        link_pop(link);
        ++*came;
    }
    assert_true(link->queue_count <= LINK_QUEUE);
    link_poll(link, true, port.now_us);
}

static void run_pair(unsigned percent, uint32_t most_taken)
{
    uint32_t sent[2] = {0, 0}, came[2] = {0, 0}, rounds = 0;
    memset(&pair, 0, sizeof pair);
    pair.percent = percent;
    port.line = bad_line;
    for (int end = 0; end < 2; end++) {
        link_init(&pair.ends[end]);
        link_open(&pair.ends[end], RESEND_US, port.now_us);
    }
    while (came[0] < FRAMES || came[1] < FRAMES) {
        assert_true(++rounds < 200000); /* no hang */
        for (int end = 0; end < 2; end++) {
            work(end, &sent[end], &came[end], most_taken);
        }
        deliver(0);
        deliver(1);
        port.now_us += 500;
    }
}

static void test_a_bad_line_loses_nothing(void **state)
{
    (void)state;
    srand(3);
    run_pair(0, 100);
    assert_int_equal(pair.ends[0].counters.tx_resent + pair.ends[1].counters.tx_resent, 0);
    run_pair(1, 100);
    run_pair(20, 100);
    assert_true(pair.ends[0].counters.rx_damaged > 100);
    assert_true(pair.ends[0].counters.rx_gaps > 100);
    run_pair(50, 100);
}

static void test_slow_work_overruns_nothing(void **state)
{
    (void)state;
    srand(4);
    run_pair(0, 1);
    assert_int_equal(pair.ends[0].counters.rx_gaps, 0);
    run_pair(10, 1);
}

/* The frame `number`, counted from HELLO on. */
static void give_number(uint32_t number)
{
    uint8_t payload[4], bytes[FRAME_ENCODED(4)];
    put_u32(payload, number);
    const size_t count = frame_encode(bytes, sizeof bytes, MSG_READ, (uint8_t)number, link_.base, payload, 4);
    for (size_t i = 0; i < count; i++) {
        (void)link_feed(&link_, bytes[i], port.now_us);
    }
}

static uint32_t between(uint32_t low, uint32_t high)
{
    return low + (uint32_t)rand() % (high - low + 1);
}

/* Whatever the line repeats, up to half the numbers old, and whatever comes early: each frame counts once, in order. */
static void test_old_numbers_never_count_again(void **state)
{
    (void)state;
    uint32_t expected = 0, taken = 0, most = 0;
    srand(5);
    while (expected < 5 * 256) {
        const uint32_t kind = between(0, 3);
        if (kind == 0) {
            give_number(expected);
        } else if (kind == 1) {
            give_number(expected + between(1, LINK_WINDOW));
        } else if (kind == 2) {
            give_number(expected + between(LINK_WINDOW + 1, 127));
        } else if (expected > 128) {
            give_number(expected - between(1, 128));
        }
        const uint32_t most_taken = between(0, 40) == 0 ? LINK_QUEUE : between(0, 1);
        const link_item_t *item;
        for (uint32_t i = 0; i < most_taken && (item = link_head(&link_)) != NULL; i++, taken++) {
            assert_int_equal(get_u32(item->payload), taken);
            link_pop(&link_);
        }
        most = link_.queue_count > most ? link_.queue_count : most;
        expected = taken + link_.queue_count;
        assert_int_equal((uint8_t)expected, link_.expected);
        assert_true(link_awaited(&link_) <= LINK_QUEUE);
    }
    assert_true(most > LINK_WINDOW);
}

/* An acknowledgement frees what it names, and an old one nothing. */
static void test_old_acknowledgements_free_nothing(void **state)
{
    (void)state;
    uint32_t sent = 0, base = 0;
    srand(6);
    while (base < 5 * 256) {
        for (size_t more = between(0, (uint32_t)link_room(&link_)); more > 0; more--, sent++) {
            send_frames(1);
        }
        if (between(0, 1) == 0) {
            base += between(0, sent - base);
            give(MSG_ACK, 0, (uint8_t)base);
        } else {
            give(MSG_ACK, 0, (uint8_t)(base - between(1, 256 - LINK_WINDOW - 1)));
        }
        assert_int_equal(link_.base, (uint8_t)base);
        assert_int_equal(link_.sent_count, sent - base);
        port_forget();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_nothing_but_hello_before_it_is_open, open_link),
        cmocka_unit_test_setup(test_in_order_and_once, open_link),
        cmocka_unit_test_setup(test_unsequenced_frames_overtake, open_link),
        cmocka_unit_test_setup(test_one_nak_until_progress, open_link),
        cmocka_unit_test_setup(test_early_frames_are_named_and_taken_in_their_turn, open_link),
        cmocka_unit_test_setup(test_a_nak_says_what_is_missing_also_behind_a_full_window, open_link),
        cmocka_unit_test_setup(test_acknowledged_when_due, open_link),
        cmocka_unit_test_setup(test_a_duplicate_is_acknowledged_again, open_link),
        cmocka_unit_test_setup(test_window_is_never_exceeded, open_link),
        cmocka_unit_test_setup(test_a_payload_too_long_is_not_sent, open_link),
        cmocka_unit_test_setup(test_queue_takes_a_window_more_than_it_acknowledges, open_link),
        cmocka_unit_test_setup(test_nak_brings_what_is_missing_and_nothing_else, open_link),
        cmocka_unit_test_setup(test_resend_time_doubles_and_recovers, open_link),
        cmocka_unit_test_setup(test_opening_again_starts_at_zero, open_link),
        cmocka_unit_test_setup(test_old_numbers_never_count_again, open_link),
        cmocka_unit_test_setup(test_old_acknowledgements_free_nothing, open_link),
        cmocka_unit_test_setup(test_a_bad_line_loses_nothing, open_link),
        cmocka_unit_test_setup(test_slow_work_overruns_nothing, open_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
