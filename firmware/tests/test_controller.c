/* The controller as one board that a host greets, aborts, grounds and leaves alone. */
#include "fake_host.h"

static void test_the_lines_are_grounded_at_boot(void **state)
{
    (void)state;
    host_boot();
    assert_false(controller_idle(&controller));
    assert_false(controller_resting(&controller));
    host_run();
    assert_int_equal(fake_calls(CALL_GROUND), 1);
    assert_true(controller_resting(&controller));
    assert_int_equal(port.count, 0);
}

static void test_only_hello_is_answered_before_hello(void **state)
{
    (void)state;
    uint8_t payload[4] = {1};
    host_boot();
    host_give(MSG_STATUS, 0, 0, payload, 4);
    host_give(MSG_GROUND, 0, 0, payload, 4);
    host_read(5);
    host_run();
    assert_int_equal(port.count, 0);
}

static void test_welcome_says_what_the_board_is(void **state)
{
    (void)state;
    const hello_msg_t hello = host_hello_of(9);
    welcome_msg_t m;
    host_boot();
    host_hello(&hello);
    const sent_t *sent = host_answer(MSG_WELCOME);
    assert_true(welcome_unpack(&m, sent->payload, sent->size));
    assert_int_equal(m.version, PROTOCOL_VERSION);
    assert_int_equal(m.schema, PROTOCOL_SCHEMA);
    assert_int_equal(m.link, 9);
    assert_int_equal(m.session, 77);
    assert_memory_equal(m.board, "board\0\0\0\0\0\0\0\0\0\0\0", 16);
    assert_memory_equal(m.serial, "serial-of-16-chr", 16);
    assert_int_equal(m.reset_cause, RESET_CAUSE_PIN);
    assert_int_equal(m.state, BOARD_STATE_LINKED);
    assert_true(m.arrays == 1 && m.rows == 16 && m.cols == 8);
    assert_int_equal(m.window, LINK_WINDOW);
    assert_int_equal(m.rx_bytes, 4096);
    assert_true(m.adc_top == 2047 && m.ranges == 4 && m.read_range == 1);
    assert_true(m.range_full_scale_a[3] > 4.9e-4f);
}

static void test_another_schema_gets_welcome_and_nothing_else(void **state)
{
    (void)state;
    hello_msg_t hello = host_hello_of(9);
    uint8_t longer[40] = {PROTOCOL_VERSION + 1};
    hello.schema ^= 1;
    host_ready();
    host_hello(&hello); /* ends the link that was, too */
    const sent_t *sent = host_answer(MSG_WELCOME);
    assert_int_equal(get_u32(sent->payload + 1), PROTOCOL_SCHEMA);
    assert_int_equal(get_u32(sent->payload + 5), 9);
    host_read(5);
    host_run();
    assert_int_equal(port.count, 1);
    host_give(MSG_HELLO, 0, 0, longer, sizeof longer); /* of a version to come */
    assert_int_equal(port_sent(MSG_WELCOME), 2);
    host_give(MSG_HELLO, 0, 0, longer, 5);
    assert_int_equal(port_sent(MSG_WELCOME), 3);
    host_give(MSG_HELLO, 0, 0, longer, 4);
    assert_int_equal(port_sent(MSG_WELCOME), 3);
    hello = host_hello_of(9);
    hello.version = PROTOCOL_VERSION - 1; /* of a version that was */
    host_hello(&hello);
    assert_int_equal(port_sent(MSG_WELCOME), 4);
    host_read(5);
    host_run();
    assert_int_equal(port.count, 4);
}

static void test_a_hello_without_dead_man_time_is_not_answered(void **state)
{
    (void)state;
    hello_msg_t hello = host_hello_of(9);
    uint8_t payload[HELLO_SIZE + 1];
    host_boot();
    hello.dead_man_ms = 0;
    host_hello(&hello);
    hello = host_hello_of(9);
    hello_pack(&hello, payload);
    host_give(MSG_HELLO, 0, 0, payload, HELLO_SIZE + 1);
    host_give(MSG_HELLO, 0, 0, payload, HELLO_SIZE - 1);
    assert_int_equal(port.count, 0);
    hello.resend_ms = 0;
    hello.dead_man_ms = UINT32_MAX;
    host_hello(&hello);
    assert_int_equal(port_sent(MSG_WELCOME), 1);
    assert_int_equal(controller.dead_man_us, 60000000);
    assert_int_equal(controller.link.resend_us, 1000);
}

