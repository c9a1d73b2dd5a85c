/* The front end of the STM32F405 board: at what voltage it opens gates to read. Its parts are counted off here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../ports/stm32f405/afe.c"

static uint64_t now_us;
static int32_t gate_code[ROWS], most_gate_code; /* as set last; the largest of all, ever */

uint64_t port_now_us(void)
{
    return now_us++;
}

void wait_us(uint32_t us)
{
    now_us += us;
}

bool parts_ready(void)
{
    return true;
}

bool dac_load(uint32_t dac, uint32_t channel, int32_t code)
{
    if (dac == DAC_GATES) {
        gate_code[channel] = code;
        most_gate_code = code > most_gate_code ? code : most_gate_code;
    }
    return true;
}

bool dac_set(uint32_t dac, uint32_t channel, int32_t code)
{
    return dac_load(dac, channel, code);
}

bool dac_update(uint32_t dac)
{
    return dac < DACS;
}

bool adc_measure(const uint8_t *lines, size_t count, int16_t *codes)
{
    for (size_t i = 0; i < count; i++) {
        codes[i] = lines[i];
    }
    return true;
}

void adc_range(uint32_t range)
{
    assert_true(range < RANGE_COUNT);
}

bool lines_connect(uint32_t drive, uint32_t measure)
{
    return (drive & measure) == 0;
}

void window_open(uint32_t width_ns)
{
    assert_true(width_ns > 0);
}

bool window_is_open(void)
{
    return true;
}

void window_close(void)
{
}

void limit_set(uint32_t i_max_na)
{
    assert_true(i_max_na <= BOARD_I_MAX_NA);
}

void limit_clear(void)
{
}

bool limit_hit(void)
{
    return false;
}

/* The gate of row 3 while a cell is read; then while products go through rows 0 and 3. */
static int32_t gate_of_reads(void)
{
    const afe_read_t cell = {3, 5, 1000};
    int16_t code = 0;
    most_gate_code = 0;
    assert_true(afe_read(0, &cell, 1, &code));
    assert_int_equal(code, ROWS + 5);
    assert_int_equal(gate_code[3], 0);
    return most_gate_code;
}

static int32_t gate_of_products(void)
{
    static const uint8_t bits[LINES / 8] = {0x09, 0x00, 0x01, 0x00};
    assert_true(afe_select(0, LINE_DIRECTION_FORWARD, 1, bits, sizeof bits));
    const int32_t code = gate_code[0];
    assert_int_equal(gate_code[3], code);
    assert_int_equal(gate_code[1], 0);
    assert_true(afe_ground());
    assert_int_equal(gate_code[0], 0);
    return code;
}

static void assert_read_gate(int32_t code)
{
    assert_int_equal(gate_of_reads(), code);
    assert_int_equal(gate_of_products(), code);
}

static void test_gates_stay_shut_until_armed(void **state)
{
    (void)state;
    assert_read_gate(0);
}

static void test_the_smaller_of_constant_and_limit_opens_gates(void **state)
{
    (void)state;
    const int32_t limits_uv[] = {DRIVE_FULL_SCALE_UV, READ_GATE_UV, READ_GATE_UV - 1000, 2500000, 1000, 1, 3000000};
    for (size_t i = 0; i < sizeof limits_uv / sizeof limits_uv[0]; i++) {
        const int32_t least_uv = limits_uv[i] < READ_GATE_UV ? limits_uv[i] : READ_GATE_UV;
        assert_true(afe_arm(1000000, 1000000, limits_uv[i]));
        const int32_t code = gate_of_reads();
        assert_true((int64_t)code * DRIVE_FULL_SCALE_UV <= (int64_t)least_uv * DRIVE_TOP);
        assert_true((int64_t)(code + 1) * DRIVE_FULL_SCALE_UV > (int64_t)least_uv * DRIVE_TOP);
        assert_read_gate(code);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gates_stay_shut_until_armed),
        cmocka_unit_test(test_the_smaller_of_constant_and_limit_opens_gates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
