/* PRODUCT: vectors stream through, many in a transaction, and come out whole and in order. */
#include "bench.h"

#include <math.h>
#include <string.h>

enum { ID = 9 };

/* A vector's code on a line: all differ, all inside the limit. */
static int16_t code_of(uint32_t vector, uint32_t line)
{
    return (int16_t)((int32_t)((vector * 131u + line * 37u) % 801u) - 400);
}

/* What the fake's cells answer, rounded as its converter does. */
static int16_t expected(uint32_t vector, const uint16_t *driven, size_t count, uint16_t measured, bool forward)
{
    double current_a = 0.0;
    for (uint32_t i = 0; i < count; i++) {
        const uint16_t row = forward ? driven[i] : measured, col = forward ? measured : driven[i];
        current_a += fake.g_S[0][row][col] * (code_of(vector, i) * 1e-6 * 250000 / 511);
    }
    const double code = floor(current_a / (double)fake.info.range_full_scale_a[2] * 2047 + 0.5);
    return (int16_t)(code > 2047 ? 2047 : (code < -2047 ? -2047 : code));
}

typedef struct {
    uint8_t direction;
    uint16_t rows, cols;
    uint16_t driven[LINES_MAX], measured[LINES_MAX];
    size_t driven_count, measured_count;
    uint32_t vectors;
} product_case_t;

static void choose(product_case_t *c, uint16_t every_in, uint16_t every_out)
{
    const bool forward = c->direction == LINE_DIRECTION_FORWARD;
    c->driven_count = c->measured_count = 0;
    for (uint16_t i = 0; i < (forward ? c->rows : c->cols); i = (uint16_t)(i + every_in)) {
        c->driven[c->driven_count++] = i;
    }
    for (uint16_t i = 0; i < (forward ? c->cols : c->rows); i = (uint16_t)(i + every_out)) {
        c->measured[c->measured_count++] = i;
    }
}

static verdict_t start(const product_case_t *c)
{
    const bool forward = c->direction == LINE_DIRECTION_FORWARD;
    const size_t driven_bytes = ((forward ? c->rows : c->cols) + 7u) / 8u;
    const size_t size = driven_bytes + ((forward ? c->cols : c->rows) + 7u) / 8u;
    const product_msg_t m = {ID, 0, c->direction, 2, c->vectors};
    uint8_t bits[2 * (LINES_MAX / 8)] = {0};
    for (size_t i = 0; i < c->driven_count; i++) {
        bits[c->driven[i] / 8] |= (uint8_t)(1u << c->driven[i] % 8);
    }
    for (size_t i = 0; i < c->measured_count; i++) {
        bits[driven_bytes + c->measured[i] / 8] |= (uint8_t)(1u << c->measured[i] % 8);
    }
    return bench_product(&m, bits, size);
}

/* The next frame of codes, of at most `most`; advances `sent`. */
static void feed(const product_case_t *c, uint64_t *sent, size_t most)
{
    int16_t codes[CODES_MAX];
    size_t count = 0;
    while (count < most && *sent < (uint64_t)c->vectors * c->driven_count) {
        codes[count++] = code_of((uint32_t)(*sent / c->driven_count), (uint32_t)(*sent % c->driven_count));
        (*sent)++;
    }
    assert_accepted(bench_feed(ID, codes, count));
}

/* Checks one frame of answers. */
static void check(const product_case_t *c, uint64_t *got, bool last)
{
    uint8_t payload[PAYLOAD_MAX], type = 0;
    const size_t size = job_result(&bench, &type, payload, false);
    const size_t count = product_is_count(size);
    assert_int_equal(type, MSG_PRODUCT_IS);
    assert_int_equal(get_u32(payload), ID);
    assert_true(last ? count > 0 : count == CODES_MAX); /* no frame goes out half empty */
    for (size_t i = 0; i < count; i++, (*got)++) {
        product_is_record_t record;
        product_is_record_unpack(&record, payload, i);
        const uint16_t line = c->measured[*got % c->measured_count];
        assert_int_equal(record.code, expected((uint32_t)(*got / c->measured_count), c->driven, c->driven_count, line,
                                               c->direction == LINE_DIRECTION_FORWARD));
    }
}

