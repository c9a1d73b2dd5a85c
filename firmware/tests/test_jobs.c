/* READ and PULSE, from the payload of the request to that of the answer. */
#include "bench.h"

#include <string.h>

static const pulse_record_t PULSE = {2, 3, 1, 2000000, 1500000, 1000, 1};

static void test_read_answers_a_block_row_by_row(void **state)
{
    (void)state;
    const read_msg_t m = {7, 1, 200000, 2, 3, 2, 3};
    bench_ready(2, 16, 8);
    fake.g_S[1][3][4] = 10e-6;
    assert_accepted(bench_read(&m));
    assert_int_equal(fake.count, 0); /* nothing before the first step */
    assert_int_equal(bench_run(), JOB_DONE);
    const uint8_t *payload = bench_result(MSG_READ_IS, read_is_size(6), false);
    const fake_call_t *call = fake_last(CALL_READ);
    assert_int_equal(fake.count, 1);
    assert_int_equal(call->array, 1);
    read_is_msg_t head;
    assert_true(read_is_unpack(&head, payload, read_is_size(6)));
    assert_int_equal(head.id, 7);
    for (uint16_t i = 0; i < 6; i++) {
        read_is_record_t record;
        read_is_record_unpack(&record, payload, i);
        assert_int_equal(call->reads[i].row, 2 + i / 3);
        assert_int_equal(call->reads[i].col, 3 + i % 3);
        assert_int_equal(call->reads[i].code, 409);
        assert_int_equal(record.code, i == 4 ? 205 : 41);
    }
}

static void test_read_at_the_limits(void **state)
{
    (void)state;
    const read_msg_t most = {7, 0, -200000, 0, 0, 9, 13}; /* CODES_MAX cells */
    bench_ready(1, 16, 16);
    assert_accepted(bench_read(&most));
    assert_int_equal(bench_run(), JOB_DONE);
    bench_result(MSG_READ_IS, read_is_size(CODES_MAX), false);
    assert_int_equal(fake_last(CALL_READ)->reads[0].code, -409);
}

static void test_read_refused(void **state)
{
    (void)state;
    const read_msg_t good = {7, 0, 200000, 2, 3, 2, 3};
    read_msg_t m;
    bench_ready(1, 16, 8);
    m = good, m.v_read_uv = 200001, assert_refused(bench_read(&m), REASON_V_READ_MAX);
    m = good, m.v_read_uv = -200001, assert_refused(bench_read(&m), REASON_V_READ_MAX);
    m = good, m.v_read_uv = INT32_MIN, assert_refused(bench_read(&m), REASON_V_READ_MAX);
    m = good, m.v_read_uv = 0, assert_refused(bench_read(&m), REASON_V_READ_MAX);
    m = good, m.v_read_uv = 200, assert_refused(bench_read(&m), REASON_CONVERTER); /* rounds to 0 V */
    m = good, m.rows = 0, assert_refused(bench_read(&m), REASON_BAD_VALUE);
    m = good, m.rows = 14, m.cols = 9, assert_refused(bench_read(&m), REASON_BAD_VALUE);
    m = good, m.row = 15, assert_refused(bench_read(&m), REASON_BAD_CELL);
    m = good, m.col = 6, assert_refused(bench_read(&m), REASON_BAD_CELL);
    m = good, m.row = UINT16_MAX, assert_refused(bench_read(&m), REASON_BAD_CELL);
    m = good, m.array = 1, assert_refused(bench_read(&m), REASON_BAD_CELL);
    assert_refused(bench_short(read_start, READ_SIZE - 1), REASON_BAD_LENGTH);
    assert_int_equal(bench.work, WORK_NONE);
    bench_open(1, 16, 8);
    assert_refused(bench_read(&good), REASON_NOT_CONFIGURED);
    assert_int_equal(fake_calls(CALL_READ), 0);
}

static void test_read_that_fails_or_is_aborted_has_no_answer(void **state)
{
    (void)state;
    uint8_t type = 0, payload[PAYLOAD_MAX];
    const read_msg_t m = {7, 0, 200000, 2, 3, 2, 3};
    bench_ready(1, 16, 8);
    assert_accepted(bench_read(&m));
    fake.fail_at = 1;
    assert_int_equal(bench_run(), JOB_FAILED);
    assert_int_equal(bench.fault, FAULT_FRONT_END);
    assert_int_equal(job_result(&bench, &type, payload, true), 0);
    assert_int_equal(bench.work, WORK_NONE);
    assert_int_equal(job_step(&bench), JOB_FAILED); /* nothing runs */
    assert_int_equal(bench.fault, FAULT_GUARD);
}

static pulsed_record_t pulsed(const uint8_t *payload, size_t index)
{
    pulsed_record_t record;
    pulsed_record_unpack(&record, payload, index);
    return record;
}