static void test_hello_again_is_answered_again_and_changes_nothing(void **state)
{
    (void)state;
    const hello_msg_t hello = host_hello_of(1);
    host_ready();
    host_read(5);
    host_hello(&hello);
    assert_int_equal(port_sent(MSG_WELCOME), 1);
    host_run();
    assert_int_equal(port_sent(MSG_READ_IS), 1);
}

/* The pulse `id` at the frame `ahead` after the next, as if the ones between were lost. */
static void give_early(uint8_t ahead, uint32_t id)
{
    host.next = (uint8_t)(host.next + ahead);
    host_pulse(id, 2, 1);
    host.next = (uint8_t)(host.next - ahead - 1);
}

static void test_what_ends_the_queue_ends_what_came_early_too(void **state)
{
    (void)state;
    static const uint8_t ends[] = {MSG_ABORT, MSG_GROUND, MSG_CLEAR};
    for (size_t i = 0; i < sizeof ends; i++) {
        host_ready();
        give_early(1, 11);
        give_early(3, 13);
        if (ends[i] == MSG_CLEAR) {
            controller_fault(&controller, FAULT_ON_TIME);
        }
        (void)host_urgent(ends[i]);
        for (uint32_t id = 10; id <= 13; id++) { /* those that were lost, once more, too */
            host_pulse(id, 2, 1);
        }
        host_run();
        assert_int_equal(port_sent(MSG_REFUSED), 4);
        host_assert_refused(13, REASON_ABORTED);
        assert_int_equal(fake_calls(CALL_PULSE), 0);
        host_pulse(14, 2, 1);
        host_run();
        assert_int_equal(port_sent(MSG_PULSED), 1);
    }
}

static void test_a_frame_of_another_link_never_counts(void **state)
{
    (void)state;
    const hello_msg_t hello = host_hello_of(2);
    host_ready();
    give_early(1, 11); /* it would be the fourth frame of the next link */
    host_hello(&hello);
    host.next = host.came = 0;
    for (uint32_t id = 20; id < 25; id++) {
        host_request_id(MSG_GET_LIMITS, id);
        host_run();
        host_assert_refused(id, REASON_NOT_CONFIGURED);
    }
    assert_int_equal(fake_calls(CALL_PULSE), 0);
    assert_int_equal(host_urgent(MSG_STATUS).refused, 5);
}

static void test_a_new_link_forgets_the_old_one(void **state)
{
    (void)state;
    const hello_msg_t hello = host_hello_of(2);
    host_ready();
    host_pulse(10, 2, 5);
    host_pulse(11, 3, 1);
    controller_poll(&controller);
    controller_poll(&controller); /* the first of five pulses */
    port_forget();
    fake_forget();
    host_hello(&hello);
    assert_int_equal(port.count, 1); /* WELCOME, no answer to the old host */
    assert_true(fake.grounded);
    host.next = host.came = 0;
    host_request_id(MSG_GET_LIMITS, 12);
    host_run();
    host_assert_refused(12, REASON_NOT_CONFIGURED);
    host_request_id(MSG_RECALL, 13);
    host_run();
    host_assert_refused(13, REASON_BAD_LENGTH);
    const recall_msg_t recall = {14, 10};
    uint8_t payload[RECALL_SIZE];
    host_request(MSG_RECALL, payload, recall_pack(&recall, payload));
    host_run();
    const sent_t *sent = host_answer(MSG_PULSED);
    pulsed_record_t record;
    assert_int_equal(get_u32(sent->payload), 14);
    pulsed_record_unpack(&record, sent->payload, 0);
    assert_int_equal(record.pulses, 1);
    assert_int_equal(record.status, CELL_STATUS_ABORTED);
    assert_int_equal(fake_calls(CALL_PULSE), 0);
    assert_int_equal(fake.pulses[0][3][3], 0);
}

