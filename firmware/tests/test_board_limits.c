/* Configuration: what is refused, and that nothing changes then. */
#include "bench.h"

#include <math.h>

static void test_opens_only_what_can_be(void **state)
{
    (void)state;
    bench_open(4, 128, 128);
    assert_true(bench.driven); /* nobody knows what the lines did before */
    fake_reset(5, 16, 16);
    assert_false(board_open(&bench));
    fake_reset(1, 129, 16);
    assert_false(board_open(&bench));
    fake_reset(1, 16, 0);
    assert_false(board_open(&bench));
    fake_reset(1, 16, 16);
    fake.info.gate_top = 0;
    assert_false(board_open(&bench));
    fake_reset(1, 16, 16);
    fake.info.read_range = fake.info.ranges;
    assert_false(board_open(&bench));
    fake_reset(1, 16, 16);
    fake.info.range_full_scale_a[3] = NAN;
    assert_false(board_open(&bench));
    fake_reset(1, 16, 16);
    fake.fail_at = 1;
    assert_false(board_open(&bench));
}

static void test_limits_are_held_and_armed(void **state)
{
    (void)state;
    uint8_t payload[LIMITS_ARE_SIZE];
    limits_are_msg_t are;
    const limits_msg_t m = bench_limits();
    bench_open(1, 16, 8);
    assert_false(bench.limits.set);
    assert_accepted(bench_set_limits(&m));
    assert_true(bench.limits.set);
    assert_int_equal(fake.i_max_na, m.i_max_na);
    assert_int_equal(fake.width_max_ns, m.width_max_ns);
    assert_int_equal(fake.v_gate_max_uv, m.v_gate_max_uv);
    assert_int_equal(limits_get(&bench, 77, payload), LIMITS_ARE_SIZE);
    assert_true(limits_are_unpack(&are, payload, sizeof payload));
    assert_int_equal(are.id, 77);
    assert_int_equal(are.v_max_uv, m.v_max_uv);
    assert_int_equal(are.v_gate_max_uv, m.v_gate_max_uv);
    assert_int_equal(are.v_read_max_uv, m.v_read_max_uv);
    assert_int_equal(are.i_max_na, m.i_max_na);
    assert_int_equal(are.width_max_ns, m.width_max_ns);
    assert_int_equal(are.pulses_per_cell_max, m.pulses_per_cell_max);
}

static void test_limits_beyond_the_board_change_nothing(void **state)
{
    (void)state;
    const limits_msg_t good = bench_limits();
    bench_ready(1, 16, 8);
    for (uint16_t field = 1; field <= 6; field++) {
        limits_msg_t none = good, beyond = good;
        int32_t *voltage[] = {&beyond.v_max_uv, &beyond.v_gate_max_uv, &beyond.v_read_max_uv};
        int32_t *zero[] = {&none.v_max_uv, &none.v_gate_max_uv, &none.v_read_max_uv};
        uint32_t *other[] = {&beyond.i_max_na, &beyond.width_max_ns};
        uint32_t *whole[] = {&none.i_max_na, &none.width_max_ns, &none.pulses_per_cell_max};
        if (field <= 3) {
            *voltage[field - 1] = 4000001;
            *zero[field - 1] = -1;
        } else {
            *whole[field - 4] = 0;
        }
        if (field == 4 || field == 5) {
            *other[field - 4] = 1000001;
        }
        const verdict_t of_none = bench_set_limits(&none);
        assert_refused(of_none, REASON_BAD_VALUE);
        assert_int_equal(of_none.index, field);
        if (field < 6) {
            const verdict_t of_beyond = bench_set_limits(&beyond);
            assert_refused(of_beyond, REASON_BOARD_LIMIT);
            assert_int_equal(of_beyond.index, field);
            assert_true(of_beyond.asked > of_beyond.allowed);
        }
    }
    assert_refused(bench_short(limits_set, LIMITS_SIZE - 1), REASON_BAD_LENGTH);
    assert_true(bench.limits.set);
    assert_int_equal(bench.limits.v_max_uv, good.v_max_uv);
    assert_int_equal(fake.count, 0);
}

static void test_limits_count_only_once_the_front_end_has_them(void **state)
{
    (void)state;
    const limits_msg_t m = bench_limits();
    bench_ready(1, 16, 8);
    fake.fail_at = 1;
    assert_refused(bench_set_limits(&m), REASON_FRONT_END);
    assert_false(bench.limits.set);
}

