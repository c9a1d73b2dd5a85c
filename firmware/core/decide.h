/* The write-verify decision for one cell: the same formulas as decide() of eapu_hil/hal/writeverify.py. Pure. */
#ifndef EAPU_DECIDE_H
#define EAPU_DECIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "protocol.h"

typedef struct {
    double start_v, step_v, stop_v;
} ramp_t;

/* eapu_hil/hal/recipe.py, in SI. */
typedef struct {
    double band_S;
    ramp_t gate; /* of SET */
    double gate_offset_v, gate_slope_S_per_v;
    ramp_t set;
    double set_width_s;
    double reset_gate_v;
    ramp_t reset;
    double reset_width_s;
    int32_t pulses_max, flips_max, pulses_at_cap_max;
    bool rewrite_in_band;
} law_t;

/* What is remembered of a cell between readings; the fields are those of History in writeverify.py. */
typedef struct {
    double g_first_S;
    double gate_v, set_amplitude_v, reset_amplitude_v;
    int32_t direction, pulses, flips, at_cap;
    bool confirming, moved, probed;
} history_t;

typedef enum {
    ACTION_RESET = POLARITY_RESET,
    ACTION_CONFIRM = 0,
    ACTION_SET = POLARITY_SET,
    ACTION_STOP = 2
} action_t;

typedef struct {
    double amplitude_v, gate_v, width_s; /* of the pulse, where the action is one */
    int32_t action;                      /* action_t */
    uint8_t status;                      /* of a cell that stops */
} decision_t;

/* A cell that was read once and not pulsed yet. */
history_t history_start(double g_first_S);

/* The next step of a cell; `history` becomes the next history. */
decision_t decide(const law_t *law, double g_target_S, double g_read_S, history_t *history);

#endif
