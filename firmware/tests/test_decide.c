/* The decision of write-verify, a case for each way it can go. tests/firmware/test_decide.py compares it with the
 * Python one on random histories; this runs where there is no Python. */
#include "bench.h"

#include <math.h>

static const law_t LAW = {
    .band_S = 1e-6,
    .gate = {0.7, 0.02, 2.0},
    .gate_offset_v = 0.7,
    .gate_slope_S_per_v = 40e-6,
    .set = {2.0, 0.1, 2.5},
    .set_width_s = 1e-7,
    .reset_gate_v = 4.0,
    .reset = {1.0, 0.05, 2.5},
    .reset_width_s = 2e-7,
    .pulses_max = 60,
    .flips_max = 20,
    .pulses_at_cap_max = 5,
};
static const double TARGET = 20e-6;

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-12;
}

static void test_inside_is_read_again_and_done(void **state)
{
    (void)state;
    history_t history = history_start(TARGET + 0.9e-6);
    assert_int_equal(decide(&LAW, TARGET, TARGET + 0.9e-6, &history).action, ACTION_CONFIRM);
    assert_true(history.confirming);
    const decision_t last = decide(&LAW, TARGET, TARGET - 0.9e-6, &history);
    assert_int_equal(last.action, ACTION_STOP);
    assert_int_equal(last.status, CELL_STATUS_OK);
    assert_int_equal(history.pulses, 0);
}

static void test_rewrite_pulses_at_least_once(void **state)
{
    (void)state;
    law_t law = LAW;
    history_t history = history_start(TARGET - 0.1e-6);
    law.rewrite_in_band = true;
    assert_int_equal(decide(&law, TARGET, TARGET - 0.1e-6, &history).action, ACTION_SET);
    assert_int_equal(decide(&law, TARGET, TARGET - 0.1e-6, &history).action, ACTION_CONFIRM);
}

static void test_set_follows_the_gate_line(void **state)
{
    (void)state;
    history_t history = history_start(5e-6);
    decision_t next = decide(&LAW, TARGET, 5e-6, &history);
    assert_int_equal(next.action, ACTION_SET);
    assert_true(near(next.gate_v, 1.2) && near(next.amplitude_v, 2.0) && near(next.width_s, 1e-7));
    next = decide(&LAW, TARGET, 16e-6, &history); /* 4 uS short: 0.1 V more */
    assert_true(near(next.gate_v, 1.3));
    next = decide(&LAW, TARGET, 20e-6 - 0.51e-6, &history); /* in the band, not in its middle half: one step */
    assert_int_equal(next.action, ACTION_SET);
    assert_true(near(next.gate_v, 1.32));
    assert_int_equal(decide(&LAW, TARGET, 20e-6 - 0.49e-6, &history).action, ACTION_CONFIRM);
}

static void test_reset_ramps_and_restarts_on_a_flip(void **state)
{
    (void)state;
    history_t history = history_start(30e-6);
    decision_t next = decide(&LAW, TARGET, 30e-6, &history);
    assert_int_equal(next.action, ACTION_RESET);
    assert_true(near(next.amplitude_v, 1.0) && near(next.gate_v, 4.0) && near(next.width_s, 2e-7));
    assert_true(near(decide(&LAW, TARGET, 29e-6, &history).amplitude_v, 1.05));
    assert_int_equal(decide(&LAW, TARGET, 10e-6, &history).action, ACTION_SET);
    assert_int_equal(history.flips, 1);
    assert_true(near(decide(&LAW, TARGET, 26e-6, &history).amplitude_v, 1.0));
    assert_true(near(history.gate_v, 1.2 - 6e-6 / 40e-6)); /* lowered by what the SET overshot */
    assert_int_equal(history.flips, 2);
}

/* Pulses a cell that reads `g_S` for ever. Returns the last decision. */
static decision_t pulse_for_ever(const law_t *law, double target_S, double g_S, history_t *history)
{
    decision_t next = {.action = ACTION_SET};
    for (int i = 0; i < 1000 && next.action != ACTION_STOP; i++) {
        next = decide(law, target_S, g_S, history);
    }
    return next;
}

static void test_what_does_not_move_either_way_is_stuck(void **state)
{
    (void)state;
    law_t law = LAW;
    law.pulses_max = 1000;
    history_t low = history_start(1e-6), high = history_start(150e-6);
    assert_int_equal(pulse_for_ever(&law, TARGET, 1e-6, &low).status, CELL_STATUS_STUCK);
    assert_int_equal(pulse_for_ever(&law, TARGET, 150e-6, &high).status, CELL_STATUS_STUCK);
    assert_true(low.probed && high.probed);
}

static void test_what_moved_and_then_stays_short_is_a_limit(void **state)
{
    (void)state;
    law_t law = LAW;
    law.pulses_max = 1000;
    history_t history = history_start(1e-6);
    assert_int_equal(pulse_for_ever(&law, TARGET, 10e-6, &history).status, CELL_STATUS_LIMIT);
    assert_false(history.probed);
}

static void test_caps_on_pulses_and_flips(void **state)
{
    (void)state;
    history_t history = history_start(1e-6);
    law_t law = LAW;
    law.pulses_max = 7;
    assert_int_equal(pulse_for_ever(&law, TARGET, 10e-6, &history).status, CELL_STATUS_NOT_CONVERGED);
    assert_int_equal(history.pulses, 7);
    law = LAW;
    law.flips_max = 3;
    history = history_start(1e-6);
    decision_t next = {.action = ACTION_SET};
    for (int i = 0; i < 1000 && next.action != ACTION_STOP; i++) {
        next = decide(&law, TARGET, i % 2 == 0 ? 1e-6 : 40e-6, &history);
    }
    assert_int_equal(next.status, CELL_STATUS_NOT_CONVERGED);
    assert_int_equal(history.flips, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inside_is_read_again_and_done),
        cmocka_unit_test(test_rewrite_pulses_at_least_once),
        cmocka_unit_test(test_set_follows_the_gate_line),
        cmocka_unit_test(test_reset_ramps_and_restarts_on_a_flip),
        cmocka_unit_test(test_what_does_not_move_either_way_is_stuck),
        cmocka_unit_test(test_what_moved_and_then_stays_short_is_a_limit),
        cmocka_unit_test(test_caps_on_pulses_and_flips),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