static void test_pulses_go_in_rounds(void **state)
{
    (void)state;
    pulse_record_t cells[] = {PULSE, PULSE, PULSE};
    cells[1].col = 4, cells[1].count = 3, cells[1].polarity = -1;
    cells[2].col = 5, cells[2].count = 2, cells[2].polarity = 2;
    bench_ready(1, 16, 8);
    assert_accepted(bench_pulse(0, cells, 3));
    assert_int_equal(fake.count, 0);
    assert_int_equal(bench_run(), JOB_DONE);
    assert_int_equal(fake.count, 3);
    const uint16_t expected[] = {3, 2, 1};
    for (uint16_t round = 0; round < 3; round++) {
        assert_int_equal(fake.calls[round].kind, CALL_PULSE);
        assert_int_equal(fake.calls[round].count, expected[round]);
    }
    const afe_pulse_t *first = fake.calls[0].pulses;
    assert_int_equal(first[0].line_code, 2048); /* 2 V of 4 V */
    assert_int_equal(first[0].gate_code, 2048); /* 1.5 V of 3 V */
    assert_int_equal(first[0].width_ns, 1000);
    assert_int_equal(first[1].polarity, -1);
    assert_int_equal(first[2].polarity, 2);
    const uint8_t *payload = bench_result(MSG_PULSED, pulsed_size(3), false);
    assert_int_equal(get_u32(payload), 100);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(pulsed(payload, i).pulses, cells[i].count);
        assert_int_equal(pulsed(payload, i).status, CELL_STATUS_OK);
        assert_int_equal(fake.pulses[0][cells[i].row][cells[i].col], cells[i].count);
    }
}

static void test_compliance_ends_a_cell(void **state)
{
    (void)state;
    pulse_record_t cells[] = {PULSE, PULSE};
    cells[0].count = cells[1].count = 4;
    cells[1].row = 5;
    bench_ready(1, 16, 8);
    fake.g_S[0][5][3] = 150e-6; /* 300 uA at 2 V */
    assert_accepted(bench_pulse(0, cells, 2));
    assert_int_equal(bench_run(), JOB_DONE);
    const uint8_t *payload = bench_result(MSG_PULSED, pulsed_size(2), false);
    assert_int_equal(pulsed(payload, 0).pulses, 4);
    assert_int_equal(pulsed(payload, 1).pulses, 1);
    assert_int_equal(pulsed(payload, 1).status, CELL_STATUS_COMPLIANCE);
    assert_int_equal(fake.pulses[0][5][3], 1);
}

static void test_aborted_pulses_say_how_far_they_came(void **state)
{
    (void)state;
    pulse_record_t cells[] = {PULSE, PULSE};
    cells[0].count = 4;
    cells[1].row = 5;
    bench_ready(1, 16, 8);
    assert_accepted(bench_pulse(0, cells, 2));
    assert_int_equal(job_step(&bench), JOB_MORE);
    const uint8_t *payload = bench_result(MSG_PULSED, pulsed_size(2), true);
    assert_int_equal(pulsed(payload, 0).pulses, 1);
    assert_int_equal(pulsed(payload, 0).status, CELL_STATUS_ABORTED);
    assert_int_equal(pulsed(payload, 1).status, CELL_STATUS_OK);
}

static void test_a_pulse_that_may_have_been_applied_counts(void **state)
{
    (void)state;
    bench_ready(1, 16, 8);
    assert_accepted(bench_pulse(0, &PULSE, 1));
    fake.fail_at = 1;
    assert_int_equal(bench_run(), JOB_FAILED);
    const uint8_t *payload = bench_result(MSG_PULSED, pulsed_size(1), true);
    assert_int_equal(pulsed(payload, 0).pulses, 1);
    assert_int_equal(pulsed(payload, 0).status, CELL_STATUS_ABORTED);
}

/* One field beyond a limit, in the second of two cells. */
static void assert_pulse_refused(const pulse_record_t *wrong, reason_t reason)
{
    const pulse_record_t cells[] = {{0, 0, 1, 1000000, 1000000, 1000, 1}, *wrong};
    const verdict_t verdict = bench_pulse(0, cells, 2);
    assert_refused(verdict, reason);
    assert_int_equal(verdict.index, 1);
    assert_int_equal(bench.work, WORK_NONE);
    assert_int_equal(fake.count, 0);
}

