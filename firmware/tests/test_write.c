/* WRITE: the loop around the decision, and what it reports. */
#include "bench.h"

#include <math.h>
#include <string.h>

static written_record_t written(const uint8_t *payload, size_t index)
{
    written_record_t record;
    written_record_unpack(&record, payload, index);
    return record;
}

static void test_cells_converge_side_by_side(void **state)
{
    (void)state;
    write_record_t cells[CELLS_MAX];
    bench_ready(1, 16, 8);
    for (uint16_t i = 0; i < CELLS_MAX; i++) {
        cells[i].row = i;
        cells[i].col = i % 8;
        cells[i].g_target_S = 4e-6 + 3e-6 * i;
        fake.g_S[0][i][i % 8] = i % 2 == 0 ? 1e-6 : 45e-6;
    }
    assert_accepted(bench_write(0, 1, cells, CELLS_MAX));
    assert_int_equal(fake.count, 0);
    assert_int_equal(bench_run(), JOB_DONE);
    const uint8_t *payload = bench_result(MSG_WRITTEN, written_size(CELLS_MAX), false);
    assert_int_equal(get_u32(payload), 200);
    for (uint16_t i = 0; i < CELLS_MAX; i++) {
        const written_record_t w = written(payload, i);
        assert_int_equal(w.status, CELL_STATUS_OK);
        assert_true(fabs((double)w.g_after_S - cells[i].g_target_S) <= 1e-6);
        assert_true(fabs((double)w.g_before_S - (i % 2 == 0 ? 1e-6 : 45e-6)) < 0.1e-6);
        assert_int_equal(w.pulses, fake.pulses[0][i][i % 8]);
        assert_true(w.pulses > 0 && w.reads >= w.pulses + 2 && (double)w.energy_j > 0.0);
    }
    /* A read of all, then rounds of pulses and reads: never a transaction a cell. */
    assert_true(fake.count < 3 * 45);
    assert_int_equal(fake.calls[0].count, CELLS_MAX);
}

static void test_a_cell_in_place_is_read_twice(void **state)
{
    (void)state;
    const write_record_t cell = {3, 4, 10e-6};
    bench_ready(1, 16, 8);
    fake.g_S[0][3][4] = 10.2e-6;
    assert_accepted(bench_write(0, 1, &cell, 1));
    assert_int_equal(bench_run(), JOB_DONE);
    const written_record_t w = written(bench_result(MSG_WRITTEN, written_size(1), false), 0);
    assert_int_equal(w.status, CELL_STATUS_OK);
    assert_int_equal(w.reads, 2);
    assert_int_equal(w.pulses, 0);
    assert_true((double)w.energy_j == 0.0);
    assert_int_equal(fake.count, 2);
}

static void test_energy_is_that_of_the_pulse(void **state)
{
    (void)state;
    const write_record_t cell = {3, 4, 20e-6};
    recipe_msg_t recipe = bench_recipe();
    bench_ready(1, 16, 8);
    recipe.pulses_max = 1;
    assert_accepted(bench_set_recipe(&recipe));
    assert_accepted(bench_write(0, 1, &cell, 1));
    assert_int_equal(bench_run(), JOB_DONE);
    const written_record_t w = written(bench_result(MSG_WRITTEN, written_size(1), false), 0);
    const double mean_S = 0.5 * ((double)w.g_before_S + (double)w.g_after_S);
    assert_int_equal(w.pulses, 1);
    assert_true(fabs((double)w.energy_j / (4.0 * mean_S * 1e-6) - 1.0) < 1e-6); /* 2 V for 1 us */
}

