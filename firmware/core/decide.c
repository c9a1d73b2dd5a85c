#include "decide.h"

#include <math.h>

/* The names and the order of the terms follow writeverify.py, so that both give the same bits: no fused
 * multiply-add (-ffp-contract=off), no reordering. */

typedef struct {
    double gate_v, amplitude_v;
    bool strongest; /* no pulse stronger than this one */
} step_t;

/* Where a cell stands. */
typedef struct {
    bool stop, confirm, probe, flipped, moved;
    int32_t flips;
    uint8_t status;
} standing_t;

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

history_t history_start(double g_first_S)
{
    const history_t history = {.g_first_S = g_first_S};
    return history;
}

/* Gate voltage and amplitude of the next SET. */
static step_t next_set(const law_t *law, double g_target_S, double error_S, const history_t *history)
{
    const bool again = history->direction == ACTION_SET;
    step_t next;
    if (history->gate_v == 0.0) {
        next.gate_v = law->gate_offset_v + g_target_S / law->gate_slope_S_per_v;
    } else if (again) {
        /* The last SET left the cell low by -error: raise the gate by what the line says, at least by one step. */
        next.gate_v = history->gate_v + larger(-error_S / law->gate_slope_S_per_v, law->gate.step_v);
    } else {
        next.gate_v = history->gate_v;
    }
    next.gate_v = smaller(larger(next.gate_v, law->gate.start_v), law->gate.stop_v);
    const bool gate_spent = again && history->gate_v >= law->gate.stop_v;
    const double stepped_v = smaller(history->set_amplitude_v + law->set.step_v, law->set.stop_v);
    next.amplitude_v = gate_spent ? stepped_v : law->set.start_v;
    next.strongest = next.gate_v >= law->gate.stop_v && next.amplitude_v >= law->set.stop_v;
    return next;
}

/* Amplitude of the next RESET. */
static step_t next_reset(const law_t *law, const history_t *history)
{
    const bool again = history->direction == ACTION_RESET;
    const double stepped_v = smaller(history->reset_amplitude_v + law->reset.step_v, law->reset.stop_v);
    step_t next;
    next.gate_v = law->reset_gate_v;
    next.amplitude_v = again ? stepped_v : law->reset.start_v;
    next.strongest = next.amplitude_v >= law->reset.stop_v;
    return next;
}

/* Whether a cell is in place, has met a cap, or goes on. */
static standing_t assess(const law_t *law, double error_S, double g_read_S, int32_t wanted, bool strongest,
                         const history_t *history)
{
    const double size_S = fabs(error_S);
    const bool in_band = size_S <= law->band_S && (!law->rewrite_in_band || history->pulses > 0);
    const bool turned = history->direction != 0 && wanted != history->direction;
    standing_t at;
    at.flips = history->flips + (turned && !in_band ? 1 : 0);
    const bool spent = strongest && !turned && history->at_cap >= law->pulses_at_cap_max;
    const bool over = history->pulses >= law->pulses_max || at.flips > law->flips_max;
    /* A ramp goes on to the middle half of the band: cells that just crossed its edge would bias the result. */
    const bool on_the_way =
        history->direction != 0 && !turned && !history->confirming && size_S > law->band_S / 2;
    const bool inside = in_band && (!on_the_way || spent || over);

    at.moved = history->moved || fabs(g_read_S - history->g_first_S) > law->band_S;
    const bool stuck = !in_band && history->probed && !at.moved;
    at.probe = !inside && spent && !at.moved && !history->probed && !over;
    const bool limit = !inside && spent && !at.probe && !stuck;
    const bool capped = !inside && over && !limit && !stuck;
    at.status = CELL_STATUS_OK;
    if (stuck) {
        at.status = CELL_STATUS_STUCK;
    } else if (limit) {
        at.status = CELL_STATUS_LIMIT;
    } else if (capped) {
        at.status = CELL_STATUS_NOT_CONVERGED;
    }
    at.stop = (inside && history->confirming) || at.status != CELL_STATUS_OK;
    at.confirm = inside && !history->confirming;
    at.flipped = turned && !inside;
    return at;
}

/* What stays in memory of the step that was decided. */
static void remember(history_t *history, const standing_t *at, bool pulsed, int32_t kind, const step_t *next,
                     double overshot_v, bool strongest)
{
    if (pulsed && kind == ACTION_SET) {
        history->gate_v = next->gate_v;
        history->set_amplitude_v = next->amplitude_v;
    } else {
        history->gate_v = history->gate_v - overshot_v;
        history->reset_amplitude_v = pulsed ? next->amplitude_v : history->reset_amplitude_v;
    }
    if (pulsed) {
        history->direction = kind;
        history->pulses += 1;
        history->flips = at->flips;
        history->at_cap = strongest && !at->flipped ? history->at_cap + 1 : 0;
    }
    history->confirming = at->confirm;
    history->moved = at->moved;
    history->probed = history->probed || at->probe;
}

decision_t decide(const law_t *law, double g_target_S, double g_read_S, history_t *history)
{
    const double error_S = g_read_S - g_target_S;
    const int32_t wanted = error_S < 0.0 ? ACTION_SET : ACTION_RESET;
    step_t set = next_set(law, g_target_S, error_S, history);
    step_t reset = next_reset(law, history);
    const bool strongest = wanted == ACTION_SET ? set.strongest : reset.strongest;
    const standing_t at = assess(law, error_S, g_read_S, wanted, strongest, history);

    if (at.probe) { /* the strongest pulse the other way shows whether the cell moves at all */
        set.gate_v = law->gate.stop_v;
        set.amplitude_v = law->set.stop_v;
        reset.amplitude_v = law->reset.stop_v;
    }
    const int32_t kind = at.probe ? -wanted : wanted;
    const step_t *next = kind == ACTION_SET ? &set : &reset;
    const bool overshot = at.flipped && history->direction == ACTION_SET;
    const double overshot_v = overshot ? error_S / law->gate_slope_S_per_v : 0.0;
    remember(history, &at, !at.stop && !at.confirm, kind, next, overshot_v, strongest);

    decision_t decision;
    decision.amplitude_v = next->amplitude_v;
    decision.gate_v = next->gate_v;
    decision.width_s = kind == ACTION_SET ? law->set_width_s : law->reset_width_s;
    decision.action = at.stop ? ACTION_STOP : (at.confirm ? ACTION_CONFIRM : kind);
    decision.status = at.status;
    return decision;
}