static void test_status_counts(void **state)
{
    (void)state;
    static const uint8_t noise[] = {3, 4, 5, 0};
    host_ready();
    controller_receive(&controller, noise, sizeof noise);
    host_read(5);
    host_pulse(20, 2, 1);
    const status_is_msg_t busy = host_urgent(MSG_STATUS);
    assert_int_equal(busy.state, BOARD_STATE_BUSY);
    assert_int_equal(busy.queued, 2);
    assert_int_equal(busy.last_op, 0);
    host_run();
    host_request_id(0x77, 30);
    host_run();
    host_assert_refused(30, REASON_UNKNOWN_TYPE);
    const status_is_msg_t m = host_urgent(MSG_STATUS);
    assert_int_equal(m.state, BOARD_STATE_READY);
    assert_int_equal(m.fault, FAULT_NONE);
    assert_int_equal(m.grounded, 1);
    assert_int_equal(m.queued, 0);
    assert_int_equal(m.time_ns, fake.time_ns);
    assert_int_equal(m.last_op, 20);
    assert_int_equal(m.rx_damaged, 1);
    assert_int_equal(m.rx_gaps, 0);
    assert_int_equal(m.refused, 1);
}

static void test_urgent_frames_of_a_wrong_length_are_nothing(void **state)
{
    (void)state;
    const uint8_t payload[8] = {0};
    host_ready();
    host_give(MSG_GROUND, 0, 0, payload, 3);
    host_give(MSG_STATUS, 0, 0, payload, 5);
    host_give(MSG_ABORT, 0, 0, payload, 0);
    assert_int_equal(port.count, 0);
    assert_int_equal(fake.count, 0);
}

static void test_idle_lines_are_grounded_once(void **state)
{
    (void)state;
    host_ready();
    host_read(5);
    host_read(6);
    host_run();
    host_run();
    assert_int_equal(fake_calls(CALL_READ), 2);
    assert_int_equal(fake_calls(CALL_GROUND), 1);
    assert_int_equal(fake_last(CALL_GROUND), &fake.calls[2]);
}

static void test_abort_ends_what_runs_and_what_waits(void **state)
{
    (void)state;
    host_ready();
    host_pulse(10, 2, 5);
    host_pulse(11, 3, 1);
    host_read(12);
    controller_poll(&controller);
    controller_poll(&controller);
    controller_poll(&controller); /* two of five pulses */
    const status_is_msg_t status = host_urgent(MSG_ABORT);
    pulsed_record_t record;
    pulsed_record_unpack(&record, host_answer(MSG_PULSED)->payload, 0);
    assert_int_equal(record.pulses, 2);
    assert_int_equal(record.status, CELL_STATUS_ABORTED);
    assert_int_equal(status.state, BOARD_STATE_BUSY); /* the rest is not answered yet */
    host_read(13);                                    /* came after */
    host_run();
    assert_int_equal(port_sent(MSG_REFUSED), 2);
    host_assert_refused(12, REASON_ABORTED);
    assert_int_equal(port_sent(MSG_READ_IS), 1);
    assert_int_equal(fake.pulses[0][2][3], 2);
    assert_int_equal(fake.pulses[0][3][3], 0);
}

static void test_ground_is_done_before_it_is_answered(void **state)
{
    (void)state;
    host_ready();
    host_write(10, 2, 20e-6);
    for (int i = 0; i < 4; i++) {
        controller_poll(&controller);
    }
    assert_false(fake.grounded);
    const status_is_msg_t status = host_urgent(MSG_GROUND);
    assert_true(fake.grounded);
    assert_int_equal(status.grounded, 1);
    written_record_t record;
    written_record_unpack(&record, host_answer(MSG_WRITTEN)->payload, 0);
    assert_int_equal(record.status, CELL_STATUS_ABORTED);
    assert_true(record.reads > 0);
}