static void test_pulse_refused(void **state)
{
    (void)state;
    pulse_record_t p;
    bench_ready(1, 16, 8);
    p = PULSE, p.row = 16, assert_pulse_refused(&p, REASON_BAD_CELL);
    p = PULSE, p.col = 8, assert_pulse_refused(&p, REASON_BAD_CELL);
    p = PULSE, p.row = p.col = 0, assert_pulse_refused(&p, REASON_BAD_CELL); /* twice */
    p = PULSE, p.polarity = 0, assert_pulse_refused(&p, REASON_BAD_VALUE);
    p = PULSE, p.polarity = 3, assert_pulse_refused(&p, REASON_BAD_VALUE);
    p = PULSE, p.amplitude_uv = 3000001, assert_pulse_refused(&p, REASON_V_MAX);
    p = PULSE, p.amplitude_uv = 0, assert_pulse_refused(&p, REASON_V_MAX);
    p = PULSE, p.amplitude_uv = -1, assert_pulse_refused(&p, REASON_V_MAX);
    p = PULSE, p.gate_uv = 2500001, assert_pulse_refused(&p, REASON_V_GATE_MAX);
    p = PULSE, p.gate_uv = -1, assert_pulse_refused(&p, REASON_V_GATE_MAX);
    p = PULSE, p.width_ns = 100001, assert_pulse_refused(&p, REASON_WIDTH_MAX);
    p = PULSE, p.width_ns = 0, assert_pulse_refused(&p, REASON_WIDTH_MAX);
    p = PULSE, p.count = 51, assert_pulse_refused(&p, REASON_PULSES_MAX);
    p = PULSE, p.count = 0, assert_pulse_refused(&p, REASON_PULSES_MAX);
    p = PULSE, p.amplitude_uv = 100, assert_pulse_refused(&p, REASON_CONVERTER); /* rounds to 0 V */
    p = PULSE;
    assert_refused(bench_pulse(1, &p, 1), REASON_BAD_CELL);
    assert_refused(bench_pulse(0, &p, 0), REASON_BAD_VALUE);
    assert_refused(bench_short(pulse_start, pulse_size(1) - 1), REASON_BAD_LENGTH);
    assert_refused(bench_short(pulse_start, pulse_size(CELLS_MAX + 1)), REASON_BAD_LENGTH);
    bench_open(1, 16, 8);
    assert_refused(bench_pulse(0, &p, 1), REASON_NOT_CONFIGURED);
    assert_int_equal(fake_calls(CALL_PULSE), 0);
}

static void test_pulse_beyond_its_converter(void **state)
{
    (void)state;
    const calibrate_record_t weak = {0.5f, 0.0f};
    pulse_record_t p = PULSE;
    bench_ready(1, 16, 8);
    assert_accepted(bench_calibrate(0, LINE_KIND_COL_DAC, 3, &weak, 1));
    p.amplitude_uv = 2001000; /* 4095 codes of half the step are 2 V */
    assert_pulse_refused(&p, REASON_CONVERTER);
    assert_accepted(bench_calibrate(0, LINE_KIND_GATE_DAC, 2, &weak, 1));
    p = PULSE, p.gate_uv = 1501000;
    assert_pulse_refused(&p, REASON_CONVERTER);
    p.gate_uv = 0;
    assert_accepted(bench_pulse(0, &p, 1));
}

static void test_pulse_exactly_at_the_limits(void **state)
{
    (void)state;
    const pulse_record_t p = {15, 7, -1, 3000000, 2500000, 100000, 50};
    bench_ready(1, 16, 8);
    assert_accepted(bench_pulse(0, &p, 1));
    assert_int_equal(bench_run(), JOB_DONE);
    assert_int_equal(pulsed(bench_result(MSG_PULSED, pulsed_size(1), false), 0).pulses, 50);
    assert_int_equal(fake.most_line_code, 3071);
    assert_int_equal(fake.most_gate_code, 3413);
}

static void test_a_mistake_before_the_last_check_drives_nothing(void **state)
{
    (void)state;
    bench_ready(1, 16, 8);
    assert_accepted(bench_pulse(0, &PULSE, 1));
    bench.job.pulse.cells[0].pulse.line_code = 4000;
    assert_int_equal(bench_run(), JOB_FAILED);
    assert_int_equal(bench.fault, FAULT_GUARD);
    const uint8_t *payload = bench_result(MSG_PULSED, pulsed_size(1), true);
    assert_int_equal(pulsed(payload, 0).pulses, 0);
    assert_int_equal(pulsed(payload, 0).status, CELL_STATUS_ABORTED);
    assert_int_equal(fake.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_answers_a_block_row_by_row),
        cmocka_unit_test(test_read_at_the_limits),
        cmocka_unit_test(test_read_refused),
        cmocka_unit_test(test_read_that_fails_or_is_aborted_has_no_answer),
        cmocka_unit_test(test_pulses_go_in_rounds),
        cmocka_unit_test(test_compliance_ends_a_cell),
        cmocka_unit_test(test_aborted_pulses_say_how_far_they_came),
        cmocka_unit_test(test_a_pulse_that_may_have_been_applied_counts),
        cmocka_unit_test(test_pulse_refused),
        cmocka_unit_test(test_pulse_beyond_its_converter),
        cmocka_unit_test(test_pulse_exactly_at_the_limits),
        cmocka_unit_test(test_a_mistake_before_the_last_check_drives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
