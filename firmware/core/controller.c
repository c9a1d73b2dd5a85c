#include "controller.h"

#ifndef GIT_HASH
#define GIT_HASH "unknown"
#endif

enum { DEAD_MAN_MAX_MS = 60000, GROUND_AGAIN_US = 1000000 };
/* A running request may have to end with an answer at any time: the last slot of the send window is kept for it. */
enum { ROOM_TO_WORK = 2 };

static void open_front_end(controller_t *c)
{
    c->opened = board_open(&c->board);
    c->fault = c->opened ? FAULT_NONE : FAULT_FRONT_END;
}

void controller_init(controller_t *c, const port_identity_t *identity)
{
    memset(c, 0, sizeof *c);
    c->identity = *identity;
    link_init(&c->link);
    requests_init(&c->requests, &c->board, &c->link);
    open_front_end(c);
}

static bool try_to_ground(controller_t *c)
{
    const bool grounded = board_ground(&c->board);
    c->ground_tried_us = port_now_us();
    return grounded;
}

static void enter_fault(controller_t *c, fault_t fault)
{
    if (c->fault == FAULT_NONE) {
        c->fault = (uint8_t)fault;
    }
    requests_end(&c->requests, fault == FAULT_DEAD_MAN ? REASON_ABORTED : REASON_FRONT_END);
}

void controller_fault(controller_t *c, fault_t fault)
{
    (void)try_to_ground(c); /* where that fails too, the board stays driven in STATUS_IS, and check_ground goes on */
    enter_fault(c, fault);
}

static void ground(controller_t *c)
{
    if (!try_to_ground(c)) {
        enter_fault(c, FAULT_FRONT_END);
    }
}

static board_state_t state_of(const controller_t *c)
{
    if (c->fault != FAULT_NONE) {
        return BOARD_STATE_FAULT;
    }
    if (!c->link.open) {
        return BOARD_STATE_NEW;
    }
    if (requests_running(&c->requests) || link_head(&c->link) != NULL) {
        return BOARD_STATE_BUSY;
    }
    return c->board.limits.set ? BOARD_STATE_READY : BOARD_STATE_LINKED;
}

static void copy_text(char *to, size_t size, const char *from)
{
    for (size_t i = 0; i < size && from[i] != '\0'; i++) {
        to[i] = from[i];
    }
}

static void send_welcome(controller_t *c)
{
    const afe_info_t *info = &c->board.info;
    welcome_msg_t m = {
        .version = PROTOCOL_VERSION,
        .schema = PROTOCOL_SCHEMA,
        .link = c->link_id,
        .session = c->identity.session,
        .reset_cause = c->identity.reset_cause,
        .state = (uint8_t)state_of(c),
        .arrays = info->arrays,
        .rows = info->rows,
        .cols = info->cols,
        .window = LINK_WINDOW,
        .rx_bytes = c->identity.rx_bytes,
        .tick_hz = 1000000, /* of port_now_us */
        .last_op = c->requests.last_op,
        .simulated_time = info->simulated_time,
        .read_full_scale_uv = info->read_full_scale_uv,
        .read_top = info->read_top,
        .pulse_full_scale_uv = info->pulse_full_scale_uv,
        .pulse_top = info->pulse_top,
        .gate_full_scale_uv = info->gate_full_scale_uv,
        .gate_top = info->gate_top,
        .adc_top = info->adc_top,
        .read_range = info->read_range,
        .ranges = info->ranges,
    };
    uint8_t payload[WELCOME_SIZE];
    memcpy(m.range_full_scale_a, info->range_full_scale_a, sizeof m.range_full_scale_a);
    copy_text(m.git_hash, sizeof m.git_hash, GIT_HASH);
    copy_text(m.board, sizeof m.board, c->identity.board);
    copy_text(m.serial, sizeof m.serial, c->identity.serial);
    link_send_unsequenced(&c->link, MSG_WELCOME, payload, welcome_pack(&m, payload));
}

static void send_status(controller_t *c, uint32_t id)
{
    const link_counters_t *counters = &c->link.counters;
    const status_is_msg_t m = {
        .id = id,
        .state = (uint8_t)state_of(c),
        .fault = c->fault,
        .grounded = !c->board.driven,
        .queued = c->link.queue_count,
        .time_ns = afe_time_ns(),
        .last_op = c->requests.last_op,
        .rx_frames = counters->rx_frames,
        .rx_damaged = counters->rx_damaged,
        .rx_gaps = counters->rx_gaps,
        .tx_frames = counters->tx_frames,
        .tx_resent = counters->tx_resent,
        .refused = c->requests.refused,
    };
    uint8_t payload[STATUS_IS_SIZE];
    link_send_unsequenced(&c->link, MSG_STATUS_IS, payload, status_is_pack(&m, payload));
}

/* The host that was is no more: whatever runs ends, and what it configured is forgotten. */
static void drop_link(controller_t *c)
{
    link_close(&c->link);
    c->silent = false;
    if (!c->opened) {
        open_front_end(c);
    }
    if (c->opened) {
        ground(c);
    }
    requests_forget(&c->requests);
    board_reset(&c->board);
}

