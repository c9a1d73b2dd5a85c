/* The only way to the front end's drivers. Each call looks once more, right before the front end, whether what it is
 * about to drive lies inside the limits: requests are refused long before, so what fails here is a mistake of this
 * program, and the board goes to FAULT instead of driving it. */
#ifndef EAPU_DRIVE_H
#define EAPU_DRIVE_H

#include "board.h"

/* false: board->fault says whether the front end failed or the check did. */
bool drive_read(board_t *board, uint8_t array, const afe_read_t *cells, uint8_t count, int16_t *codes);
bool drive_pulse(board_t *board, uint8_t array, const afe_pulse_t *pulses, uint8_t count, uint8_t *compliance);
bool drive_select(board_t *board, uint8_t array, uint8_t direction, uint8_t range, const uint8_t *bits, uint8_t size);
/* `vectors` whole vectors of the lines in board->selection. */
bool drive_product(board_t *board, uint16_t vectors, const int16_t *in, int16_t *out);

#endif
