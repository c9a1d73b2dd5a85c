/* A front end inside the program, whose answers cost nothing: perfect cells, for measuring everything else. */
#ifndef EAPU_AFE_FREE_H
#define EAPU_AFE_FREE_H

#include "afe_wire.h"

/* false: no board has such a geometry. */
bool afe_free_start(unsigned rows, unsigned cols, unsigned arrays);
/* Puts the answer in the request's place. */
void afe_free_answer(afe_message_t *message);

#endif
