/* The reference board: what is wired where, and what its parts make of a code. README.md has it as a table. */
#ifndef EAPU_WIRING_H
#define EAPU_WIRING_H

#include "pins.h"
#include "registers.h"

#define HSE_HZ 8000000u /* the crystal; whole MHz */
#define HSI_HZ 16000000u

enum { ROWS = 16, COLS = 16, LINES = ROWS + COLS }; /* a line's number: rows first, then columns */

static const pin_t PIN_DRIVE = {PORT_A, 0};         /* TIM5_CH1: line drivers on, for as long as the timer says */
static const pin_t PIN_LIMIT_THRESHOLD = {PORT_A, 4}; /* DAC_OUT1 */
static const pin_t PIN_HOST_TX = {PORT_A, 9}, PIN_HOST_RX = {PORT_A, 10};
static const pin_t PIN_LIMIT_HIT = {PORT_B, 8}, PIN_LIMIT_CLEAR = {PORT_B, 9}; /* latch: 1 hit; 0 clears */
static const pin_t PIN_RANGE[2] = {{PORT_B, 6}, {PORT_B, 7}};

/* Line drivers and gates: three LTC2688 on SPI1. */
static const pin_t PIN_DAC_CLOCK = {PORT_A, 5}, PIN_DAC_OUT = {PORT_A, 7}, PIN_DAC_IN = {PORT_A, 6};
enum { DAC_ROWS, DAC_COLS, DAC_GATES, DACS };
static const pin_t PIN_DAC[DACS] = {{PORT_C, 0}, {PORT_C, 1}, {PORT_C, 2}};

/* Current converters: four ADS8688 on SPI2, lines 0-7, 8-15 and so on. */
static const pin_t PIN_ADC_CLOCK = {PORT_B, 13}, PIN_ADC_OUT = {PORT_B, 15}, PIN_ADC_IN = {PORT_B, 14};
enum { ADC_CHANNELS = 8, ADCS = LINES / ADC_CHANNELS };
static const pin_t PIN_ADC[ADCS] = {{PORT_C, 4}, {PORT_C, 5}, {PORT_B, 0}, {PORT_B, 1}};

/* Line selectors: twelve ADG1414 in a chain on SPI3. */
static const pin_t PIN_SWITCH_CLOCK = {PORT_C, 10}, PIN_SWITCH_OUT = {PORT_C, 12}, PIN_SWITCH_IN = {PORT_C, 11};
static const pin_t PIN_SWITCH = {PORT_C, 8};

/* Drivers: +-5 V in 65536 steps, of which one sign and the other are used alike. */
enum { DRIVE_TOP = 32767, DRIVE_FULL_SCALE_UV = 4999847 };
/* Of the row that is read and of the rows of a product, unless the bench's limit is less. */
enum { READ_GATE_UV = 3300000 };

/* Transimpedance amplifiers with these feedback resistors, into +-5.12 V. */
enum { ADC_TOP = 32767, RANGE_COUNT = 4, READ_RANGE = 1 };
#define ADC_FULL_SCALE_V (5.12f * 32767.0f / 32768.0f)
static const float FEEDBACK_OHM[RANGE_COUNT] = {511e3f, 51.1e3f, 5.11e3f, 511.0f};

/* The grounded lines' return current: 10 ohm, amplified 25 times, compared with the chip's DAC of 3.3 V. */
enum { LIMIT_UV_PER_MA = 250000, LIMIT_DAC_UV = 3300000, LIMIT_DAC_TOP = 4095 };

enum { BOARD_I_MAX_NA = 10000000, BOARD_WIDTH_MAX_NS = 10000000 };
/* How long the lines may be driven to read a row or to measure one vector, and what settles in which time. */
enum { READ_WINDOW_NS = 1000000, DAC_SETTLE_US = 20, READ_SETTLE_US = 50 };

#endif
