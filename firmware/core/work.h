/* What the jobs remember between their steps. */
#ifndef EAPU_WORK_H
#define EAPU_WORK_H

#include "afe.h"
#include "decide.h"

typedef enum { WORK_NONE, WORK_READ, WORK_PULSE, WORK_WRITE, WORK_PRODUCT } work_t;

typedef enum {
    JOB_MORE,    /* call job_step again */
    JOB_OUTPUT,  /* a frame is ready for job_result, and there is more to come */
    JOB_DONE,    /* the last frame is ready for job_result, which ends the job */
    JOB_STARVED, /* a product waits for PRODUCT_DATA */
    JOB_FAILED   /* board->fault says why; ground, and end the job with job_result(..., true) */
} job_state_t;

/* READ */

typedef struct {
    uint32_t id;
    uint8_t array, count;
    afe_read_t cells[CODES_MAX];
    int16_t codes[CODES_MAX];
} read_job_t;

/* PULSE */

typedef struct {
    afe_pulse_t pulse;
    uint16_t asked, applied;
    uint8_t status;
} pulse_cell_t;

typedef struct {
    uint32_t id;
    uint8_t array, count;
    pulse_cell_t cells[CELLS_MAX];
} pulse_job_t;

/* WRITE */

typedef struct {
    uint16_t row, col;
    int16_t read_code; /* of the row's driver */
    double v_read_v;   /* what that code gives */
    double g_target_S, g_before_S, g_after_S;
    double energy_j;
    uint16_t pulses, reads;
    uint8_t status;
    bool active; /* not stopped yet */
    history_t history;
    decision_t decision;
} write_cell_t;

typedef enum { WRITE_FIRST_READ, WRITE_PULSE, WRITE_READ } write_phase_t;

typedef struct {
    uint32_t id;
    uint8_t array, slot, count;
    uint8_t phase; /* write_phase_t: what comes next */
    uint64_t start_ns;
    write_cell_t cells[CELLS_MAX];
} write_job_t;

/* PRODUCT */

/* Codes that come in gather for one transaction, and then some, so that the link's window drains meanwhile. Those
 * that go out leave before the next transaction, but for less than one frame. */
enum { PRODUCT_IN_ROOM = 1024, PRODUCT_OUT_ROOM = PRODUCT_OUT_MAX + CODES_MAX };

typedef struct {
    uint32_t id;
    uint8_t array, direction, range;
    bool selected; /* the front end knows the lines */
    uint8_t bits[2u * (LINES_MAX / 8u)];
    uint8_t bits_size;
    uint16_t per_call;    /* vectors in one transaction */
    uint32_t left;        /* vectors not measured yet */
    uint64_t owed;        /* codes still to come in */
    uint8_t line;         /* which of the driven lines the next code is for */
    uint16_t in_count, out_count;
    int16_t in[PRODUCT_IN_ROOM], out[PRODUCT_OUT_ROOM];
} product_job_t;

#endif
