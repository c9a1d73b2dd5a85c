/* The front end as messages (the `afe` part of protocol.yaml), for ports whose front end is somewhere else. */
#ifndef EAPU_AFE_WIRE_H
#define EAPU_AFE_WIRE_H

#include "afe.h"

typedef struct {
    uint8_t type;
    size_t size;
    uint8_t payload[AFE_PAYLOAD_MAX];
} afe_message_t;

/* The port's: has the request answered, and puts the answer in its place. false: none came in time. */
bool afe_exchange(afe_message_t *message);

#endif
