/* The link to the host: frames in order, once each, sent again until acknowledged (selective repeat).
 *
 * Every frame but HELLO, ACK, NAK, STATUS, GROUND, ABORT and CLEAR is sequenced. Those that come in wait in a queue
 * until the controller takes them. They are acknowledged at once, save that never more than LINK_WINDOW acknowledged
 * frames wait: a host that keeps to the window cannot overrun the queue, however slow the work is. What comes before its
 * turn waits in its place in the queue, and only what is missing is asked for.
 */
#ifndef EAPU_LINK_H
#define EAPU_LINK_H

#include "frame.h"
#include "protocol.h"

enum { LINK_WINDOW = 16, LINK_QUEUE = 2 * LINK_WINDOW };

typedef struct {
    uint8_t type, size;
    uint8_t payload[PAYLOAD_MAX];
} link_item_t;

typedef struct {
    uint32_t rx_frames, rx_damaged, rx_gaps, tx_frames, tx_resent;
} link_counters_t;

typedef struct {
    bool open;
    frame_decoder_t decoder;
    uint8_t content[FRAME_CONTENT(PAYLOAD_MAX)];
    link_counters_t counters;
    uint64_t last_rx_us; /* the last valid frame */
    uint32_t resend_us;  /* the shortest time until a frame is sent again */

    link_item_t queue[LINK_QUEUE]; /* came in, not taken yet */
    uint8_t queue_head, queue_count;
    uint8_t expected; /* next sequence number to come in */
    uint16_t held;    /* bit i: expected + 1 + i came early and lies in its place behind the queue */
    uint8_t acked;    /* what the last frame sent said of it */
    uint64_t owed_us; /* since when an acknowledgement is owed */
    bool owed;
    bool urged; /* the host sent again what came in before: it wants to know */
    bool nak_sent;
    uint64_t nak_us;

    link_item_t sent[LINK_WINDOW]; /* not acknowledged yet */
    uint8_t sent_head, sent_count;
    uint8_t base; /* sequence number of the first of them */
    uint64_t sent_us;
    uint32_t wait_us; /* doubles with every resend */
} link_t;

void link_init(link_t *link);
/* Forgets both directions: sequence numbers start at 0 and the queue is empty. */
void link_open(link_t *link, uint32_t resend_us, uint64_t now_us);
void link_close(link_t *link);

/* true: an unsequenced frame came in that the controller has to handle now, in link->decoder. While the link is not
 * open, that is HELLO alone. */
bool link_feed(link_t *link, uint8_t byte, uint64_t now_us);

/* The request at the head of the queue, or NULL. */
const link_item_t *link_head(const link_t *link);
void link_pop(link_t *link);

/* Requests that the host has sent before now, as far as we know: those in the queue, those that came early, and those
 * missing before them. */
uint8_t link_awaited(const link_t *link);

/* Sequenced frames that may be sent now. */
static inline size_t link_room(const link_t *link)
{
    return link->open ? (size_t)(LINK_WINDOW - link->sent_count) : 0u;
}
/* false: there is no room, nothing was sent. */
bool link_send(link_t *link, uint8_t type, const uint8_t *payload, size_t n, uint64_t now_us);
void link_send_unsequenced(link_t *link, uint8_t type, const uint8_t *payload, size_t n);

/* Sends again what waited too long, and an acknowledgement where one is due: at once when `idle`, since no answer is
 * to come that would carry it; else when it has waited for a quarter of the resend time, or for LINK_WINDOW / 4
 * frames. */
void link_poll(link_t *link, bool idle, uint64_t now_us);

#endif
