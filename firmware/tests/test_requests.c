/* Sequenced requests: executed once each, in order, while there is room for their answers. */
#include "fake_host.h"

static void assert_once(uint32_t id, uint16_t row, uint32_t answers)
{
    host_run();
    assert_int_equal(fake.pulses[0][row][3], 1);
    assert_int_equal(port_sent(MSG_PULSED), answers);
    assert_int_equal(get_u32(host_answer(MSG_PULSED)->payload), id);
}

static void test_configuration_is_answered_and_read_back(void **state)
{
    (void)state;
    const limits_msg_t asked = bench_limits();
    limits_are_msg_t m;
    host_ready();
    host_request_id(MSG_GET_LIMITS, 7);
    host_run();
    const sent_t *sent = host_answer(MSG_LIMITS_ARE);
    assert_true(limits_are_unpack(&m, sent->payload, sent->size));
    assert_true(m.id == 7 && m.v_max_uv == asked.v_max_uv && m.i_max_na == asked.i_max_na);

    const calibrate_msg_t calibrate = {8, 0, LINE_KIND_ROW_DAC, 0};
    const calibrate_record_t line = {1.01f, 0.0f};
    uint8_t payload[PAYLOAD_MAX];
    calibrate_pack(&calibrate, payload);
    calibrate_record_pack(&line, payload, 0);
    host_request(MSG_CALIBRATE, payload, calibrate_size(1));
    host_run();
    assert_int_equal(get_u32(host_answer(MSG_DONE)->payload), 8);

    limits_msg_t beyond = asked;
    beyond.id = 9;
    beyond.v_max_uv = fake.info.v_max_uv + 1;
    host_request(MSG_LIMITS, payload, limits_pack(&beyond, payload));
    host_run();
    host_assert_refused(9, REASON_BOARD_LIMIT);
    assert_int_equal(host_urgent(MSG_STATUS).fault, FAULT_NONE);
}

static void test_limits_that_cannot_be_armed(void **state)
{
    (void)state;
    const limits_msg_t limits = bench_limits();
    uint8_t payload[LIMITS_SIZE];
    host_ready();
    fake.fail_at = 1;
    host_request(MSG_LIMITS, payload, limits_pack(&limits, payload));
    host_run();
    host_assert_refused(limits.id, REASON_FRONT_END);
    assert_int_equal(host_urgent(MSG_STATUS).fault, FAULT_FRONT_END);
}

static void test_every_length_of_every_type_is_answered(void **state)
{
    (void)state;
    const uint8_t zeros[PAYLOAD_MAX] = {0};
    static const uint8_t urgent[] = {MSG_HELLO, MSG_ACK, MSG_NAK, MSG_STATUS, MSG_GROUND, MSG_ABORT, MSG_CLEAR};
    host_ready();
    for (unsigned type = 0; type < 256; type++) {
        if (memchr(urgent, (int)type, sizeof urgent) != NULL) {
            continue;
        }
        for (size_t n = 0; n <= 40; n++) {
            port_forget();
            host_request((uint8_t)type, zeros, n);
            host_run();
            assert_int_equal(port_sent(MSG_REFUSED) + port_sent(MSG_DONE) + port_sent(MSG_LIMITS_ARE) <= 1, true);
            const bool left_over = type == MSG_PRODUCT_DATA && n >= 4; /* of product 0, which was refused */
            assert_int_equal(port.count > 0, true);
            assert_int_equal(port_sent(MSG_ACK) == 0 || left_over, true);
        }
    }
    assert_int_equal(fake_calls(CALL_PULSE) + fake_calls(CALL_READ) + fake_calls(CALL_PRODUCT), 0);
}

static void test_a_lost_answer_is_sent_again_and_nothing_is_done_twice(void **state)
{
    (void)state;
    host_ready();
    host.mute = true;
    host_pulse(10, 2, 1);
    host.next--; /* the host heard nothing */
    host_pulse(10, 2, 1);
    assert_once(10, 2, 1);
    port.now_us += 1000u * HOST_RESEND_MS;
    assert_once(10, 2, 2);
    host.mute = false;
    host.next--;
    host_pulse(10, 2, 1);
    port.now_us += 1000u * HOST_RESEND_MS;
    assert_once(10, 2, 2);
}