static void test_calibration_lands_on_its_lines(void **state)
{
    (void)state;
    const calibrate_record_t lines[] = {{1.01f, 0.002f}, {0.99f, -0.003f}};
    bench_ready(2, 16, 8);
    assert_accepted(bench_calibrate(1, LINE_KIND_COL_ADC, 6, lines, 2));
    assert_true(bench.calibration[1][LINE_KIND_COL_ADC][6].gain == 1.01f);
    assert_true(bench.calibration[1][LINE_KIND_COL_ADC][7].offset == -0.003f);
    assert_true(bench.calibration[1][LINE_KIND_COL_ADC][5].gain == 1.0f);
    assert_true(bench.calibration[0][LINE_KIND_COL_ADC][6].gain == 1.0f);
}

static void test_calibration_that_cannot_be(void **state)
{
    (void)state;
    calibrate_record_t lines[40];
    bench_ready(2, 16, 8);
    for (size_t i = 0; i < 40; i++) {
        lines[i].gain = 1.1f;
        lines[i].offset = 0.0f;
    }
    assert_refused(bench_calibrate(2, LINE_KIND_ROW_DAC, 0, lines, 1), REASON_BAD_VALUE);
    assert_refused(bench_calibrate(0, LINE_KIND_COL_ADC + 1, 0, lines, 1), REASON_BAD_VALUE);
    assert_refused(bench_calibrate(0, LINE_KIND_ROW_DAC, 0, lines, 0), REASON_BAD_VALUE);
    assert_refused(bench_calibrate(0, LINE_KIND_ROW_DAC, 0, lines, 17), REASON_BAD_VALUE);
    assert_refused(bench_calibrate(0, LINE_KIND_COL_DAC, 8, lines, 1), REASON_BAD_VALUE);
    assert_refused(bench_calibrate(0, LINE_KIND_GATE_DAC, UINT16_MAX, lines, 2), REASON_BAD_VALUE);
    assert_refused(bench_short(calibrate_set, CALIBRATE_SIZE + 7), REASON_BAD_LENGTH);
    assert_refused(bench_short(calibrate_set, 3), REASON_BAD_LENGTH);
    const float gains[] = {0.0f, -1.0f, 0.49f, 2.01f, NAN, INFINITY};
    for (size_t i = 0; i < 6; i++) {
        lines[1].gain = gains[i];
        const verdict_t verdict = bench_calibrate(0, LINE_KIND_ROW_DAC, 4, lines, 2);
        assert_refused(verdict, REASON_BAD_VALUE);
        assert_int_equal(verdict.index, 5);
    }
    lines[1].gain = 1.0f;
    const float offsets[] = {0.11f, -0.11f, NAN};
    for (size_t i = 0; i < 3; i++) {
        lines[1].offset = offsets[i];
        assert_refused(bench_calibrate(0, LINE_KIND_ROW_DAC, 4, lines, 2), REASON_BAD_VALUE);
    }
    assert_true(bench.calibration[0][LINE_KIND_ROW_DAC][4].gain == 1.0f); /* not even the good line before */
}

static void test_recipe_is_held_in_its_slot(void **state)
{
    (void)state;
    recipe_msg_t m = bench_recipe();
    bench_ready(1, 16, 8);
    m.slot = 3;
    m.rewrite_in_band = 1;
    assert_accepted(bench_set_recipe(&m));
    assert_true(bench.recipes[1].set && bench.recipes[3].set);
    assert_false(bench.recipes[0].set || bench.recipes[2].set);
    assert_true(bench.recipes[3].law.rewrite_in_band && !bench.recipes[1].law.rewrite_in_band);
    assert_true(bench.recipes[3].law.gate.stop_v == 2.0 && bench.recipes[3].law.reset.start_v == 1.0);
    m.set_gate_offset_v = -0.3; /* the only field that may be negative */
    assert_accepted(bench_set_recipe(&m));
}

static void test_recipe_with_a_number_that_cannot_be(void **state)
{
    (void)state;
    const double wrong[] = {0.0, -1.0, NAN, INFINITY};
    bench_ready(1, 16, 8);
    bench.recipes[1].set = false;
    for (uint16_t field = 6; field < 25; field++) {
        for (size_t i = 0; i < 4; i++) {
            if (field == 13 && i < 2) {
                continue; /* set_gate_offset_v */
            }
            const recipe_msg_t m = bench_recipe();
            uint8_t payload[RECIPE_SIZE];
            recipe_pack(&m, payload);
            put_f64(payload + 12 + 8 * (field - 6), wrong[i]);
            const verdict_t verdict = recipe_set(&bench, payload, sizeof payload);
            assert_refused(verdict, REASON_BAD_VALUE);
            assert_int_equal(verdict.index, field);
        }
    }
    for (uint16_t field = 3; field < 6; field++) {
        const recipe_msg_t m = bench_recipe();
        uint8_t payload[RECIPE_SIZE];
        recipe_pack(&m, payload);
        put_u16(payload + 6 + 2 * (field - 3), 0);
        const verdict_t verdict = recipe_set(&bench, payload, sizeof payload);
        assert_refused(verdict, REASON_BAD_VALUE);
        assert_int_equal(verdict.index, field);
    }
    assert_refused(bench_short(recipe_set, RECIPE_SIZE + 1), REASON_BAD_LENGTH);
    assert_false(bench.recipes[1].set);
}

