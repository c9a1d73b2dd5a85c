/* The board: what it is, what the host configured, and what the running job remembers. Nothing here knows the link. */
#ifndef EAPU_BOARD_H
#define EAPU_BOARD_H

#include "afe.h"
#include "decide.h"
#include "work.h"

typedef struct {
    bool set;
    int32_t v_max_uv, v_gate_max_uv, v_read_max_uv;
    uint32_t i_max_na, width_max_ns, pulses_per_cell_max;
} limits_t;

/* Of one line: volts = code * step * gain + offset; amperes = full scale * (code / top * gain + offset). */
typedef struct {
    float gain, offset;
} line_calibration_t;

enum { LINE_KINDS = LINE_KIND_COL_ADC + 1 };
typedef line_calibration_t calibration_t[ARRAYS_MAX][LINE_KINDS][LINES_MAX];

typedef struct {
    bool set;
    double v_read_v, time_max_s;
    law_t law;
} recipe_t;

/* Codes from low to high; none where high < low. */
typedef struct {
    int16_t low, high;
} span_t;

/* The lines of a product, and what codes they may be driven with. */
typedef struct {
    uint8_t driven, measured; /* how many */
    uint8_t line[LINES_MAX];  /* the driven ones, ascending */
    span_t span[LINES_MAX];   /* of each of them */
} selection_t;

typedef struct {
    afe_info_t info;
    limits_t limits;
    calibration_t calibration;
    recipe_t recipes[RECIPES];
    bool driven;   /* lines may be at a voltage; board_ground clears it */
    uint8_t fault; /* why a job failed: FRONT_END or GUARD */
    uint8_t work;  /* work_t: the running job */
    selection_t selection;
    union {
        read_job_t read;
        pulse_job_t pulse;
        write_job_t write;
        product_job_t product;
    } job;
} board_t;

/* Opens the front end and starts as board_reset does. false: it failed, or says of itself what cannot be. */
bool board_open(board_t *board);
/* What a new link does: limits, calibration, recipes and the running job are forgotten. Does not ground. */
void board_reset(board_t *board);
/* All lines to 0 V. false: the front end failed. */
bool board_ground(board_t *board);
/* Forgets the running job, without an answer. */
void board_drop(board_t *board);

#endif
