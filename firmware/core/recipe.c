#include "recipe.h"

#include <math.h>

#include "convert.h"

static const double MICRO = 1e6, NANO = 1e9;

/* Whether the fields can be a recipe at all. */
static verdict_t check_fields(const recipe_msg_t *m)
{
    const double real[] = {
        m->g_min_S,          m->g_max_S,         m->band_S,           m->v_read_v,
        m->set_gate_start_v, m->set_gate_step_v, m->set_gate_stop_v,  m->set_gate_offset_v,
        m->set_gate_slope_S_per_v, m->set_start_v, m->set_step_v,     m->set_stop_v,
        m->set_width_s,      m->reset_gate_v,    m->reset_start_v,    m->reset_step_v,
        m->reset_stop_v,     m->reset_width_s,   m->time_max_s,
    };
    for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
        const size_t field = RECIPE_PLACE_G_MIN_S + i; /* the first of the real numbers */
        const bool any_sign = field == RECIPE_PLACE_SET_GATE_OFFSET_V;
        if (!isfinite(real[i]) || (!any_sign && real[i] <= 0.0)) {
            return verdict_refused(REASON_BAD_VALUE, field, real[i], 0.0);
        }
    }
    const uint16_t whole[] = {m->pulses_max, m->flips_max, m->pulses_at_cap_max};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        if (whole[i] == 0) {
            return verdict_refused(REASON_BAD_VALUE, RECIPE_PLACE_PULSES_MAX + i, 0.0, 1.0);
        }
    }
    if (m->rewrite_in_band > 1) {
        return verdict_refused(REASON_BAD_VALUE, RECIPE_PLACE_REWRITE_IN_BAND, m->rewrite_in_band, 1.0);
    }
    return verdict_accepted();
}

/* Whether they agree with each other, and with a front end that counts nanoseconds. */
static verdict_t check_order(const recipe_msg_t *m)
{
    const struct {
        double value, least;
        size_t field;
    } ordered[] = {
        {m->set_gate_stop_v, m->set_gate_start_v, RECIPE_PLACE_SET_GATE_STOP_V},
        {m->set_stop_v, m->set_start_v, RECIPE_PLACE_SET_STOP_V},
        {m->reset_stop_v, m->reset_start_v, RECIPE_PLACE_RESET_STOP_V},
        {convert_scaled(m->set_width_s, NANO), 1.0, RECIPE_PLACE_SET_WIDTH_S},
        {convert_scaled(m->reset_width_s, NANO), 1.0, RECIPE_PLACE_RESET_WIDTH_S},
    };
    for (size_t i = 0; i < sizeof ordered / sizeof ordered[0]; i++) {
        if (ordered[i].value < ordered[i].least) {
            return verdict_refused(REASON_BAD_VALUE, ordered[i].field, ordered[i].value, ordered[i].least);
        }
    }
    if (m->g_max_S <= m->g_min_S) {
        return verdict_refused(REASON_BAD_VALUE, RECIPE_PLACE_G_MAX_S, m->g_max_S, m->g_min_S);
    }
    return verdict_accepted();
}

verdict_t recipe_check(const limits_t *limits, const recipe_t *recipe)
{
    const law_t *law = &recipe->law;
    const struct {
        double asked, most, scale;
        uint8_t reason, field;
    } bounds[] = {
        {recipe->v_read_v, limits->v_read_max_uv, MICRO, REASON_V_READ_MAX, RECIPE_PLACE_V_READ_V},
        {law->set.stop_v, limits->v_max_uv, MICRO, REASON_V_MAX, RECIPE_PLACE_SET_STOP_V},
        {law->reset.stop_v, limits->v_max_uv, MICRO, REASON_V_MAX, RECIPE_PLACE_RESET_STOP_V},
        {law->gate.stop_v, limits->v_gate_max_uv, MICRO, REASON_V_GATE_MAX, RECIPE_PLACE_SET_GATE_STOP_V},
        {law->reset_gate_v, limits->v_gate_max_uv, MICRO, REASON_V_GATE_MAX, RECIPE_PLACE_RESET_GATE_V},
        {law->set_width_s, limits->width_max_ns, NANO, REASON_WIDTH_MAX, RECIPE_PLACE_SET_WIDTH_S},
        {law->reset_width_s, limits->width_max_ns, NANO, REASON_WIDTH_MAX, RECIPE_PLACE_RESET_WIDTH_S},
        {law->pulses_max, limits->pulses_per_cell_max, 1.0, REASON_PULSES_MAX, RECIPE_PLACE_PULSES_MAX},
    };
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (convert_scaled(bounds[i].asked, bounds[i].scale) > bounds[i].most) {
            const double allowed = bounds[i].most / bounds[i].scale;
            return verdict_refused(bounds[i].reason, bounds[i].field, bounds[i].asked, allowed);
        }
    }
    return verdict_accepted();
}

/* g_min_S and g_max_S are for the host's mapping: write-verify takes targets as they come, as in Python. */
static recipe_t made(const recipe_msg_t *m)
{
    const recipe_t recipe = {
        .set = true,
        .v_read_v = m->v_read_v,
        .time_max_s = m->time_max_s,
        .law = {.band_S = m->band_S,
                .gate = {m->set_gate_start_v, m->set_gate_step_v, m->set_gate_stop_v},
                .gate_offset_v = m->set_gate_offset_v,
                .gate_slope_S_per_v = m->set_gate_slope_S_per_v,
                .set = {m->set_start_v, m->set_step_v, m->set_stop_v},
                .set_width_s = m->set_width_s,
                .reset_gate_v = m->reset_gate_v,
                .reset = {m->reset_start_v, m->reset_step_v, m->reset_stop_v},
                .reset_width_s = m->reset_width_s,
                .pulses_max = m->pulses_max,
                .flips_max = m->flips_max,
                .pulses_at_cap_max = m->pulses_at_cap_max,
                .rewrite_in_band = m->rewrite_in_band != 0},
    };
    return recipe;
}

verdict_t recipe_set(board_t *board, const uint8_t *payload, size_t n)
{
    recipe_msg_t m;
    if (!recipe_unpack(&m, payload, n)) {
        return verdict_refused(REASON_BAD_LENGTH, 0, (double)n, RECIPE_SIZE);
    }
    if (!board->limits.set) {
        return verdict_refused(REASON_NOT_CONFIGURED, 0, 0.0, 0.0);
    }
    if (m.slot >= RECIPES) {
        return verdict_refused(REASON_BAD_VALUE, RECIPE_PLACE_SLOT, m.slot, RECIPES - 1);
    }
    verdict_t verdict = check_fields(&m);
    if (verdict.reason == REASON_NONE) {
        verdict = check_order(&m);
    }
    const recipe_t recipe = made(&m);
    if (verdict.reason == REASON_NONE) {
        verdict = recipe_check(&board->limits, &recipe);
    }
    if (verdict.reason == REASON_NONE) {
        board->recipes[m.slot] = recipe;
    }
    return verdict;
}