static void test_dead_man(void **state)
{
    (void)state;
    host_ready();
    host_pulse(10, 2, 50);
    host_pulse(11, 3, 1);
    controller_poll(&controller);
    controller_poll(&controller);
    port.now_us += 1000u * HOST_DEAD_MAN_MS - 1;
    controller_poll(&controller);
    assert_false(fake.grounded);
    port.now_us += 1;
    controller_poll(&controller);
    assert_true(fake.grounded);
    assert_int_equal(fake.pulses[0][2][3], 2);
    assert_int_equal(port_sent(MSG_PULSED), 1);
    assert_true(controller_resting(&controller));
    host_run();
    host_assert_refused(11, REASON_FAULT);
    assert_int_equal(fake_calls(CALL_GROUND), 1); /* once */

    status_is_msg_t m = host_urgent(MSG_STATUS);
    assert_true(m.state == BOARD_STATE_FAULT && m.fault == FAULT_DEAD_MAN && m.grounded == 1);
    host_read(12);
    host_run();
    host_assert_refused(12, REASON_FAULT);
    assert_int_equal(host_urgent(MSG_GROUND).state, BOARD_STATE_FAULT);
    assert_int_equal(host_urgent(MSG_ABORT).state, BOARD_STATE_FAULT);
    m = host_urgent(MSG_CLEAR);
    assert_true(m.state == BOARD_STATE_READY && m.fault == FAULT_NONE);
    host_read(13);
    host_run();
    assert_int_equal(port_sent(MSG_READ_IS), 1);
    assert_int_equal(fake.pulses[0][3][3], 0);
}

static void test_any_valid_frame_feeds_the_dead_man(void **state)
{
    (void)state;
    const hello_msg_t hello = host_hello_of(1);
    static const uint8_t noise[] = {3, 4, 5, 0};
    host_ready();
    for (int i = 0; i < 6; i++) {
        port.now_us += 900u * HOST_DEAD_MAN_MS;
        controller_poll(&controller);
        assert_int_equal(controller.fault, FAULT_NONE);
        if (i % 3 == 0) {
            host_give(MSG_ACK, 0, host.came, NULL, 0);
        } else if (i % 3 == 1) {
            (void)host_urgent(MSG_STATUS);
        } else {
            host_hello(&hello);
        }
    }
    for (int i = 0; i < 2; i++) {
        port.now_us += 900u * HOST_DEAD_MAN_MS;
        controller_receive(&controller, noise, sizeof noise);
        controller_poll(&controller);
    }
    assert_int_equal(controller.fault, FAULT_DEAD_MAN);
}

static void test_a_new_host_finds_the_fault_and_clears_it(void **state)
{
    (void)state;
    const hello_msg_t hello = host_hello_of(2);
    welcome_msg_t welcome;
    host_ready();
    port.now_us += 1000u * HOST_DEAD_MAN_MS;
    controller_poll(&controller);
    port.now_us += 3600ull * 1000000u;
    controller_poll(&controller);
    host_hello(&hello);
    const sent_t *sent = host_answer(MSG_WELCOME);
    assert_true(welcome_unpack(&welcome, sent->payload, sent->size));
    assert_int_equal(welcome.state, BOARD_STATE_FAULT);
    controller_poll(&controller);
    assert_int_equal(host_urgent(MSG_CLEAR).state, BOARD_STATE_LINKED);
}

static void test_clear_runs_nothing_that_came_before(void **state)
{
    (void)state;
    host_ready();
    port.now_us += 1000u * HOST_DEAD_MAN_MS;
    controller_poll(&controller);
    host_pulse(10, 2, 1);
    (void)host_urgent(MSG_CLEAR);
    host_run();
    host_assert_refused(10, REASON_ABORTED);
    assert_int_equal(fake_calls(CALL_PULSE), 0);
    assert_int_equal(host_urgent(MSG_CLEAR).fault, FAULT_NONE); /* nothing to clear: nothing happens */
}

