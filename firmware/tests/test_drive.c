/* The last check, as a mistake of the program would meet it: it never lets anything through to the front end. */
#include "bench.h"

#include "drive.h"

static void assert_guarded(bool driven)
{
    assert_false(driven);
    assert_int_equal(bench.fault, FAULT_GUARD);
    assert_int_equal(fake.count, 0);
    bench.fault = FAULT_NONE;
}

static void test_guard_of_reads(void **state)
{
    (void)state;
    int16_t code = 0;
    afe_read_t cell = {3, 5, 409};
    bench_ready(1, 16, 8);
    assert_true(drive_read(&bench, 0, &cell, 1, &code));
    fake_forget();
    const afe_read_t wrong[] = {{3, 5, 410}, {3, 5, -410}, {3, 5, INT16_MIN}, {16, 5, 1}, {3, 8, 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const afe_read_t two[] = {{3, 5, 1}, wrong[i]};
        int16_t codes[2];
        assert_guarded(drive_read(&bench, 0, two, 2, codes));
    }
    assert_guarded(drive_read(&bench, 1, &cell, 1, &code));
    assert_guarded(drive_read(&bench, 0, &cell, 0, &code));
    bench.limits.set = false;
    assert_guarded(drive_read(&bench, 0, &cell, 1, &code));
}

static void test_guard_of_pulses(void **state)
{
    (void)state;
    uint8_t hit = 0;
    const afe_pulse_t good = {3, 5, 1, 3071, 3413, 100000}; /* 3 V, gate 2.5 V, 100 us */
    bench_ready(1, 16, 8);
    assert_true(drive_pulse(&bench, 0, &good, 1, &hit));
    fake_forget();
    const afe_pulse_t wrong[] = {
        {3, 5, 1, 3072, 3413, 1000},  {3, 5, -1, 3072, 3413, 1000}, {3, 5, 2, 65535, 0, 1000},
        {3, 5, 1, 0, 3413, 1000},     {3, 5, 1, 3071, 3414, 1000},  {3, 5, 1, 3071, 3413, 100001},
        {3, 5, 1, 3071, 3413, 0},     {3, 5, 0, 3071, 3413, 1000},  {16, 5, 1, 3071, 3413, 1000},
        {3, 8, 1, 3071, 3413, 1000},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const afe_pulse_t two[] = {good, wrong[i]};
        uint8_t hits[2];
        assert_guarded(drive_pulse(&bench, 0, two, 2, hits));
    }
    assert_guarded(drive_pulse(&bench, 1, &good, 1, &hit));
    assert_guarded(drive_pulse(&bench, 0, &good, 0, &hit));
    bench.limits.set = false;
    assert_guarded(drive_pulse(&bench, 0, &good, 1, &hit));
}

static void test_guard_of_products(void **state)
{
    (void)state;
    const product_msg_t m = {9, 0, LINE_DIRECTION_FORWARD, 0, 10};
    const uint8_t bits[] = {0x05, 0x00, 0x03}; /* drives rows 0 and 2, measures columns 0 and 1 */
    int16_t in[1024] = {0}, out[1024];
    bench_ready(1, 16, 8);
    assert_accepted(bench_product(&m, bits, sizeof bits));
    assert_guarded(drive_select(&bench, 1, 0, 0, bits, 3));
    assert_guarded(drive_select(&bench, 0, 0, 4, bits, 3));
    assert_true(drive_select(&bench, 0, 0, 0, bits, 3));
    assert_true(drive_product(&bench, 2, in, out));
    fake_forget();
    in[3] = 410;
    assert_guarded(drive_product(&bench, 2, in, out));
    in[3] = -410;
    assert_guarded(drive_product(&bench, 2, in, out));
    in[3] = 0;
    assert_guarded(drive_product(&bench, 0, in, out));
    assert_guarded(drive_product(&bench, 256, in, out));
    bench.limits.set = false;
    assert_guarded(drive_product(&bench, 2, in, out));
    assert_guarded(drive_select(&bench, 0, 0, 0, bits, 3));
}

static void test_ground(void **state)
{
    (void)state;
    int16_t code = 0;
    const afe_read_t cell = {3, 5, 409};
    bench_ready(1, 16, 8);
    assert_true(board_ground(&bench));
    assert_false(bench.driven);
    assert_true(drive_read(&bench, 0, &cell, 1, &code));
    assert_true(bench.driven);
    fake.fail_at = 1;
    assert_false(board_ground(&bench));
    assert_true(bench.driven); /* until it is certain */
    assert_true(board_ground(&bench));
    assert_false(bench.driven);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_guard_of_reads),
        cmocka_unit_test(test_guard_of_pulses),
        cmocka_unit_test(test_guard_of_products),
        cmocka_unit_test(test_ground),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