/* All of a product, in frames of `most` codes. */
static void pass(const product_case_t *c, size_t most)
{
    uint64_t sent = 0, got = 0;
    job_state_t state = JOB_MORE;
    fake_forget();
    assert_accepted(start(c));
    assert_int_equal(fake.count, 0);
    while (state != JOB_DONE) {
        const uint32_t before = fake.count;
        state = job_step(&bench);
        assert_true(fake.count - before <= 1);
        assert_int_not_equal(state, JOB_FAILED);
        if (state == JOB_STARVED) {
            assert_true(product_has_room(&bench));
            feed(c, &sent, most);
        } else if (state != JOB_MORE) {
            check(c, &got, state == JOB_DONE);
        }
    }
    assert_int_equal(got, (uint64_t)c->vectors * c->measured_count);
    assert_int_equal(bench.work, WORK_NONE);
    const size_t in = PRODUCT_IN_MAX / c->driven_count, out = PRODUCT_OUT_MAX / c->measured_count;
    const size_t per_call = in < out ? in : out;
    assert_int_equal(fake_calls(CALL_SELECT), 1);
    assert_int_equal(fake_calls(CALL_PRODUCT), (c->vectors + per_call - 1) / per_call);
}

static void vary_cells(void)
{
    for (uint16_t row = 0; row < LINES_MAX; row++) {
        for (uint16_t col = 0; col < LINES_MAX; col++) {
            fake.g_S[0][row][col] = 1e-6 * (1 + (row * 7 + col * 3) % 13);
        }
    }
}

static void test_products_of_all_shapes(void **state)
{
    (void)state;
    const struct {
        uint16_t rows, cols, every_in, every_out;
        uint32_t vectors;
    } shapes[] = {
        {16, 8, 1, 1, 100}, {16, 8, 3, 2, 1}, {128, 128, 1, 1, 40}, {128, 10, 1, 1, 7},
        {9, 128, 4, 1, 33}, {1, 1, 1, 1, 1200}, {128, 64, 127, 1, 50},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        for (uint8_t direction = 0; direction < 2; direction++) {
            product_case_t c = {.direction = direction, .rows = shapes[i].rows, .cols = shapes[i].cols};
            c.vectors = shapes[i].vectors;
            choose(&c, shapes[i].every_in, shapes[i].every_out);
            bench_ready(1, c.rows, c.cols);
            vary_cells();
            pass(&c, CODES_MAX);
            pass(&c, 5);
        }
    }
}

static void test_room_for_what_is_in_flight(void **state)
{
    (void)state;
    product_case_t c = {.rows = 128, .cols = 128, .vectors = 100};
    uint64_t sent = 0;
    choose(&c, 1, 1);
    bench_ready(1, 128, 128);
    assert_false(product_has_room(&bench));
    assert_accepted(start(&c));
    while (product_has_room(&bench)) {
        feed(&c, &sent, CODES_MAX);
    }
    assert_int_equal(sent, 8 * CODES_MAX);
    const int16_t code = 0;
    assert_refused(bench_feed(ID, &code, 1), REASON_BAD_VALUE);
}

static void test_product_refused(void **state)
{
    (void)state;
    const product_msg_t good = {ID, 0, LINE_DIRECTION_FORWARD, 2, 1};
    const uint8_t bits[] = {0xFF, 0xFF, 0x0F}, none[] = {0, 0, 0x0F}, nothing[] = {0xFF, 0xFF, 0};
    const uint8_t padding[] = {0xFF, 0xFF, 0x8F}; /* of 4 columns */
    product_msg_t m;
    bench_ready(1, 16, 4);
    m = good, m.array = 1, assert_refused(bench_product(&m, bits, 3), REASON_BAD_CELL);
    m = good, m.direction = 2, assert_refused(bench_product(&m, bits, 3), REASON_BAD_VALUE);
    m = good, m.range = 4, assert_refused(bench_product(&m, bits, 3), REASON_BAD_VALUE);
    m = good, m.vectors = 0, assert_refused(bench_product(&m, bits, 3), REASON_BAD_VALUE);
    assert_refused(bench_product(&good, bits, 2), REASON_BAD_LENGTH);
    assert_refused(bench_product(&good, none, 3), REASON_BAD_VALUE);
    assert_refused(bench_product(&good, nothing, 3), REASON_BAD_VALUE);
    assert_refused(bench_product(&good, padding, 3), REASON_BAD_VALUE);
    assert_refused(bench_short(product_start, PRODUCT_SIZE - 1), REASON_BAD_LENGTH);
    assert_int_equal(bench.work, WORK_NONE);
    bench_open(1, 16, 4);
    assert_refused(bench_product(&good, bits, 3), REASON_NOT_CONFIGURED);
}