static void test_the_calibration_is_in_what_is_read(void **state)
{
    (void)state;
    const calibrate_record_t adc = {1.25f, 0.0f}, dac = {0.8f, 0.0f};
    const write_record_t cell = {3, 4, 12.5e-6};
    bench_ready(1, 16, 8);
    fake.g_S[0][3][4] = 10e-6;
    assert_accepted(bench_calibrate(0, LINE_KIND_COL_ADC, 4, &adc, 1));
    assert_accepted(bench_write(0, 1, &cell, 1));
    assert_int_equal(bench_run(), JOB_DONE);
    written_record_t w = written(bench_result(MSG_WRITTEN, written_size(1), false), 0);
    assert_true(fabs((double)w.g_before_S - 12.5e-6) < 0.1e-6);
    /* A row that gives 0.8 of its codes gets 1.25 of them: the cell sees more, and the sum is the same. */
    assert_accepted(bench_calibrate(0, LINE_KIND_ROW_DAC, 3, &dac, 1));
    assert_accepted(bench_write(0, 1, &cell, 1));
    assert_int_equal(job_step(&bench), JOB_MORE);
    assert_int_equal(fake_last(CALL_READ)->reads[0].code, 511);
}

static void test_compliance_is_read_once_more(void **state)
{
    (void)state;
    const write_record_t cells[] = {{3, 4, 20e-6}, {5, 6, 20e-6}};
    limits_msg_t limits = bench_limits();
    bench_ready(1, 16, 8);
    limits.i_max_na = 52000; /* above what the targets may ask for at 2.5 V */
    assert_accepted(bench_set_limits(&limits));
    fake.g_S[0][3][4] = 80e-6; /* a RESET of 1 V draws 80 uA */
    fake_forget();
    assert_accepted(bench_write(0, 1, cells, 2));
    assert_int_equal(bench_run(), JOB_DONE);
    const uint8_t *payload = bench_result(MSG_WRITTEN, written_size(2), false);
    assert_int_equal(written(payload, 0).status, CELL_STATUS_COMPLIANCE);
    assert_int_equal(written(payload, 0).pulses, 1);
    assert_int_equal(written(payload, 0).reads, 2);
    assert_true((double)written(payload, 0).energy_j > 0.0);
    assert_int_equal(written(payload, 1).status, CELL_STATUS_OK);
    assert_int_equal(fake.pulses[0][3][4], 1);
}

static void test_stuck_cells(void **state)
{
    (void)state;
    const write_record_t cells[] = {{3, 4, 3e-6}, {5, 6, 30e-6}};
    bench_ready(1, 16, 8);
    recipe_msg_t recipe = bench_recipe();
    recipe.pulses_max = 50;
    assert_accepted(bench_set_recipe(&recipe));
    fake.g_S[0][3][4] = 60e-6;
    fake.stuck[0][3][4] = true;
    assert_accepted(bench_write(0, 1, cells, 2));
    assert_int_equal(bench_run(), JOB_DONE);
    const uint8_t *payload = bench_result(MSG_WRITTEN, written_size(2), false);
    assert_int_equal(written(payload, 0).status, CELL_STATUS_STUCK);
    assert_int_equal(written(payload, 1).status, CELL_STATUS_OK);
}

static void test_time_is_up(void **state)
{
    (void)state;
    const write_record_t cell = {3, 4, 20e-6};
    recipe_msg_t recipe = bench_recipe();
    bench_ready(1, 16, 8);
    recipe.time_max_s = 3e-6; /* a read, a pulse and a read */
    assert_accepted(bench_set_recipe(&recipe));
    fake.stuck[0][3][4] = true;
    assert_accepted(bench_write(0, 1, &cell, 1));
    assert_int_equal(bench_run(), JOB_DONE);
    const written_record_t w = written(bench_result(MSG_WRITTEN, written_size(1), false), 0);
    assert_int_equal(w.status, CELL_STATUS_NOT_CONVERGED);
    assert_int_equal(w.pulses, 1);
    assert_int_equal(w.reads, 2);
}

static void test_no_time_still_takes_one_round(void **state)
{
    (void)state;
    const write_record_t cell = {3, 4, 20e-6};
    recipe_msg_t recipe = bench_recipe();
    bench_ready(1, 16, 8);
    recipe.time_max_s = 1e-12; /* the check is at the end of a round, as in Python */
    assert_accepted(bench_set_recipe(&recipe));
    assert_accepted(bench_write(0, 1, &cell, 1));
    assert_int_equal(bench_run(), JOB_DONE);
    assert_int_equal(written(bench_result(MSG_WRITTEN, written_size(1), false), 0).reads, 2);
}

