#include "convert.h"

#include <math.h>

enum { CODE_FAR = 1 << 20 }; /* beyond every converter, and far from overflow */

/* Divided by, not multiplied with 1e-6: that gives the very number the host reads in its bench file, so that both
 * find the same code also where the limit lies half way between two. */
static const double MICRO = 1e6;

double convert_scaled(double value, double scale)
{
    return floor(value * scale + 0.5);
}

int32_t convert_code(double volts, double step_v, line_calibration_t line)
{
    const double code = floor((volts - (double)line.offset) / (step_v * (double)line.gain) + 0.5);
    if (!(code < CODE_FAR)) {
        return CODE_FAR;
    }
    return code > -CODE_FAR ? (int32_t)code : -CODE_FAR;
}

double convert_volts(int32_t code, double step_v, line_calibration_t line)
{
    return (double)code * step_v * (double)line.gain + (double)line.offset;
}

double convert_amperes(int32_t code, double full_scale_a, uint16_t top, line_calibration_t line)
{
    return full_scale_a * ((double)code / (double)top * (double)line.gain + (double)line.offset);
}

static double step_v(int32_t full_scale_uv, uint16_t top)
{
    return (double)full_scale_uv / MICRO / (double)top;
}

static double read_step_v(const board_t *board)
{
    return step_v(board->info.read_full_scale_uv, board->info.read_top);
}

int32_t convert_read_code(const board_t *board, uint8_t array, uint8_t kind, uint16_t line, double uv)
{
    return convert_code(uv / MICRO, read_step_v(board), board->calibration[array][kind][line]);
}

double convert_read_volts(const board_t *board, uint8_t array, uint8_t kind, uint16_t line, int32_t code)
{
    return convert_volts(code, read_step_v(board), board->calibration[array][kind][line]);
}

/* SET and FORM drive the column, RESET the row. */
int32_t convert_pulse_code(const board_t *board, uint8_t array, int32_t polarity, uint16_t row, uint16_t col, double uv)
{
    const bool down = polarity == POLARITY_RESET;
    const line_calibration_t line =
        board->calibration[array][down ? LINE_KIND_ROW_DAC : LINE_KIND_COL_DAC][down ? row : col];
    return convert_code(uv / MICRO, step_v(board->info.pulse_full_scale_uv, board->info.pulse_top), line);
}

/* Gate drivers give no negative voltage: where the offset asks for one, 0 is as low as they get. */
int32_t convert_gate_code(const board_t *board, uint8_t array, uint16_t row, double uv)
{
    const line_calibration_t line = board->calibration[array][LINE_KIND_GATE_DAC][row];
    const int32_t code = convert_code(uv / MICRO, step_v(board->info.gate_full_scale_uv, board->info.gate_top), line);
    return code > 0 ? code : 0;
}

double convert_siemens(const board_t *board, uint8_t array, uint16_t col, int32_t code, double v_read_v)
{
    const afe_info_t *info = &board->info;
    const double full_scale_a = (double)info->range_full_scale_a[info->read_range];
    return convert_amperes(code, full_scale_a, info->adc_top, board->calibration[array][LINE_KIND_COL_ADC][col]) /
           v_read_v;
}

static span_t span_of(int32_t low, int32_t high, int32_t bottom, int32_t top)
{
    span_t span;
    span.low = (int16_t)(low > bottom ? (low < top ? low : top) : bottom);
    span.high = (int16_t)(high < top ? (high > bottom ? high : bottom) : top);
    return span;
}

span_t convert_read_span(const board_t *board, uint8_t array, uint8_t kind, uint16_t line)
{
    const double most_uv = (double)board->limits.v_read_max_uv;
    const int32_t top = board->info.read_top;
    return span_of(convert_read_code(board, array, kind, line, -most_uv),
                   convert_read_code(board, array, kind, line, most_uv), -top, top);
}

/* From 1: a pulse that the converter rounds to nothing is none. */
span_t convert_pulse_span(const board_t *board, uint8_t array, int32_t polarity, uint16_t row, uint16_t col)
{
    const double most_uv = (double)board->limits.v_max_uv;
    const int32_t high = convert_pulse_code(board, array, polarity, row, col, most_uv);
    const int32_t top = board->info.pulse_top;
    const span_t span = {1, (int16_t)(high < top ? (high > 0 ? high : 0) : top)};
    return span;
}

span_t convert_gate_span(const board_t *board, uint8_t array, uint16_t row)
{
    const double most_uv = (double)board->limits.v_gate_max_uv;
    const int32_t high = convert_gate_code(board, array, row, most_uv);
    const int32_t top = board->info.gate_top;
    const span_t span = {0, (int16_t)(high < top ? high : top)};
    return span;
}

bool span_holds(span_t span, int32_t code)
{
    return code >= span.low && code <= span.high;
}
