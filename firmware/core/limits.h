/* Limits, calibration and recipes (recipe.c): what the host configures, and what the board refuses of it. */
#ifndef EAPU_LIMITS_H
#define EAPU_LIMITS_H

#include "decide.h"
#include "job.h"

typedef struct {
    bool set;
    int32_t v_max_uv, v_gate_max_uv, v_read_max_uv;
    uint32_t i_max_na, width_max_ns, pulses_per_cell_max;
} limits_t;

/* Of one line: volts = code * step * gain + offset; amperes = full scale * (code / top * gain + offset). */
typedef struct {
    float gain, offset;
} line_calibration_t;

/* Codes from low to high; none where high < low. */
typedef struct {
    int16_t low, high;
} span_t;

enum { LINE_KINDS = 5 }; /* ROW_DAC to COL_ADC */
typedef line_calibration_t calibration_t[ARRAYS_MAX][LINE_KINDS][LINES_MAX];

typedef struct {
    bool set;
    double v_read_v, time_max_s;
    law_t law;
} recipe_t;

/* Each takes the payload of its message. Nothing changes when it is refused. limits_set arms the front end and
 * refuses with FRONT_END where that fails. */
verdict_t limits_set(board_t *board, const uint8_t *payload, size_t n);
verdict_t calibrate_set(board_t *board, const uint8_t *payload, size_t n);
verdict_t recipe_set(board_t *board, const uint8_t *payload, size_t n);

/* The payload of LIMITS_ARE; returns its size. NOT_CONFIGURED is the caller's to answer: see board->limits.set. */
size_t limits_get(const board_t *board, uint32_t id, uint8_t *payload);

/* Whether nothing in a recipe that was set goes beyond the limits of now. */
verdict_t limits_check_recipe(const limits_t *limits, const recipe_t *recipe);

/* A cell of an array of this board? `index` is the record's. */
verdict_t limits_check_cell(const board_t *board, uint8_t array, uint16_t row, uint16_t col, size_t index);

#endif