static void test_codes_beyond_the_limit_are_not_taken(void **state)
{
    (void)state;
    const uint8_t bits[] = {0x2A, 0x00, 0x0F}; /* rows 1, 3 and 5 */
    const product_msg_t m = {ID, 0, LINE_DIRECTION_FORWARD, 2, 2};
    const calibrate_record_t strong = {2.0f, 0.0f};
    bench_ready(1, 16, 4);
    const int16_t codes[][4] = {{1, 2, 3, 410}, {1, -410, 3, 4}, {1, 2, INT16_MIN, 4}, {1, 206, 3, 4}};
    const uint16_t line[] = {1, 3, 5, 3};
    for (size_t i = 0; i < 4; i++) {
        if (i == 3) { /* a calibrated row: half the codes */
            assert_accepted(bench_calibrate(0, LINE_KIND_ROW_DAC, 3, &strong, 1));
        }
        assert_accepted(bench_product(&m, bits, 3));
        const verdict_t verdict = bench_feed(ID, codes[i], 4);
        assert_refused(verdict, REASON_V_READ_MAX);
        assert_int_equal(verdict.index, line[i]);
        assert_true(fabs(verdict.asked) > verdict.allowed);
        board_drop(&bench);
        assert_int_equal(bench.work, WORK_NONE);
    }
    assert_int_equal(fake.count, 0);
}

static void test_data_that_does_not_belong(void **state)
{
    (void)state;
    const uint8_t bits[] = {0x2A, 0x00, 0x0F};
    const product_msg_t m = {ID, 0, LINE_DIRECTION_FORWARD, 2, 1};
    const int16_t codes[CODES_MAX + 1] = {0};
    bench_ready(1, 16, 4);
    assert_refused(bench_feed(ID, codes, 1), REASON_BAD_VALUE); /* nothing runs */
    assert_accepted(bench_product(&m, bits, 3));
    assert_refused(bench_feed(ID + 1, codes, 1), REASON_BAD_VALUE);
    assert_refused(bench_feed(ID, codes, 0), REASON_BAD_LENGTH);
    assert_refused(bench_feed(ID, codes, 4), REASON_BAD_LENGTH); /* one more than the product has */
    assert_refused(bench_feed(ID, codes, CODES_MAX + 1), REASON_BAD_LENGTH);
    assert_refused(bench_short(product_feed, PRODUCT_DATA_SIZE + 1), REASON_BAD_VALUE);
}

static void test_front_end_fails(void **state)
{
    (void)state;
    uint8_t type = 0, payload[PAYLOAD_MAX];
    product_case_t c = {.rows = 16, .cols = 8, .vectors = 1};
    choose(&c, 1, 1);
    for (uint32_t at = 1; at <= 2; at++) {
        uint64_t sent = 0;
        bench_ready(1, 16, 8);
        assert_accepted(start(&c));
        feed(&c, &sent, CODES_MAX);
        fake.fail_at = at;
        assert_int_equal(bench_run(), JOB_FAILED);
        assert_int_equal(bench.fault, FAULT_FRONT_END);
        assert_int_equal(job_result(&bench, &type, payload, true), 0);
        assert_int_equal(bench.work, WORK_NONE);
    }
}

static void test_a_mistake_before_the_last_check_drives_nothing(void **state)
{
    (void)state;
    uint64_t sent = 0;
    product_case_t c = {.rows = 16, .cols = 8, .vectors = 1};
    choose(&c, 1, 1);
    bench_ready(1, 16, 8);
    assert_accepted(start(&c));
    feed(&c, &sent, CODES_MAX);
    bench.job.product.in[3] = 500;
    assert_int_equal(bench_run(), JOB_FAILED);
    assert_int_equal(bench.fault, FAULT_GUARD);
    assert_int_equal(fake_calls(CALL_PRODUCT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products_of_all_shapes),
        cmocka_unit_test(test_room_for_what_is_in_flight),
        cmocka_unit_test(test_product_refused),
        cmocka_unit_test(test_codes_beyond_the_limit_are_not_taken),
        cmocka_unit_test(test_data_that_does_not_belong),
        cmocka_unit_test(test_front_end_fails),
        cmocka_unit_test(test_a_mistake_before_the_last_check_drives_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
