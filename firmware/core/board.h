/* The board as the controller drives it: configuration, and one job at a time. Nothing here knows the link. */
#ifndef EAPU_BOARD_H
#define EAPU_BOARD_H

#include "afe.h"
#include "job.h"
#include "limits.h"
#include "product_job.h"
#include "pulse_job.h"
#include "read_job.h"
#include "write_job.h"

typedef enum { WORK_NONE, WORK_READ, WORK_PULSE, WORK_WRITE, WORK_PRODUCT } work_t;

/* The lines of a product, and what codes they may be driven with. */
typedef struct {
    uint8_t driven, measured; /* how many */
    uint8_t line[LINES_MAX];  /* the driven ones, ascending */
    span_t span[LINES_MAX];   /* of each of them */
} selection_t;

struct board {
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
};

/* Opens the front end and starts as board_reset does. false: it failed, or says of itself what cannot be. */
bool board_open(board_t *board);
/* What a new link does: limits, calibration, recipes and the running job are forgotten. Does not ground. */
void board_reset(board_t *board);
/* All lines to 0 V. false: the front end failed. */
bool board_ground(board_t *board);

/* {read,pulse,write,product}_start begin a job (only when board->work is WORK_NONE); nothing reaches the front end
 * before the first board_step, and nothing ever when they refuse. */

/* One transaction with the front end at most. */
job_state_t board_step(board_t *board);
/* The frame that JOB_OUTPUT or JOB_DONE announced: its message number and its payload of at most PAYLOAD_MAX bytes;
 * returns the payload's size. aborted: ends the job, wherever it is; returns 0 for a READ or a PRODUCT, which
 * then has no answer of its own. */
size_t board_result(board_t *board, uint8_t *type, uint8_t *payload, bool aborted);
/* Forgets the running job, without an answer. */
void board_drop(board_t *board);

#endif
