/* The front end as frames on a line: ports/common. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "afe_line.h"
#include "fake_port.h"
#include "frame.h"

enum { ANSWERS = 8 };

/* The far end: what was asked, and what it says to each request but those it is silent on. */
static afe_message_t asked[32], answers[ANSWERS];
static size_t asked_count, answers_count;
static bool silent, damage;
static uint8_t line[8192];
static size_t line_count, line_taken;
static uint8_t heard_bytes[FRAME_CONTENT(AFE_PAYLOAD_MAX)];
static frame_decoder_t heard;

bool afe_exchange(afe_message_t *message)
{
    return afe_line_exchange(message);
}

static void say(uint8_t type, const uint8_t *payload, size_t size)
{
    line_count += frame_encode(line + line_count, sizeof line - line_count, type, 0, 0, payload, size);
    assert_true(line_count > 0);
}

static void say_info(void)
{
    const afe_info_msg_t info = {.time_ns = 7, .arrays = 1, .rows = 4, .cols = 3, .gate_top = 99};
    uint8_t payload[AFE_INFO_SIZE];
    say(MSG_AFE_INFO, payload, afe_info_pack(&info, payload));
}

bool afe_line_write(const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (frame_feed(&heard, bytes[i]) != FRAME_READY)
            continue;
        afe_message_t *message = &asked[asked_count++];
        message->type = heard.type;
        message->size = heard.size;
        memcpy(message->payload, heard.payload, heard.size);
        if (silent)
            continue;
        if (heard.type == MSG_AFE_OPEN) {
            say_info();
        } else if (answers_count > 0) {
            const afe_message_t *answer = &answers[--answers_count];
            say(answer->type, answer->payload, answer->size);
            if (damage)
                line[line_count - 3] ^= 0x55;
        }
    }
    return true;
}

size_t afe_line_read(uint8_t *bytes, size_t room, uint64_t deadline_us)
{
    const size_t count = line_count - line_taken < room ? line_count - line_taken : room;
    if (count == 0)
        port.now_us = deadline_us;
    memcpy(bytes, line + line_taken, count);
    line_taken += count;
    return count;
}

static afe_message_t *answer_with(uint8_t type, uint64_t time_ns, size_t size)
{
    afe_message_t *answer = &answers[answers_count++];
    memset(answer, 0, sizeof *answer);
    answer->type = type;
    answer->size = size;
    put_u64(answer->payload, time_ns);
    return answer;
}

static int start(void **state)
{
    afe_info_t info;
    (void)state;
    answers_count = line_count = line_taken = 0;
    silent = damage = false;
    frame_decoder_init(&heard, heard_bytes, sizeof heard_bytes);
    assert_true(afe_open(&info));
    assert_int_equal(info.rows, 4);
    assert_int_equal(info.gate_top, 99);
    assert_true(info.simulated_time);
    assert_int_equal(afe_time_ns(), 7);
    asked_count = 0;
    return 0;
}

static void test_reads(void **state)
{
    const afe_read_t cells[] = {{1, 2, -300}, {3, 0, 300}};
    int16_t codes[2];
    (void)state;
    put_i16(answer_with(MSG_AFE_READ_IS, 50, afe_read_is_size(2))->payload + afe_read_is_size(1), -5);
    assert_true(afe_read(0, cells, 2, codes));
    assert_int_equal(codes[0], 0);
    assert_int_equal(codes[1], -5);
    assert_int_equal(afe_time_ns(), 50);
    assert_int_equal(asked[0].type, MSG_AFE_READ);
    assert_int_equal(asked[0].size, afe_read_size(2));
    assert_int_equal(get_i16(asked[0].payload + afe_read_size(0) + 4), -300);
}

static void test_pulses(void **state)
{
    const afe_pulse_t pulse = {1, 2, -1, 4000, 3000, 100};
    uint8_t compliance;
    (void)state;
    answer_with(MSG_AFE_PULSED, 60, afe_pulsed_size(1))->payload[AFE_PULSED_SIZE] = 1;
    assert_true(afe_pulse(0, &pulse, 1, &compliance));
    assert_int_equal(compliance, 1);
    assert_int_equal(get_u16(asked[0].payload + AFE_PULSE_SIZE + 5), 4000);
}

