#include "board.h"

#include <math.h>
#include <string.h>

/* A front end that says of itself what no table here can hold, or what would divide by zero, is not driven. */
static bool info_possible(const afe_info_t *info)
{
    const bool geometry = info->arrays > 0 && info->arrays <= ARRAYS_MAX && info->rows > 0 &&
                          info->rows <= LINES_MAX && info->cols > 0 && info->cols <= LINES_MAX;
    const uint16_t tops[] = {info->read_top, info->pulse_top, info->gate_top, info->adc_top};
    bool converters = info->read_full_scale_uv > 0 && info->pulse_full_scale_uv > 0 && info->gate_full_scale_uv > 0 &&
                      info->ranges > 0 && info->ranges <= RANGES_MAX && info->read_range < info->ranges;
    for (size_t i = 0; i < sizeof tops / sizeof tops[0]; i++) {
        converters = converters && tops[i] > 0 && tops[i] <= INT16_MAX;
    }
    for (size_t i = 0; converters && i < info->ranges; i++) {
        converters = isfinite(info->range_full_scale_a[i]) && info->range_full_scale_a[i] > 0.0f;
    }
    return geometry && converters;
}

bool board_open(board_t *board)
{
    memset(board, 0, sizeof *board);
    board->driven = true; /* nobody knows what the lines did before */
    board_reset(board);
    return afe_open(&board->info) && info_possible(&board->info);
}

void board_reset(board_t *board)
{
    static const line_calibration_t NOMINAL = {1.0f, 0.0f};
    board->limits.set = false;
    for (size_t array = 0; array < ARRAYS_MAX; array++) {
        for (size_t kind = 0; kind < LINE_KINDS; kind++) {
            for (size_t line = 0; line < LINES_MAX; line++) {
                board->calibration[array][kind][line] = NOMINAL;
            }
        }
    }
    for (size_t slot = 0; slot < RECIPES; slot++) {
        board->recipes[slot].set = false;
    }
    board_drop(board);
}

bool board_ground(board_t *board)
{
    const bool grounded = afe_ground();
    board->driven = board->driven && !grounded;
    return grounded;
}

void board_drop(board_t *board)
{
    board->work = WORK_NONE;
}