static void hello(controller_t *c, const uint8_t *payload, size_t n, uint64_t now_us)
{
    hello_msg_t m;
    if (n < 5) {
        return;
    }
    if (payload[0] != PROTOCOL_VERSION || get_u32(payload + 1) != PROTOCOL_SCHEMA) {
        drop_link(c); /* say who is here, and nothing else */
        c->link_id = n >= 9 ? get_u32(payload + 5) : 0;
        send_welcome(c);
        return;
    }
    if (!hello_unpack(&m, payload, n) || m.dead_man_ms == 0) {
        return;
    }
    if (c->link.open && m.link == c->link_id) { /* WELCOME was lost, or HELLO took its time */
        c->link.last_rx_us = now_us;
        send_welcome(c);
        return;
    }
    drop_link(c);
    c->link_id = m.link;
    c->dead_man_us = 1000u * (m.dead_man_ms < DEAD_MAN_MAX_MS ? m.dead_man_ms : DEAD_MAN_MAX_MS);
    link_open(&c->link, 1000u * (m.resend_ms > 0 ? m.resend_ms : 1u), now_us);
    send_welcome(c);
}

static void abort_all(controller_t *c)
{
    requests_end(&c->requests, REASON_ABORTED);
    requests_doom(&c->requests);
}

static void clear(controller_t *c)
{
    if (c->fault == FAULT_NONE) {
        return;
    }
    requests_doom(&c->requests); /* they came for a board in FAULT */
    if (!c->opened) {
        open_front_end(c);
    }
    if (c->opened) {
        c->fault = try_to_ground(c) ? FAULT_NONE : FAULT_FRONT_END;
    }
}

/* A frame that does not wait in the queue. */
static void handle_now(controller_t *c, uint8_t type, const uint8_t *payload, size_t n, uint64_t now_us)
{
    if (type == MSG_HELLO) {
        hello(c, payload, n, now_us);
        return;
    }
    if (n != STATUS_SIZE) { /* of all four */
        return;
    }
    if (type == MSG_GROUND) {
        ground(c);
    } else if (type == MSG_CLEAR) {
        clear(c);
    }
    if (type == MSG_GROUND || type == MSG_ABORT) {
        abort_all(c);
    }
    send_status(c, get_u32(payload));
}

void controller_receive(controller_t *c, const uint8_t *bytes, size_t count)
{
    const uint64_t now_us = port_now_us();
    for (size_t i = 0; i < count; i++) {
        if (link_feed(&c->link, bytes[i], now_us)) {
            const frame_decoder_t *frame = &c->link.decoder;
            handle_now(c, frame->type, frame->payload, frame->size, now_us);
        }
    }
}

static void check_dead_man(controller_t *c, uint64_t now_us)
{
    if (!c->link.open || now_us - c->link.last_rx_us < c->dead_man_us) {
        c->silent = false;
    } else if (!c->silent) {
        c->silent = true;
        controller_fault(c, FAULT_DEAD_MAN);
    }
}

/* Lines that could not be grounded: again and again, with time for the host between two tries. FAULT stays. */
static void check_ground(controller_t *c, uint64_t now_us)
{
    if (c->fault != FAULT_NONE && c->opened && c->board.driven && now_us - c->ground_tried_us >= GROUND_AGAIN_US) {
        (void)try_to_ground(c);
    }
}

/* Something a step could go on with, input aside. */
static bool has_work(const controller_t *c)
{
    if (link_room(&c->link) < ROOM_TO_WORK) {
        return false;
    }
    return link_head(&c->link) != NULL || (requests_running(&c->requests) && !c->requests.starved);
}

/* Nothing runs or waits, yet lines may be at a voltage. */
static bool has_to_ground(const controller_t *c)
{
    return c->board.driven && c->fault == FAULT_NONE && !requests_running(&c->requests) && link_head(&c->link) == NULL;
}

/* One step of the running request, or the start of the next. */
static fault_t work(controller_t *c)
{
    if (requests_running(&c->requests)) {
        return requests_step(&c->requests);
    }
    const link_item_t *item = link_head(&c->link);
    const fault_t fault =
        requests_start(&c->requests, c->fault != FAULT_NONE, item->type, item->payload, item->size);
    link_pop(&c->link);
    return fault;
}

void controller_poll(controller_t *c)
{
    check_dead_man(c, port_now_us());
    check_ground(c, port_now_us());
    if (has_work(c)) {
        const fault_t fault = work(c);
        if (fault != FAULT_NONE) {
            controller_fault(c, fault);
        }
    } else if (has_to_ground(c)) {
        ground(c);
    }
    link_poll(&c->link, !has_work(c), port_now_us());
}

bool controller_idle(const controller_t *c)
{
    const bool time_passes = c->requests.waiting && c->requests.skipped; /* nothing else goes on meanwhile */
    return (!has_work(c) || time_passes) && !has_to_ground(c);
}

bool controller_resting(const controller_t *c)
{
    const bool waits = c->fault == FAULT_NONE && link_head(&c->link) != NULL;
    return !c->board.driven && !requests_running(&c->requests) && !waits;
}
