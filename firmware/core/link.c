#include "link.h"

#include "port.h"

enum { RESEND_MAX_US = 1000000, HELD_MAX = 16 }; /* bits of a NAK */

/* What is on the line lies at most a window before the frame that is expected, or a window after it. As both are
 * less than half the numbers, an old frame is never taken for a new one. */
_Static_assert(2 * LINK_WINDOW <= 256 && HELD_MAX < 128, "sequence numbers are too few for the window");

void link_init(link_t *link)
{
    memset(link, 0, sizeof *link);
    frame_decoder_init(&link->decoder, link->content, sizeof link->content);
}

void link_open(link_t *link, uint32_t resend_us, uint64_t now_us)
{
    link_close(link);
    link->open = true;
    link->resend_us = resend_us < RESEND_MAX_US ? resend_us : RESEND_MAX_US;
    link->wait_us = link->resend_us;
    link->last_rx_us = now_us;
}

void link_close(link_t *link)
{
    link->open = false;
    link->queue_head = link->queue_count = 0;
    link->sent_head = link->sent_count = 0;
    link->expected = link->acked = link->base = 0;
    link->held = 0;
    link->owed = link->urged = link->nak_sent = false;
}

static bool unsequenced(uint8_t type)
{
    switch (type) {
    case MSG_HELLO:
    case MSG_ACK:
    case MSG_NAK:
    case MSG_STATUS:
    case MSG_GROUND:
    case MSG_ABORT:
    case MSG_CLEAR:
        return true;
    default:
        return false;
    }
}

/* The next frame expected, less those that wait beyond the window. */
static uint8_t ack_of(const link_t *link)
{
    const int beyond = (int)link->queue_count - LINK_WINDOW;
    return (uint8_t)(link->expected - (beyond > 0 ? beyond : 0));
}

static void transmit(link_t *link, uint8_t type, uint8_t seq, const uint8_t *payload, size_t n)
{
    uint8_t bytes[FRAME_ENCODED(PAYLOAD_MAX)];
    const uint8_t ack = ack_of(link);
    const size_t count = frame_encode(bytes, sizeof bytes, type, seq, ack, payload, n);

    if (count == 0) {
        return;
    }
    link->acked = ack;
    link->owed = link->urged = false;
    link->counters.tx_frames++;
    port_send(bytes, count);
}

void link_send_unsequenced(link_t *link, uint8_t type, const uint8_t *payload, size_t n)
{
    transmit(link, type, 0, payload, n);
}

bool link_send(link_t *link, uint8_t type, const uint8_t *payload, size_t n, uint64_t now_us)
{
    link_item_t *item;

    if (link_room(link) == 0 || n > PAYLOAD_MAX) {
        return false;
    }
    item = &link->sent[(link->sent_head + link->sent_count) % LINK_WINDOW];
    item->type = type;
    item->size = (uint8_t)n;
    memcpy(item->payload, payload, n);
    if (link->sent_count == 0) {
        link->sent_us = now_us;
        link->wait_us = link->resend_us;
    }
    transmit(link, type, (uint8_t)(link->base + link->sent_count), payload, n);
    link->sent_count++;
    return true;
}

static void resend(link_t *link, uint8_t i)
{
    const link_item_t *item = &link->sent[(link->sent_head + i) % LINK_WINDOW];
    transmit(link, item->type, (uint8_t)(link->base + i), item->payload, item->size);
    link->counters.tx_resent++;
}

static void resend_all(link_t *link, uint64_t now_us)
{
    for (uint8_t i = 0; i < link->sent_count; i++) {
        resend(link, i);
    }
    link->sent_us = now_us;
}

/* Answers a NAK: what is missing goes out again, and nothing else. */
static void repair(link_t *link, const uint8_t *payload, size_t n, uint64_t now_us)
{
    nak_msg_t m;
    if (!nak_unpack(&m, payload, n)) {
        return;
    }
    uint8_t i = (uint8_t)(m.missing - link->base);
    if (i >= link->sent_count) {
        return; /* it has come meanwhile, or was never sent */
    }
    resend(link, i++);
    for (; m.held != 0 && i < link->sent_count; m.held >>= 1, i++) {
        if ((m.held & 1u) == 0) {
            resend(link, i);
        }
    }
    link->sent_us = now_us;
}

static void acknowledged(link_t *link, uint8_t ack, uint64_t now_us)
{
    const uint8_t progress = (uint8_t)(ack - link->base);

    if (progress == 0 || progress > link->sent_count) {
        return; /* nothing new, or an old frame that took its time */
    }
    link->sent_head = (uint8_t)((link->sent_head + progress) % LINK_WINDOW);
    link->sent_count = (uint8_t)(link->sent_count - progress);
    link->base = ack;
    link->wait_us = link->resend_us;
    link->sent_us = now_us;
}

static void send_nak(link_t *link, uint64_t now_us)
{
    const nak_msg_t m = {link->expected, link->held};
    uint8_t payload[NAK_SIZE];
    link->nak_sent = true;
    link->nak_us = now_us;
    link_send_unsequenced(link, MSG_NAK, payload, nak_pack(&m, payload));
}