/* One field of a recipe changed, and what that is refused for; everything else is as in bench_recipe(). */
static void assert_recipe_refused(const recipe_msg_t *m, reason_t reason, uint16_t field)
{
    const verdict_t verdict = bench_set_recipe(m);
    assert_refused(verdict, reason);
    assert_int_equal(verdict.index, field);
}

static void test_recipe_beyond_the_limits(void **state)
{
    (void)state;
    const recipe_msg_t good = bench_recipe();
    recipe_msg_t m;
    bench_ready(1, 16, 8);
    m = good, m.v_read_v = 0.2000006, assert_recipe_refused(&m, REASON_V_READ_MAX, 9);
    m = good, m.set_gate_stop_v = 2.500001, assert_recipe_refused(&m, REASON_V_GATE_MAX, 12);
    m = good, m.set_stop_v = 3.000001, assert_recipe_refused(&m, REASON_V_MAX, 17);
    m = good, m.set_width_s = 100.001e-6, assert_recipe_refused(&m, REASON_WIDTH_MAX, 18);
    m = good, m.reset_gate_v = 1e300, assert_recipe_refused(&m, REASON_V_GATE_MAX, 19);
    m = good, m.reset_stop_v = 3.000001, assert_recipe_refused(&m, REASON_V_MAX, 22);
    m = good, m.reset_width_s = 1.0, assert_recipe_refused(&m, REASON_WIDTH_MAX, 23);
    m = good, m.pulses_max = 51, assert_recipe_refused(&m, REASON_PULSES_MAX, 3);
    /* Exactly the limits. */
    m = good, m.v_read_v = 0.2, m.set_gate_stop_v = m.reset_gate_v = 2.5, m.set_stop_v = m.reset_stop_v = 3.0;
    m.set_width_s = m.reset_width_s = 100e-6, m.pulses_max = 50;
    assert_accepted(bench_set_recipe(&m));
}

static void test_recipe_that_contradicts_itself(void **state)
{
    (void)state;
    const recipe_msg_t good = bench_recipe();
    recipe_msg_t m;
    bench_ready(1, 16, 8);
    m = good, m.slot = RECIPES, assert_recipe_refused(&m, REASON_BAD_VALUE, 1);
    m = good, m.rewrite_in_band = 2, assert_recipe_refused(&m, REASON_BAD_VALUE, 2);
    m = good, m.g_max_S = m.g_min_S, assert_recipe_refused(&m, REASON_BAD_VALUE, 7);
    m = good, m.set_gate_stop_v = 0.6, assert_recipe_refused(&m, REASON_BAD_VALUE, 12);
    m = good, m.set_stop_v = 1.9, assert_recipe_refused(&m, REASON_BAD_VALUE, 17);
    m = good, m.reset_stop_v = 0.9, assert_recipe_refused(&m, REASON_BAD_VALUE, 22);
    m = good, m.set_width_s = 0.4e-9, assert_recipe_refused(&m, REASON_BAD_VALUE, 18);
    m = good, m.reset_width_s = 0.4e-9, assert_recipe_refused(&m, REASON_BAD_VALUE, 23);
    bench_open(1, 16, 8);
    assert_recipe_refused(&good, REASON_NOT_CONFIGURED, 0);
}

static void test_reset_forgets_everything(void **state)
{
    (void)state;
    const calibrate_record_t line = {1.1f, 0.01f};
    bench_ready(1, 16, 8);
    assert_accepted(bench_calibrate(0, LINE_KIND_ROW_DAC, 4, &line, 1));
    board_reset(&bench);
    assert_false(bench.limits.set);
    assert_false(bench.recipes[1].set);
    assert_true(bench.calibration[0][LINE_KIND_ROW_DAC][4].gain == 1.0f);
    assert_true(bench.calibration[0][LINE_KIND_ROW_DAC][4].offset == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_opens_only_what_can_be),
        cmocka_unit_test(test_limits_are_held_and_armed),
        cmocka_unit_test(test_limits_beyond_the_board_change_nothing),
        cmocka_unit_test(test_limits_count_only_once_the_front_end_has_them),
        cmocka_unit_test(test_calibration_lands_on_its_lines),
        cmocka_unit_test(test_calibration_that_cannot_be),
        cmocka_unit_test(test_recipe_is_held_in_its_slot),
        cmocka_unit_test(test_recipe_with_a_number_that_cannot_be),
        cmocka_unit_test(test_recipe_beyond_the_limits),
        cmocka_unit_test(test_recipe_that_contradicts_itself),
        cmocka_unit_test(test_reset_forgets_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
