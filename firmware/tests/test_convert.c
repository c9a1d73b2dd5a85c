/* Codes and volts: rounding, calibration, and the codes that the limits allow. */
#include "bench.h"

#include <math.h>

#include "convert.h"

static const line_calibration_t NOMINAL = {1.0f, 0.0f};

static void test_rounds_to_the_nearest_code(void **state)
{
    (void)state;
    assert_int_equal(convert_code(0.149, 0.1, NOMINAL), 1);
    assert_int_equal(convert_code(0.151, 0.1, NOMINAL), 2);
    assert_int_equal(convert_code(-0.149, 0.1, NOMINAL), -1);
    assert_int_equal(convert_code(-0.151, 0.1, NOMINAL), -2);
    assert_int_equal(convert_code(0.0, 0.1, NOMINAL), 0);
}

static void test_what_no_converter_has_stays_an_integer(void **state)
{
    (void)state;
    assert_int_equal(convert_code(1e300, 0.1, NOMINAL), 1 << 20);
    assert_int_equal(convert_code(-1e300, 0.1, NOMINAL), -(1 << 20));
    assert_int_equal(convert_code((double)NAN, 0.1, NOMINAL), 1 << 20);
}

static void test_codes_come_back_through_any_calibration(void **state)
{
    (void)state;
    const line_calibration_t lines[] = {NOMINAL, {0.97f, 0.004f}, {1.2f, -0.05f}};
    for (size_t i = 0; i < 3; i++) {
        for (int32_t code = -511; code <= 511; code++) {
            assert_int_equal(convert_code(convert_volts(code, 4.9e-4, lines[i]), 4.9e-4, lines[i]), code);
        }
    }
}

static void test_amperes(void **state)
{
    (void)state;
    const line_calibration_t line = {1.25f, 0.5f};
    assert_true(fabs(convert_amperes(2047, 20e-6, 2047, NOMINAL) - 20e-6) < 1e-18);
    assert_true(fabs(convert_amperes(-1000, 20e-6, 2000, line) - -2.5e-6) < 1e-18);
}

static void test_the_calibration_of_the_line_counts(void **state)
{
    (void)state;
    const calibrate_record_t half = {0.5f, 0.0f}, late = {1.0f, 0.1f};
    bench_ready(2, 4, 6);
    assert_accepted(bench_calibrate(1, LINE_KIND_ROW_DAC, 2, &half, 1));
    assert_accepted(bench_calibrate(1, LINE_KIND_COL_DAC, 3, &late, 1));
    assert_accepted(bench_calibrate(1, LINE_KIND_GATE_DAC, 2, &late, 1));
    assert_int_equal(convert_read_code(&bench, 0, LINE_KIND_ROW_DAC, 2, 100e3), 204);
    assert_int_equal(convert_read_code(&bench, 1, LINE_KIND_ROW_DAC, 2, 100e3), 409);
    assert_int_equal(convert_pulse_code(&bench, 1, -1, 2, 3, 1e6), 2048); /* RESET drives the row */
    assert_int_equal(convert_pulse_code(&bench, 1, 1, 2, 3, 1e6), 921);   /* SET and FORM the column */
    assert_int_equal(convert_pulse_code(&bench, 1, 2, 2, 3, 1e6), 921);
    assert_int_equal(convert_gate_code(&bench, 1, 2, 1.1e6), 1365);
    assert_int_equal(convert_gate_code(&bench, 1, 2, 0.0), 0); /* no negative gates */
}

static void test_exactly_the_limit_is_allowed(void **state)
{
    (void)state;
    const calibrate_record_t line = {0.93f, -0.013f};
    bench_ready(1, 4, 4);
    assert_accepted(bench_calibrate(0, LINE_KIND_ROW_DAC, 1, &line, 1));
    const span_t span = convert_read_span(&bench, 0, LINE_KIND_ROW_DAC, 1);
    assert_int_equal(span.high, convert_read_code(&bench, 0, LINE_KIND_ROW_DAC, 1, 200e3));
    assert_int_equal(span.low, convert_read_code(&bench, 0, LINE_KIND_ROW_DAC, 1, -200e3));
    assert_true(span_holds(span, span.high) && !span_holds(span, span.high + 1));
    assert_true(span_holds(span, span.low) && !span_holds(span, span.low - 1));
}

static void test_spans_end_at_the_converter(void **state)
{
    (void)state;
    limits_msg_t limits = bench_limits();
    const calibrate_record_t far = {0.5f, 0.0f}, off = {1.0f, 0.1f};
    bench_ready(1, 4, 4);
    limits.v_max_uv = 4000000;
    limits.v_gate_max_uv = 3000000;
    limits.v_read_max_uv = 4000000;
    assert_accepted(bench_set_limits(&limits));
    assert_accepted(bench_calibrate(0, LINE_KIND_ROW_DAC, 0, &far, 1));
    assert_accepted(bench_calibrate(0, LINE_KIND_GATE_DAC, 0, &far, 1));
    assert_int_equal(convert_read_span(&bench, 0, LINE_KIND_ROW_DAC, 0).high, 511);
    assert_int_equal(convert_read_span(&bench, 0, LINE_KIND_ROW_DAC, 0).low, -511);
    assert_int_equal(convert_pulse_span(&bench, 0, -1, 0, 0).high, 4095);
    assert_int_equal(convert_gate_span(&bench, 0, 0).high, 4095);
    /* A limit below the offset of the line leaves nothing to drive it with. */
    limits.v_max_uv = 50000;
    limits.v_read_max_uv = 50000;
    assert_accepted(bench_set_limits(&limits));
    assert_accepted(bench_calibrate(0, LINE_KIND_COL_DAC, 0, &off, 1));
    assert_false(span_holds(convert_pulse_span(&bench, 0, 1, 0, 0), 0));
    assert_false(span_holds(convert_pulse_span(&bench, 0, 1, 0, 0), 1));
    assert_false(span_holds(convert_read_span(&bench, 0, LINE_KIND_COL_DAC, 0), 0));
}

static void test_siemens(void **state)
{
    (void)state;
    bench_ready(1, 4, 4);
    const double v = convert_read_volts(&bench, 0, LINE_KIND_ROW_DAC, 0, 409);
    assert_true(fabs(v - 0.25 * 409 / 511) < 1e-12);
    assert_true(fabs(convert_siemens(&bench, 0, 0, 819, v) - 819.0 / 2047 * 20e-6 / v) < 1e-11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds_to_the_nearest_code),
        cmocka_unit_test(test_what_no_converter_has_stays_an_integer),
        cmocka_unit_test(test_codes_come_back_through_any_calibration),
        cmocka_unit_test(test_amperes),
        cmocka_unit_test(test_the_calibration_of_the_line_counts),
        cmocka_unit_test(test_exactly_the_limit_is_allowed),
        cmocka_unit_test(test_spans_end_at_the_converter),
        cmocka_unit_test(test_siemens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
