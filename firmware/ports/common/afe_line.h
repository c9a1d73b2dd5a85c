/* Messages of afe_wire.h as frames on a line of bytes. */
#ifndef EAPU_AFE_LINE_H
#define EAPU_AFE_LINE_H

#include "afe_wire.h"

/* Far beyond what any transaction takes, even on a simulated front end of a busy machine. */
#define AFE_TIMEOUT_US 5000000u

/* The port's. Write: all or false. Read: what is there, at most `room`; waits for a first byte until the deadline
 * (port_now_us); 0 when none came, or the other side is gone. */
bool afe_line_write(const uint8_t *bytes, size_t count);
size_t afe_line_read(uint8_t *bytes, size_t room, uint64_t deadline_us);

bool afe_line_exchange(afe_message_t *message);

#endif
