/* Recipes: how the host configures write-verify, and what the board refuses of it. */
#ifndef EAPU_RECIPE_H
#define EAPU_RECIPE_H

#include "board.h"
#include "verdict.h"

/* Takes the payload of RECIPE. Nothing changes when it is refused. */
verdict_t recipe_set(board_t *board, const uint8_t *payload, size_t n);

/* Whether nothing in a recipe that was set goes beyond the limits of now. */
verdict_t recipe_check(const limits_t *limits, const recipe_t *recipe);

#endif