/* A frame is damaged or missing. Says so once; again only when the answer to that seems lost too. */
static void complain(link_t *link, uint64_t now_us)
{
    if (link->open && (!link->nak_sent || now_us - link->nak_us >= link->resend_us)) {
        send_nak(link, now_us);
    }
}

static void owe(link_t *link, uint64_t now_us)
{
    if (!link->owed) {
        link->owed_us = now_us;
    }
    link->owed = true;
}

/* Puts the frame behind the queue, with room for `ahead` that are missing before it. */
static void keep(link_t *link, uint8_t ahead)
{
    const frame_decoder_t *frame = &link->decoder;
    link_item_t *item = &link->queue[(link->queue_head + link->queue_count + ahead) % LINK_QUEUE];
    item->type = frame->type;
    item->size = (uint8_t)frame->size;
    memcpy(item->payload, frame->payload, frame->size);
}

/* A frame before its turn: those before it that have not come were sent, and lost. */
static void accept_early(link_t *link, uint8_t ahead, uint64_t now_us)
{
    const bool fits = ahead <= HELD_MAX && link->queue_count + ahead < LINK_QUEUE;
    const uint16_t bit = (uint16_t)(fits ? 1u << (ahead - 1) : 0u);

    link->counters.rx_gaps++;
    if (!fits || (link->held & bit) != 0) {
        complain(link, now_us);
        return;
    }
    /* more is missing than was asked for: neither the frame before this one came, nor any after it */
    const bool more = ahead > 1 && link->held >> (ahead - 2) == 0;
    keep(link, ahead);
    link->held |= bit;
    if (more) {
        send_nak(link, now_us);
    } else {
        complain(link, now_us);
    }
}

static void accept(link_t *link, uint64_t now_us)
{
    const uint8_t ahead = (uint8_t)(link->decoder.seq - link->expected);

    if (ahead >= 128) { /* came before; its acknowledgement may be lost */
        owe(link, now_us);
        link->urged = true;
        return;
    }
    if (ahead > 0) {
        accept_early(link, ahead, now_us);
        return;
    }
    if (link->queue_count == LINK_QUEUE) {
        link->counters.rx_gaps++;
        complain(link, now_us);
        return;
    }
    keep(link, 0);
    link->queue_count++;
    link->expected++;
    for (; (link->held & 1u) != 0; link->held >>= 1) { /* it closes the gap before these */
        link->queue_count++;
        link->expected++;
    }
    link->held >>= 1;
    link->nak_sent = link->held != 0; /* what is still missing was asked for */
    owe(link, now_us);
}

bool link_feed(link_t *link, uint8_t byte, uint64_t now_us)
{
    const frame_decoder_t *frame = &link->decoder;
    const frame_event_t event = frame_feed(&link->decoder, byte);

    if (event == FRAME_NONE) {
        return false;
    }
    if (event == FRAME_DAMAGED) {
        link->counters.rx_damaged++;
        complain(link, now_us);
        return false;
    }
    link->counters.rx_frames++;
    if (frame->type == MSG_HELLO) {
        return true; /* of a link that is yet to be: its ack means nothing, and it says itself whether it is alive */
    }
    if (!link->open) {
        return false;
    }
    link->last_rx_us = now_us;
    acknowledged(link, frame->ack, now_us);
    if (frame->type == MSG_NAK) {
        repair(link, frame->payload, frame->size, now_us);
    } else if (!unsequenced(frame->type)) {
        accept(link, now_us);
    } else {
        return frame->type != MSG_ACK;
    }
    return false;
}

const link_item_t *link_head(const link_t *link)
{
    return link->queue_count > 0 ? &link->queue[link->queue_head] : NULL;
}

void link_pop(link_t *link)
{
    link->queue_head = (uint8_t)((link->queue_head + 1) % LINK_QUEUE);
    link->queue_count--;
}

uint8_t link_awaited(const link_t *link)
{
    uint8_t count = link->queue_count;
    for (uint16_t held = link->held, ahead = 1; held != 0; held >>= 1, ahead++) {
        if ((held & 1u) != 0) {
            count = (uint8_t)(link->queue_count + ahead + 1);
        }
    }
    return count;
}

void link_poll(link_t *link, bool idle, uint64_t now_us)
{
    const uint8_t news = (uint8_t)(ack_of(link) - link->acked);

    if (!link->open) {
        return;
    }
    if (link->sent_count > 0 && now_us - link->sent_us >= link->wait_us) {
        link->wait_us = link->wait_us < RESEND_MAX_US / 2 ? 2 * link->wait_us : RESEND_MAX_US;
        resend_all(link, now_us);
        return; /* that told the host what came in, too */
    }
    if (link->held != 0) {
        complain(link, now_us);
    }
    if (news > 0 && !link->owed) { /* the queue went down to the window */
        link->owed = true;
        link->owed_us = now_us;
    }
    if (link->urged || news >= LINK_WINDOW / 4
        || (news > 0 && (idle || now_us - link->owed_us >= link->resend_us / 4))) {
        link_send_unsequenced(link, MSG_ACK, NULL, 0);
    }
}
