/* A host for tests of the controller, on the fake front end and the fake port. */
#ifndef EAPU_FAKE_HOST_H
#define EAPU_FAKE_HOST_H

#include "bench.h"
#include "controller.h"
#include "fake_port.h"

enum { HOST_RESEND_MS = 20, HOST_DEAD_MAN_MS = 1000 };

typedef struct {
    uint8_t next; /* sequence number of the next request */
    uint8_t came; /* of the next answer */
    bool mute;    /* acknowledges nothing */
} host_t;

extern controller_t controller;
extern host_t host;

/* A controller that has just booted, on a board of one array of 16 x 8. */
void host_boot(void);
/* The same after HELLO with link id 1, LIMITS and RECIPE (slot 1) of bench.h; the records are empty. */
void host_ready(void);

hello_msg_t host_hello_of(uint32_t link);
void host_hello(const hello_msg_t *m);
/* A frame as it is; nothing is polled. */
void host_give(uint8_t type, uint8_t seq, uint8_t ack, const uint8_t *payload, size_t n);
/* The next sequenced frame; nothing is polled. */
void host_request(uint8_t type, const uint8_t *payload, size_t n);
void host_request_id(uint8_t type, uint32_t id); /* with no field but the id */
void host_pulse(uint32_t id, uint16_t row, uint16_t count); /* of the cell (row, 3) */
void host_write(uint32_t id, uint16_t row, double g_target_S);
void host_read(uint32_t id); /* of the cell (2, 3) */
void host_wait(uint32_t id, uint64_t duration_ns);
/* All rows in, the first two columns out. */
void host_product(uint32_t id, uint32_t vectors);
void host_product_data(uint32_t id, size_t codes, int16_t code);

/* Polls until the controller has nothing to do, and acknowledges what comes, unless mute. */
void host_run(void);
/* Sends STATUS, GROUND, ABORT or CLEAR and returns the answer, which has to come at once. */
status_is_msg_t host_urgent(uint8_t type);
/* The last frame of this type; the test fails when there was none. */
const sent_t *host_answer(uint8_t type);
/* The same, of REFUSED: with this id and reason. */
void host_assert_refused(uint32_t id, reason_t reason);

#endif
