/* Limits and calibration: what the host configures, and what the board refuses of it. */
#ifndef EAPU_BOARD_LIMITS_H
#define EAPU_BOARD_LIMITS_H

#include "board.h"
#include "verdict.h"

/* Each takes the payload of its message. Nothing changes when it is refused. limits_set arms the front end and
 * refuses with FRONT_END where that fails. */
verdict_t limits_set(board_t *board, const uint8_t *payload, size_t n);
verdict_t calibrate_set(board_t *board, const uint8_t *payload, size_t n);

/* The payload of LIMITS_ARE; returns its size. NOT_CONFIGURED is the caller's to answer: see board->limits.set. */
size_t limits_get(const board_t *board, uint32_t id, uint8_t *payload);

/* A cell of an array of this board? `index` is the record's. */
verdict_t limits_check_cell(const board_t *board, uint8_t array, uint16_t row, uint16_t col, size_t index);

#endif