static void test_front_end_failure(void **state)
{
    (void)state;
    host_ready();
    host_pulse(10, 2, 5);
    controller_poll(&controller);
    controller_poll(&controller);
    fake.fail_at = 1;
    controller_poll(&controller);
    assert_true(fake.grounded);
    assert_int_equal(fake_last(CALL_GROUND), &fake.calls[fake.count - 1]);
    pulsed_record_t record;
    pulsed_record_unpack(&record, host_answer(MSG_PULSED)->payload, 0);
    assert_int_equal(record.status, CELL_STATUS_ABORTED);
    assert_int_equal(host_urgent(MSG_STATUS).fault, FAULT_FRONT_END);
    assert_int_equal(host_urgent(MSG_CLEAR).state, BOARD_STATE_READY);
    host_read(11);
    fake.fail_at = 1;
    host_run();
    host_assert_refused(11, REASON_FRONT_END);
}

static void test_lines_that_cannot_be_grounded(void **state)
{
    (void)state;
    host_ready();
    host_read(5);
    controller_poll(&controller);
    controller_poll(&controller);
    fake.fail_at = 1;
    controller_poll(&controller); /* grounding idle lines fails */
    status_is_msg_t m = host_urgent(MSG_STATUS);
    assert_true(m.fault == FAULT_FRONT_END && m.grounded == 0);
    assert_false(controller_resting(&controller));
    fake.fail_at = 1;
    m = host_urgent(MSG_CLEAR);
    assert_true(m.fault == FAULT_FRONT_END && m.grounded == 0);
    fake.fail_at = 1;
    m = host_urgent(MSG_GROUND);
    assert_true(m.fault == FAULT_FRONT_END && m.grounded == 0);
    m = host_urgent(MSG_GROUND);
    assert_true(m.fault == FAULT_FRONT_END && m.grounded == 1);
    m = host_urgent(MSG_CLEAR);
    assert_true(m.fault == FAULT_NONE && m.grounded == 1);
}

/* A front end that does not answer keeps the controller waiting. */
static void take_five_seconds(void)
{
    port.now_us += 5000000;
}

/* Host and lines as they are; `later_us` after the last poll. Returns how often it tried to ground. */
static uint32_t grounds_after(uint64_t later_us)
{
    const uint32_t before = fake_calls(CALL_GROUND);
    port.now_us += later_us;
    host_give(MSG_ACK, 0, host.came, NULL, 0); /* the host is there */
    controller_poll(&controller);
    return fake_calls(CALL_GROUND) - before;
}

static void test_grounding_that_failed_is_tried_again(void **state)
{
    (void)state;
    host_ready();
    host_read(5);
    controller_poll(&controller);
    controller_poll(&controller);
    fake.fail_grounds = 4; /* of idle lines; and three times again */
    fake.on_ground = take_five_seconds;
    assert_int_equal(grounds_after(0), 1);
    assert_int_equal(controller.fault, FAULT_FRONT_END);
    for (int again = 0; again < 3; again++) {
        assert_int_equal(grounds_after(0), 0);
        assert_int_equal(grounds_after(999999), 0);
        assert_int_equal(grounds_after(1), 1);
        assert_false(fake.grounded);
        assert_false(controller_resting(&controller));
    }
    host_read(6); /* refused, and in nobody's way */
    assert_int_equal(grounds_after(1000000), 1);
    assert_true(fake.grounded);
    host_run();
    host_assert_refused(6, REASON_FAULT);
    const status_is_msg_t m = host_urgent(MSG_STATUS);
    assert_true(m.state == BOARD_STATE_FAULT && m.fault == FAULT_FRONT_END && m.grounded == 1);
    assert_int_equal(grounds_after(3600ull * 1000000u), 0); /* it worked */
    assert_int_equal(host_urgent(MSG_CLEAR).fault, FAULT_NONE);
}

