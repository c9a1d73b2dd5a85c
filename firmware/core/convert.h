/* Codes of the converters to volts, amperes and siemens and back, with the calibration of each line. Pure. */
#ifndef EAPU_CONVERT_H
#define EAPU_CONVERT_H

#include "board.h"

/* The code next to `volts`; it may lie beyond the ends of the converter. step_v: volts of one code. */
int32_t convert_code(double volts, double step_v, line_calibration_t line);
double convert_volts(int32_t code, double step_v, line_calibration_t line);
double convert_amperes(int32_t code, double full_scale_a, uint16_t top, line_calibration_t line);

/* The same for a line of a board; kind: ROW_DAC or COL_DAC, which serve reads and pulses alike. */
int32_t convert_read_code(const board_t *board, uint8_t array, uint8_t kind, uint16_t line, double uv);
double convert_read_volts(const board_t *board, uint8_t array, uint8_t kind, uint16_t line, int32_t code);
int32_t convert_pulse_code(const board_t *board, uint8_t array, int32_t polarity, uint16_t row, uint16_t col,
                           double uv);
int32_t convert_gate_code(const board_t *board, uint8_t array, uint16_t row, double uv);
/* Conductance of a cell from the code that its column measured in the read range. */
double convert_siemens(const board_t *board, uint8_t array, uint16_t col, int32_t code, double v_read_v);

/* The codes that a line may be driven with: from and to those that the limits themselves convert to, as far as the
 * converter goes. */
span_t convert_read_span(const board_t *board, uint8_t array, uint8_t kind, uint16_t line);
span_t convert_pulse_span(const board_t *board, uint8_t array, int32_t polarity, uint16_t row, uint16_t col);
span_t convert_gate_span(const board_t *board, uint8_t array, uint16_t row);
bool span_holds(span_t span, int32_t code);

/* SI to micro- or nano-units, rounded to a whole number; a double, for it may be larger than any integer. */
double convert_scaled(double value, double scale);

#endif
