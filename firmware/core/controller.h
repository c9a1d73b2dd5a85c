/* The controller: one host, one board, one request at a time. A port runs it from its main loop:
 *
 *     controller_init(&controller, &identity);
 *     for (;;) {
 *         controller_receive(&controller, all that came in since);
 *         controller_poll(&controller);
 *         if nothing came in and controller_idle(&controller): sleep until input, 1 ms at most
 *     }
 */
#ifndef EAPU_CONTROLLER_H
#define EAPU_CONTROLLER_H

#include "board.h"
#include "link.h"
#include "port.h"
#include "requests.h"

/* Not to be moved once it is initialised: its parts point at each other. */
typedef struct {
    port_identity_t identity;
    link_t link;
    board_t board;
    requests_t requests;
    bool opened; /* the front end answered */
    uint8_t fault;
    uint64_t ground_tried_us; /* when the last try to ground ended */
    uint32_t link_id, dead_man_us;
    bool silent; /* the host, for longer than the dead-man time */
} controller_t;

void controller_init(controller_t *c, const port_identity_t *identity);
/* Takes bytes from the host, and answers at once what cannot wait: STATUS, GROUND, ABORT, CLEAR, HELLO. */
void controller_receive(controller_t *c, const uint8_t *bytes, size_t count);
/* One step: timers, then one transaction with the front end at most, or the start of the next request. */
void controller_poll(controller_t *c);
/* Nothing to do before the next input or timer. */
bool controller_idle(const controller_t *c);
/* Nothing runs, nothing waits, every line is at 0 V: the port may end. */
bool controller_resting(const controller_t *c);
/* Grounds, ends the running request and enters FAULT. A port calls it when its own guard fired. */
void controller_fault(controller_t *c, fault_t fault);

#endif