static void test_aborted_cells_say_how_far_they_came(void **state)
{
    (void)state;
    const write_record_t cells[] = {{3, 4, 2.1e-6}, {5, 6, 30e-6}};
    bench_ready(1, 16, 8);
    assert_accepted(bench_write(0, 1, cells, 2));
    const uint8_t *payload = bench_result(MSG_WRITTEN, written_size(2), true);
    assert_int_equal(written(payload, 0).status, CELL_STATUS_ABORTED);
    assert_int_equal(written(payload, 0).reads, 0);
    assert_true(isnan(written(payload, 0).g_after_S)); /* never read */
    fake.stuck[0][5][6] = true;
    assert_accepted(bench_write(0, 1, cells, 2));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(job_step(&bench), JOB_MORE); /* read, pulse, read, pulse */
    }
    payload = bench_result(MSG_WRITTEN, written_size(2), true);
    assert_int_equal(written(payload, 0).status, CELL_STATUS_OK); /* in place since the second read */
    assert_int_equal(written(payload, 1).status, CELL_STATUS_ABORTED);
    assert_int_equal(written(payload, 1).pulses, 2);
    assert_int_equal(written(payload, 1).reads, 2);
}

static void test_front_end_fails_at_every_step(void **state)
{
    (void)state;
    const write_record_t cell = {3, 4, 20e-6};
    for (uint32_t at = 1; at <= 4; at++) {
        bench_ready(1, 16, 8);
        fake.stuck[0][3][4] = true;
        assert_accepted(bench_write(0, 1, &cell, 1));
        fake.fail_at = at;
        assert_int_equal(bench_run(), JOB_FAILED);
        assert_int_equal(bench.fault, FAULT_FRONT_END);
        assert_int_equal(fake.count, at);
        const written_record_t w = written(bench_result(MSG_WRITTEN, written_size(1), true), 0);
        assert_int_equal(w.status, CELL_STATUS_ABORTED);
        assert_int_equal(w.pulses, at / 2); /* one that may have been applied counts */
    }
}

/* The same cell that write-verify would pulse beyond the limit, if anything before the last check were wrong. */
static void test_a_mistake_before_the_last_check_drives_nothing(void **state)
{
    (void)state;
    const write_record_t cell = {3, 4, 20e-6};
    bench_ready(1, 16, 8);
    assert_accepted(bench_write(0, 1, &cell, 1));
    bench.recipes[1].law.set.start_v = 70.0;
    assert_int_equal(bench_run(), JOB_FAILED);
    assert_int_equal(bench.fault, FAULT_GUARD);
    assert_int_equal(written(bench_result(MSG_WRITTEN, written_size(1), true), 0).pulses, 0);
    assert_int_equal(fake_calls(CALL_PULSE), 0);
}

static void assert_write_refused(const write_record_t *wrong, reason_t reason)
{
    const write_record_t cells[] = {{0, 0, 10e-6}, *wrong};
    const verdict_t verdict = bench_write(0, 1, cells, 2);
    assert_refused(verdict, reason);
    assert_int_equal(verdict.index, 1);
    assert_int_equal(bench.work, WORK_NONE);
    assert_int_equal(fake.count, 0);
}