static void test_a_duplicate_operation_is_answered_from_memory(void **state)
{
    (void)state;
    host_ready();
    host_pulse(10, 2, 1);
    host_pulse(10, 2, 1); /* waits behind the first, as another frame */
    assert_once(10, 2, 2);
    host_pulse(10, 2, 1);
    assert_once(10, 2, 3);
    host_write(11, 4, 20e-6);
    host_run();
    const uint32_t pulses = fake.pulses[0][4][3];
    assert_true(pulses > 0);
    host_write(11, 4, 20e-6);
    host_run();
    assert_int_equal(port_sent(MSG_WRITTEN), 2);
    assert_int_equal(fake.pulses[0][4][3], pulses);
    host_pulse(11, 2, 1); /* not what that id did */
    host_run();
    host_assert_refused(11, REASON_DUPLICATE);
    host_pulse(0, 2, 1);
    host_run();
    host_assert_refused(0, REASON_DUPLICATE);
}

static void test_one_id_a_cell(void **state)
{
    (void)state;
    const pulse_msg_t m = {10, 0};
    const pulse_record_t records[] = {{1, 1, 1, 2000000, 1500000, 1000, 1}, {1, 2, -1, 2000000, 1500000, 1000, 1}};
    uint8_t payload[PAYLOAD_MAX];
    host_ready();
    pulse_pack(&m, payload);
    pulse_record_pack(&records[0], payload, 0);
    pulse_record_pack(&records[1], payload, 1);
    host_request(MSG_PULSE, payload, pulse_size(2));
    host_run();
    assert_int_equal(host_urgent(MSG_STATUS).last_op, 11);
    host_pulse(11, 2, 1);
    host_run();
    host_assert_refused(11, REASON_DUPLICATE);
    put_u32(payload, UINT32_MAX);
    host_request(MSG_PULSE, payload, pulse_size(2)); /* its ids would begin again */
    host_run();
    host_assert_refused(UINT32_MAX, REASON_BAD_VALUE);
    host_pulse(UINT32_MAX, 2, 1);
    assert_once(UINT32_MAX, 2, 2);
}

/* The ids of operations are used up; what ends them needs none. */
static void test_the_way_out_needs_no_id(void **state)
{
    (void)state;
    host_ready();
    host_pulse(UINT32_MAX, 2, 5);
    for (int i = 0; i < 3; i++) {
        controller_poll(&controller);
    }
    assert_false(fake.grounded);
    host_pulse(UINT32_MAX, 3, 1);
    assert_int_equal(host_urgent(MSG_GROUND).last_op, UINT32_MAX);
    assert_true(fake.grounded);
    host_run();
    host_assert_refused(UINT32_MAX, REASON_ABORTED); /* what waited */
    host_pulse(1, 3, 1);
    host_run();
    host_assert_refused(1, REASON_DUPLICATE);
    assert_int_equal(host_urgent(MSG_ABORT).fault, FAULT_NONE);
    assert_int_equal(host_urgent(MSG_GROUND).grounded, 1);
    assert_int_equal(fake.pulses[0][3][3], 0);
    host_read(2); /* whatever applies no pulse goes on */
    host_run();
    assert_int_equal(port_sent(MSG_READ_IS), 1);
}

static void test_a_refused_operation_was_not_started(void **state)
{
    (void)state;
    host_ready();
    host_pulse(10, 99, 1);
    host_run();
    host_assert_refused(10, REASON_BAD_CELL);
    assert_int_equal(host_urgent(MSG_STATUS).last_op, 0);
    host_pulse(10, 2, 1);
    assert_once(10, 2, 1);
}

static void test_results_are_held_for_a_while(void **state)
{
    (void)state;
    const recall_msg_t recall = {900, 1}, gone = {901, 500};
    uint8_t payload[RECALL_SIZE];
    host_ready();
    for (uint32_t id = 1; id <= RESULTS_HELD; id++) {
        host_pulse(id, 2, 1);
        host_run();
    }
    host_request(MSG_RECALL, payload, recall_pack(&recall, payload));
    host_run();
    assert_int_equal(get_u32(host_answer(MSG_PULSED)->payload), 900);
    host_request(MSG_RECALL, payload, recall_pack(&gone, payload));
    host_run();
    host_assert_refused(901, REASON_UNKNOWN_ID);
    host_pulse(RESULTS_HELD + 1, 2, 1); /* replaces the first */
    host_run();
    host_pulse(1, 2, 1);
    host_run();
    host_assert_refused(1, REASON_DUPLICATE);
    host_pulse(2, 2, 1);
    host_run();
    assert_int_equal(get_u32(host_answer(MSG_PULSED)->payload), 2);
    assert_int_equal(fake.pulses[0][2][3], RESULTS_HELD + 1);
}