static void test_products(void **state)
{
    const uint8_t bits[] = {3, 1};
    const int16_t in[] = {1, 2, 3, -4};
    int16_t out[2];
    (void)state;
    put_i16(answer_with(MSG_AFE_PRODUCT_IS, 80, afe_product_is_size(2))->payload + afe_product_is_size(0), 77);
    answer_with(MSG_AFE_DONE, 70, AFE_DONE_SIZE);
    assert_true(afe_select(0, LINE_DIRECTION_FORWARD, 1, bits, sizeof bits));
    assert_true(afe_product(2, in, 4, out, 2));
    assert_int_equal(out[0], 77);
    assert_int_equal(asked[0].size, AFE_SELECT_SIZE + sizeof bits);
    assert_int_equal(get_i16(asked[1].payload + afe_product_size(3)), -4);
}

static void test_the_rest(void **state)
{
    (void)state;
    answer_with(MSG_AFE_DONE, 90, AFE_DONE_SIZE);
    answer_with(MSG_AFE_DONE, 80, AFE_DONE_SIZE);
    answer_with(MSG_AFE_DONE, 100, AFE_DONE_SIZE);
    assert_true(afe_arm(5, 6, 7));
    assert_true(afe_ground());
    assert_int_equal(afe_time_ns(), 100); /* it never falls */
    assert_true(afe_skip(90));
    assert_int_equal(get_u64(asked[2].payload), 90);
    afe_arm_msg_t arm;
    assert_true(afe_arm_unpack(&arm, asked[0].payload, asked[0].size));
    assert_true(arm.i_max_na == 5 && arm.width_max_ns == 6 && arm.v_gate_max_uv == 7);
}

static void test_wrong_answers(void **state)
{
    const afe_read_t cell = {0, 0, 1};
    int16_t code, many[600] = {0};
    (void)state;
    answer_with(MSG_AFE_READ_IS, 8, afe_read_is_size(2));
    assert_false(afe_read(0, &cell, 1, &code));
    answer_with(MSG_AFE_FAILED, 8, AFE_FAILED_SIZE);
    assert_false(afe_ground());
    answer_with(MSG_AFE_DONE, 8, 4);
    assert_false(afe_ground());
    assert_false(afe_product(1, many, 600, many, 1)); /* does not fit, and is not sent */
    assert_int_equal(asked_count, 3);
}

static void test_a_late_answer_is_not_that_of_the_next_request(void **state)
{
    const uint64_t start_us = port.now_us;
    (void)state;
    silent = true;
    assert_false(afe_skip(1000));
    assert_int_equal(port.now_us - start_us, AFE_TIMEOUT_US);
    silent = false;
    const uint8_t late[AFE_DONE_SIZE] = {200};
    say(MSG_AFE_DONE, late, sizeof late);
    answer_with(MSG_AFE_FAILED, 8, AFE_FAILED_SIZE);
    assert_false(afe_arm(1, 2, 3)); /* not done by the answer to afe_skip */
    assert_int_equal(asked[1].type, MSG_AFE_OPEN);
    assert_int_equal(asked[2].type, MSG_AFE_ARM);
}

static void test_out_of_step_grounding_comes_first(void **state)
{
    (void)state;
    damage = true;
    answer_with(MSG_AFE_DONE, 8, AFE_DONE_SIZE);
    assert_false(afe_skip(1000));
    damage = false;
    answer_with(MSG_AFE_DONE, 9, AFE_DONE_SIZE);
    answer_with(MSG_AFE_DONE, 8, AFE_DONE_SIZE);
    assert_true(afe_ground());
    assert_int_equal(asked[1].type, MSG_AFE_GROUND);
    assert_int_equal(asked[2].type, MSG_AFE_OPEN);
    assert_int_equal(asked[3].type, MSG_AFE_GROUND);
}

static void test_nobody_there(void **state)
{
    afe_info_t info;
    (void)state;
    silent = true;
    assert_false(afe_open(&info));
    assert_false(afe_ground());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_reads, start),
        cmocka_unit_test_setup(test_pulses, start),
        cmocka_unit_test_setup(test_products, start),
        cmocka_unit_test_setup(test_the_rest, start),
        cmocka_unit_test_setup(test_wrong_answers, start),
        cmocka_unit_test_setup(test_a_late_answer_is_not_that_of_the_next_request, start),
        cmocka_unit_test_setup(test_out_of_step_grounding_comes_first, start),
        cmocka_unit_test_setup(test_nobody_there, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