static void test_write_refused(void **state)
{
    (void)state;
    const write_record_t good = {2, 3, 20e-6};
    write_record_t w;
    bench_ready(1, 16, 8);
    w = good, w.row = 16, assert_write_refused(&w, REASON_BAD_CELL);
    w = good, w.col = 8, assert_write_refused(&w, REASON_BAD_CELL);
    w = good, w.row = w.col = 0, assert_write_refused(&w, REASON_BAD_CELL);
    w = good, w.g_target_S = (double)NAN, assert_write_refused(&w, REASON_BAD_VALUE);
    w = good, w.g_target_S = -(double)INFINITY, assert_write_refused(&w, REASON_BAD_VALUE);
    w = good, w.g_target_S = (double)INFINITY, assert_write_refused(&w, REASON_BAD_VALUE);
    w = good, w.g_target_S = 80.001e-6, assert_write_refused(&w, REASON_I_MAX); /* 200 uA at 2.5 V */
    w = good, w.g_target_S = 1e300, assert_write_refused(&w, REASON_I_MAX);
    w = good, w.g_target_S = -80.001e-6, assert_write_refused(&w, REASON_I_MAX); /* no offset of a reading is as large */
    assert_refused(bench_write(1, 1, &good, 1), REASON_BAD_CELL);
    assert_refused(bench_write(0, 1, &good, 0), REASON_BAD_VALUE);
    assert_refused(bench_write(0, RECIPES, &good, 1), REASON_BAD_VALUE);
    assert_refused(bench_write(0, 0, &good, 1), REASON_NOT_CONFIGURED);
    assert_refused(bench_short(write_start, write_size(1) + 1), REASON_BAD_LENGTH);
    assert_refused(bench_short(write_start, write_size(CELLS_MAX + 1)), REASON_BAD_LENGTH);
    w = good, w.g_target_S = 80e-6; /* exactly the current limit */
    assert_accepted(bench_write(0, 1, &w, 1));
}

static void test_tighter_limits_count_for_recipes_that_were_set_before(void **state)
{
    (void)state;
    const write_record_t cell = {2, 3, 20e-6};
    limits_msg_t limits = bench_limits();
    bench_ready(1, 16, 8);
    limits.v_max_uv = 2400000;
    assert_accepted(bench_set_limits(&limits));
    assert_refused(bench_write(0, 1, &cell, 1), REASON_V_MAX);
    board_reset(&bench);
    assert_refused(bench_write(0, 1, &cell, 1), REASON_NOT_CONFIGURED);
}

static void test_write_beyond_a_converter(void **state)
{
    (void)state;
    const write_record_t cell = {2, 3, 20e-6};
    const calibrate_record_t weak = {0.5f, 0.0f}, off = {1.0f, -0.1f};
    const uint8_t kinds[] = {LINE_KIND_ROW_DAC, LINE_KIND_COL_DAC, LINE_KIND_GATE_DAC};
    for (size_t i = 0; i < 3; i++) {
        bench_ready(1, 16, 8);
        assert_accepted(bench_calibrate(0, kinds[i], kinds[i] == LINE_KIND_COL_DAC ? 3 : 2, &weak, 1));
        assert_refused(bench_write(0, 1, &cell, 1), REASON_CONVERTER);
    }
    /* A read voltage that the converter cannot give, and one that it rounds to 0 V. */
    bench_ready(1, 16, 8);
    assert_accepted(bench_calibrate(0, LINE_KIND_ROW_DAC, 2, &off, 1));
    assert_refused(bench_write(0, 1, &cell, 1), REASON_CONVERTER);
    recipe_msg_t recipe = bench_recipe();
    recipe.v_read_v = 200e-6;
    bench_ready(1, 16, 8);
    assert_accepted(bench_set_recipe(&recipe));
    assert_refused(bench_write(0, 1, &cell, 1), REASON_CONVERTER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells_converge_side_by_side),
        cmocka_unit_test(test_a_cell_in_place_is_read_twice),
        cmocka_unit_test(test_energy_is_that_of_the_pulse),
        cmocka_unit_test(test_the_calibration_is_in_what_is_read),
        cmocka_unit_test(test_compliance_is_read_once_more),
        cmocka_unit_test(test_stuck_cells),
        cmocka_unit_test(test_time_is_up),
        cmocka_unit_test(test_no_time_still_takes_one_round),
        cmocka_unit_test(test_aborted_cells_say_how_far_they_came),
        cmocka_unit_test(test_front_end_fails_at_every_step),
        cmocka_unit_test(test_a_mistake_before_the_last_check_drives_nothing),
        cmocka_unit_test(test_write_refused),
        cmocka_unit_test(test_tighter_limits_count_for_recipes_that_were_set_before),
        cmocka_unit_test(test_write_beyond_a_converter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