static void test_a_full_send_window_pauses_the_work(void **state)
{
    (void)state;
    host_ready();
    host.mute = true;
    for (uint32_t id = 1; id <= LINK_QUEUE; id++) {
        host_pulse(id, 2, 1);
    }
    host_run();
    assert_int_equal(controller.link.sent_count, LINK_WINDOW - 1);
    assert_int_equal(fake_calls(CALL_PULSE), LINK_WINDOW - 1);
    assert_true(controller_idle(&controller));
    (void)host_urgent(MSG_ABORT); /* nothing runs */
    host.mute = false;
    (void)host_urgent(MSG_STATUS); /* acknowledges */
    host_run();
    host_assert_refused(LINK_QUEUE, REASON_ABORTED);
    assert_int_equal(fake_calls(CALL_PULSE), LINK_WINDOW - 1);
}

static void test_an_abort_finds_room_for_its_answer(void **state)
{
    (void)state;
    host_ready();
    host.mute = true;
    for (uint32_t id = 1; id < LINK_WINDOW - 1; id++) {
        host_read(id);
    }
    host_pulse(50, 2, 5);
    for (unsigned i = 0; controller.board.work != WORK_PULSE; i++) {
        assert_true(i < 100);
        controller_poll(&controller);
    }
    assert_int_equal(link_room(&controller.link), 2);
    (void)host_urgent(MSG_ABORT);
    assert_int_equal(port_sent(MSG_PULSED), 1);
}

static void test_wait_lets_time_pass_with_the_lines_grounded(void **state)
{
    (void)state;
    host_ready();
    host_read(5);
    host_wait(6, 1000000);
    host_run();
    assert_int_equal(fake.calls[0].kind, CALL_READ);
    assert_int_equal(fake.calls[1].kind, CALL_GROUND);
    assert_int_equal(fake.calls[2].kind, CALL_SKIP);
    assert_int_equal(fake.count, 3);
    done_msg_t m;
    const sent_t *sent = host_answer(MSG_DONE);
    assert_true(done_unpack(&m, sent->payload, sent->size));
    assert_int_equal(m.id, 6);
    assert_true(m.time_ns >= 1001000);
    host_wait(7, UINT64_MAX);
    host_run();
    host_assert_refused(7, REASON_BAD_VALUE);
    fake.fail_at = 1;
    host_wait(8, 1000);
    host_run();
    host_assert_refused(8, REASON_FRONT_END);
}

static void test_wait_is_aborted(void **state)
{
    (void)state;
    host_ready();
    host_wait(6, 1000000);
    controller_poll(&controller);
    controller_poll(&controller);
    fake.time_ns = 0; /* time that really has to pass */
    assert_int_equal(host_urgent(MSG_STATUS).state, BOARD_STATE_BUSY);
    controller_poll(&controller);
    assert_true(controller_idle(&controller));
    (void)host_urgent(MSG_ABORT);
    host_assert_refused(6, REASON_ABORTED);
    host_run();
    assert_int_equal(port_sent(MSG_DONE), 0);
}

/* 16 codes a vector in, 2 out. */
static void test_a_product_streams(void **state)
{
    (void)state;
    size_t codes = 0;
    host_ready();
    host_product(5, 200);
    for (unsigned i = 0; i < 32; i++) {
        host_product_data(5, 100, 100);
        host_run();
    }
    host_read(6);
    host_run();
    assert_int_equal(port_sent(MSG_REFUSED), 0);
    for (uint32_t i = 0; i < port.count && i < FAKE_SENT; i++) {
        if (port.sent[i].type == MSG_PRODUCT_IS) {
            assert_int_equal(get_u32(port.sent[i].payload), 5);
            codes += product_is_count(port.sent[i].size);
        }
    }
    assert_int_equal(codes, 400);
    assert_int_equal(port_sent(MSG_READ_IS), 1);
    assert_int_equal(host_urgent(MSG_STATUS).state, BOARD_STATE_READY);
}

