#include "bench.h"

#include <stdlib.h>
#include <string.h>

board_t bench;

void bench_open(uint8_t arrays, uint16_t rows, uint16_t cols)
{
    fake_reset(arrays, rows, cols);
    assert_true(board_open(&bench));
}

void bench_ready(uint8_t arrays, uint16_t rows, uint16_t cols)
{
    const limits_msg_t limits = bench_limits();
    const recipe_msg_t recipe = bench_recipe();
    bench_open(arrays, rows, cols);
    assert_accepted(bench_set_limits(&limits));
    assert_accepted(bench_set_recipe(&recipe));
    fake_forget();
}

limits_msg_t bench_limits(void)
{
    const limits_msg_t m = {.id = 1,
                            .v_max_uv = 3000000,
                            .v_gate_max_uv = 2500000,
                            .v_read_max_uv = 200000,
                            .i_max_na = 200000,
                            .width_max_ns = 100000,
                            .pulses_per_cell_max = 50};
    return m;
}

recipe_msg_t bench_recipe(void)
{
    const recipe_msg_t m = {.id = 2,
                            .slot = 1,
                            .pulses_max = 40,
                            .flips_max = 20,
                            .pulses_at_cap_max = 3,
                            .g_min_S = 1e-6,
                            .g_max_S = 40e-6,
                            .band_S = 1e-6,
                            .v_read_v = 0.2,
                            .set_gate_start_v = 0.7,
                            .set_gate_step_v = 0.02,
                            .set_gate_stop_v = 2.0,
                            .set_gate_offset_v = 0.7,
                            .set_gate_slope_S_per_v = 40e-6,
                            .set_start_v = 2.0,
                            .set_step_v = 0.1,
                            .set_stop_v = 2.5,
                            .set_width_s = 1e-6,
                            .reset_gate_v = 2.5,
                            .reset_start_v = 1.0,
                            .reset_step_v = 0.05,
                            .reset_stop_v = 2.5,
                            .reset_width_s = 2e-6,
                            .time_max_s = 1.0};
    return m;
}

/* `request` with a copy of exactly `size` bytes. */
static verdict_t exactly(bench_request_t request, const uint8_t *payload, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, payload, size);
    const verdict_t verdict = request(&bench, copy, size);
    free(copy);
    return verdict;
}

verdict_t bench_short(bench_request_t request, size_t size)
{
    const uint8_t zeros[512] = {0};
    assert_true(size <= sizeof zeros);
    return exactly(request, zeros, size);
}

verdict_t bench_set_limits(const limits_msg_t *m)
{
    uint8_t payload[LIMITS_SIZE] = {0};
    return exactly(limits_set, payload, limits_pack(m, payload));
}

verdict_t bench_set_recipe(const recipe_msg_t *m)
{
    uint8_t payload[RECIPE_SIZE] = {0};
    return exactly(recipe_set, payload, recipe_pack(m, payload));
}

verdict_t bench_calibrate(uint8_t array, uint8_t kind, uint16_t first, const calibrate_record_t *lines, size_t count)
{
    uint8_t payload[512] = {0};
    const calibrate_msg_t m = {3, array, kind, first};
    calibrate_pack(&m, payload);
    for (size_t i = 0; i < count; i++) {
        calibrate_record_pack(&lines[i], payload, i);
    }
    return exactly(calibrate_set, payload, calibrate_size(count));
}

verdict_t bench_read(const read_msg_t *m)
{
    uint8_t payload[READ_SIZE] = {0};
    return exactly(read_start, payload, read_pack(m, payload));
}

verdict_t bench_pulse(uint8_t array, const pulse_record_t *cells, size_t count)
{
    uint8_t payload[512] = {0};
    const pulse_msg_t m = {100, array};
    pulse_pack(&m, payload);
    for (size_t i = 0; i < count; i++) {
        pulse_record_pack(&cells[i], payload, i);
    }
    return exactly(pulse_start, payload, pulse_size(count));
}

verdict_t bench_write(uint8_t array, uint8_t slot, const write_record_t *cells, size_t count)
{
    uint8_t payload[512] = {0};
    const write_msg_t m = {200, array, slot};
    write_pack(&m, payload);
    for (size_t i = 0; i < count; i++) {
        write_record_pack(&cells[i], payload, i);
    }
    return exactly(write_start, payload, write_size(count));
}

verdict_t bench_product(const product_msg_t *m, const uint8_t *bits, size_t size)
{
    uint8_t payload[512] = {0};
    product_pack(m, payload);
    memcpy(payload + PRODUCT_SIZE, bits, size);
    return exactly(product_start, payload, product_size(size));
}

verdict_t bench_feed(uint32_t id, const int16_t *codes, size_t count)
{
    uint8_t payload[512] = {0};
    const product_data_msg_t m = {id};
    product_data_pack(&m, payload);
    for (size_t i = 0; i < count; i++) {
        const product_data_record_t record = {codes[i]};
        product_data_record_pack(&record, payload, i);
    }
    return exactly(product_feed, payload, product_data_size(count));
}

job_state_t bench_run(void)
{
    job_state_t state = JOB_MORE;
    for (int steps = 0; state == JOB_MORE; steps++) {
        const uint32_t before = fake.count;
        assert_true(steps < 10000);
        state = job_step(&bench);
        assert_true(fake.count - before <= 1); /* urgent frames are handled between any two transactions */
    }
    assert_int_not_equal(state, JOB_OUTPUT);
    return state;
}

const uint8_t *bench_result(uint8_t type, size_t size, bool aborted)
{
    static uint8_t payload[PAYLOAD_MAX];
    uint8_t got = 0;
    assert_int_equal(job_result(&bench, &got, payload, aborted), size);
    assert_int_equal(got, type);
    assert_int_equal(bench.work, WORK_NONE);
    return payload;
}