static void test_a_try_of_the_host_is_one_too(void **state)
{
    (void)state;
    host_ready();
    host_read(5);
    controller_poll(&controller);
    controller_poll(&controller);
    fake.fail_grounds = 4;
    port.now_us += 1000u * HOST_DEAD_MAN_MS;
    controller_poll(&controller);
    assert_int_equal(controller.fault, FAULT_DEAD_MAN);
    assert_int_equal(grounds_after(600000), 0);
    assert_int_equal(host_urgent(MSG_GROUND).grounded, 0);
    assert_int_equal(grounds_after(600000), 0);
    assert_int_equal(host_urgent(MSG_CLEAR).grounded, 0);
    assert_int_equal(grounds_after(600000), 0);
    assert_int_equal(grounds_after(400000), 1);
    assert_int_equal(grounds_after(1000000), 1);
    assert_true(fake.grounded);
    assert_int_equal(controller.fault, FAULT_FRONT_END); /* of the host's CLEAR */
}

static void test_a_front_end_that_is_not_there_at_boot(void **state)
{
    (void)state;
    const port_identity_t identity = {"", "", 0, 1, 1};
    hello_msg_t hello = host_hello_of(1);
    host_boot();
    fake.fail_at = 1;
    controller_init(&controller, &identity);
    controller_poll(&controller);
    assert_int_equal(fake_calls(CALL_GROUND), 0);
    fake.fail_at = 1;
    host_hello(&hello);
    host_read(5);
    host_run();
    host_assert_refused(5, REASON_FAULT);
    fake.fail_at = 1;
    assert_int_equal(host_urgent(MSG_CLEAR).fault, FAULT_FRONT_END);
    assert_int_equal(host_urgent(MSG_CLEAR).fault, FAULT_NONE);
    assert_int_equal(controller.board.info.rows, 16);
    fake.fail_at = 1;
    controller_init(&controller, &identity);
    host_hello(&hello); /* it is there now */
    assert_int_equal(host_urgent(MSG_STATUS).state, BOARD_STATE_LINKED);
}

static void test_a_guard_of_the_port(void **state)
{
    (void)state;
    host_ready();
    host_pulse(10, 2, 5);
    controller_poll(&controller);
    controller_fault(&controller, FAULT_ON_TIME);
    controller_fault(&controller, FAULT_FRONT_END); /* the first one stays */
    assert_int_equal(host_urgent(MSG_STATUS).fault, FAULT_ON_TIME);
    assert_true(fake.grounded);
    assert_int_equal(port_sent(MSG_PULSED), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lines_are_grounded_at_boot),
        cmocka_unit_test(test_only_hello_is_answered_before_hello),
        cmocka_unit_test(test_welcome_says_what_the_board_is),
        cmocka_unit_test(test_another_schema_gets_welcome_and_nothing_else),
        cmocka_unit_test(test_a_hello_without_dead_man_time_is_not_answered),
        cmocka_unit_test(test_hello_again_is_answered_again_and_changes_nothing),
        cmocka_unit_test(test_what_ends_the_queue_ends_what_came_early_too),
        cmocka_unit_test(test_a_frame_of_another_link_never_counts),
        cmocka_unit_test(test_a_new_link_forgets_the_old_one),
        cmocka_unit_test(test_status_counts),
        cmocka_unit_test(test_urgent_frames_of_a_wrong_length_are_nothing),
        cmocka_unit_test(test_idle_lines_are_grounded_once),
        cmocka_unit_test(test_abort_ends_what_runs_and_what_waits),
        cmocka_unit_test(test_ground_is_done_before_it_is_answered),
        cmocka_unit_test(test_dead_man),
        cmocka_unit_test(test_any_valid_frame_feeds_the_dead_man),
        cmocka_unit_test(test_a_new_host_finds_the_fault_and_clears_it),
        cmocka_unit_test(test_clear_runs_nothing_that_came_before),
        cmocka_unit_test(test_front_end_failure),
        cmocka_unit_test(test_lines_that_cannot_be_grounded),
        cmocka_unit_test(test_grounding_that_failed_is_tried_again),
        cmocka_unit_test(test_a_try_of_the_host_is_one_too),
        cmocka_unit_test(test_a_front_end_that_is_not_there_at_boot),
        cmocka_unit_test(test_a_guard_of_the_port),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