static void test_all_of_a_product_may_wait_in_the_queue(void **state)
{
    (void)state;
    host_ready();
    host_product(5, 150);
    for (unsigned i = 0; i < 24; i++) {
        host_product_data(5, 100, 100);
    }
    host_run();
    assert_int_equal(port_sent(MSG_REFUSED), 0);
    assert_int_equal(port_sent(MSG_PRODUCT_IS), 3); /* 300 codes */
    assert_int_equal(host_urgent(MSG_STATUS).queued, 0);
}

static void test_a_product_beyond_the_limit_is_refused_in_mid_stream(void **state)
{
    (void)state;
    host_ready();
    host_product(5, 100);
    host_product_data(5, 100, 100);
    host_run();
    host_product_data(5, 50, 511);
    host_product_data(5, 50, 511);
    host_product_data(5, 50, 100);
    host_read(6);
    host_run();
    host_assert_refused(5, REASON_V_READ_MAX);
    assert_int_equal(port_sent(MSG_REFUSED), 1); /* what is left of the data is dropped */
    assert_int_equal(port_sent(MSG_READ_IS), 1);
    assert_true(fake.most_read_code <= 409);
}

static void test_a_product_that_was_refused_drops_its_data(void **state)
{
    (void)state;
    host_ready();
    host_product(5, 0);
    host_product_data(5, 16, 100);
    host_product_data(6, 16, 100); /* of no product at all */
    host_run();
    assert_int_equal(port_sent(MSG_REFUSED), 2);
    host_assert_refused(6, REASON_UNKNOWN_ID);
}

static void test_another_request_ends_a_product_that_wants_data(void **state)
{
    (void)state;
    host_ready();
    host_product(5, 100);
    host_product_data(5, 16, 100);
    host_run();
    assert_true(controller_idle(&controller));
    host_read(6);
    assert_false(controller_idle(&controller));
    host_run();
    host_assert_refused(5, REASON_ABORTED);
    assert_int_equal(port_sent(MSG_READ_IS), 1);
}

static void test_a_product_is_aborted(void **state)
{
    (void)state;
    host_ready();
    host_product(5, 100);
    host_product_data(5, 16, 100);
    host_run();
    (void)host_urgent(MSG_ABORT);
    host_product_data(5, 16, 100); /* was on its way */
    host_product(7, 100);
    host_product_data(7, 16, 100);
    (void)host_urgent(MSG_ABORT);
    host_run();
    assert_int_equal(port_sent(MSG_REFUSED), 2);
    host_assert_refused(7, REASON_ABORTED);
    assert_int_equal(fake_calls(CALL_PRODUCT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_configuration_is_answered_and_read_back),
        cmocka_unit_test(test_limits_that_cannot_be_armed),
        cmocka_unit_test(test_every_length_of_every_type_is_answered),
        cmocka_unit_test(test_a_lost_answer_is_sent_again_and_nothing_is_done_twice),
        cmocka_unit_test(test_a_duplicate_operation_is_answered_from_memory),
        cmocka_unit_test(test_one_id_a_cell),
        cmocka_unit_test(test_the_way_out_needs_no_id),
        cmocka_unit_test(test_a_refused_operation_was_not_started),
        cmocka_unit_test(test_results_are_held_for_a_while),
        cmocka_unit_test(test_a_full_send_window_pauses_the_work),
        cmocka_unit_test(test_an_abort_finds_room_for_its_answer),
        cmocka_unit_test(test_wait_lets_time_pass_with_the_lines_grounded),
        cmocka_unit_test(test_wait_is_aborted),
        cmocka_unit_test(test_a_product_streams),
        cmocka_unit_test(test_all_of_a_product_may_wait_in_the_queue),
        cmocka_unit_test(test_a_product_beyond_the_limit_is_refused_in_mid_stream),
        cmocka_unit_test(test_a_product_that_was_refused_drops_its_data),
        cmocka_unit_test(test_another_request_ends_a_product_that_wants_data),
        cmocka_unit_test(test_a_product_is_aborted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
