#include "controller.h"

static void send(controller_t *c, uint8_t type, const uint8_t *payload, size_t n)
{
    (void)link_send(&c->link, type, payload, n, port_now_us()); /* no room: the link was given up meanwhile */
}

static void refuse(controller_t *c, uint32_t id, verdict_t verdict)
{
    const refused_msg_t m = {id, verdict.reason, verdict.index, verdict.asked, verdict.allowed};
    uint8_t payload[REFUSED_SIZE];
    c->refused++;
    send(c, MSG_REFUSED, payload, refused_pack(&m, payload));
}

static void refuse_for(controller_t *c, uint32_t id, reason_t reason)
{
    refuse(c, id, verdict_refused((uint8_t)reason, 0, 0.0, 0.0));
}

static void done(controller_t *c, uint32_t id)
{
    const done_msg_t m = {id, afe_time_ns()};
    uint8_t payload[DONE_SIZE];
    send(c, MSG_DONE, payload, done_pack(&m, payload));
}

/* Answers a request that is over as soon as it was judged. */
static void answer(controller_t *c, uint32_t id, verdict_t verdict)
{
    if (verdict.reason == REASON_NONE) {
        done(c, id);
        return;
    }
    refuse(c, id, verdict);
    if (verdict.reason == REASON_FRONT_END) {
        controller_fault(c, FAULT_FRONT_END);
    }
}

/* Answers a request that begins a job, when it was refused. */
static bool started(controller_t *c, uint32_t id, verdict_t verdict)
{
    if (verdict.reason != REASON_NONE) {
        refuse(c, id, verdict);
        return false;
    }
    c->job_id = id;
    c->starved = false;
    return true;
}

static void get_limits(controller_t *c, const uint8_t *payload, size_t n)
{
    get_limits_msg_t m;
    if (!get_limits_unpack(&m, payload, n)) {
        refuse(c, get_u32(payload), verdict_refused(REASON_BAD_LENGTH, 0, (double)n, GET_LIMITS_SIZE));
    } else if (!c->board.limits.set) {
        refuse_for(c, m.id, REASON_NOT_CONFIGURED);
    } else {
        uint8_t is[LIMITS_ARE_SIZE];
        send(c, MSG_LIMITS_ARE, is, limits_get(&c->board, m.id, is));
    }
}

static void start_wait(controller_t *c, const uint8_t *payload, size_t n)
{
    wait_msg_t m;
    const uint64_t now_ns = afe_time_ns();
    if (!wait_unpack(&m, payload, n)) {
        refuse(c, get_u32(payload), verdict_refused(REASON_BAD_LENGTH, 0, (double)n, WAIT_SIZE));
    } else if (m.duration_ns > UINT64_MAX - now_ns) {
        refuse(c, m.id, verdict_refused(REASON_BAD_VALUE, 0, (double)m.duration_ns * 1e-9, 0.0));
    } else {
        c->job_id = m.id;
        c->waiting = true;
        c->skipped = false;
        c->wait_until_ns = now_ns + m.duration_ns;
    }
}

static void recall(controller_t *c, const uint8_t *payload, size_t n)
{
    recall_msg_t m;
    if (!recall_unpack(&m, payload, n)) {
        refuse(c, get_u32(payload), verdict_refused(REASON_BAD_LENGTH, 0, (double)n, RECALL_SIZE));
        return;
    }
    const result_t *result = results_find(&c->results, m.op);
    if (result == NULL) {
        refuse_for(c, m.id, REASON_UNKNOWN_ID);
        return;
    }
    uint8_t copy[PAYLOAD_MAX];
    memcpy(copy, result->payload, result->size);
    put_u32(copy, m.id); /* every answer carries the id of its request */
    send(c, result->type, copy, result->size);
}

/* A pulse or a write: started once and never again, whatever the link does. */
static void start_operation(controller_t *c, bool write, const uint8_t *payload, size_t n)
{
    const uint32_t id = get_u32(payload);
    const size_t cells = write ? write_count(n) : pulse_count(n);
    const uint32_t more = cells > 0 ? (uint32_t)cells - 1 : 0;
    if (id <= c->last_op) {
        const result_t *result = results_find(&c->results, id);
        if (result != NULL && result->type == (write ? MSG_WRITTEN : MSG_PULSED)) {
            send(c, result->type, result->payload, result->size);
        } else {
            refuse_for(c, id, REASON_DUPLICATE);
        }
    } else if (id > UINT32_MAX - more) {
        refuse(c, id, verdict_refused(REASON_BAD_VALUE, 0, (double)id, (double)(UINT32_MAX - more)));
    } else if (started(c, id, write ? write_start(&c->board, payload, n) : pulse_start(&c->board, payload, n))) {
        c->last_op = id + more;
    }
}

static void start(controller_t *c, uint8_t type, uint32_t id, const uint8_t *payload, size_t n)
{
    switch (type) {
    case MSG_LIMITS:
        answer(c, id, limits_set(&c->board, payload, n));
        break;
    case MSG_GET_LIMITS:
        get_limits(c, payload, n);
        break;
    case MSG_CALIBRATE:
        answer(c, id, calibrate_set(&c->board, payload, n));
        break;
    case MSG_RECIPE:
        answer(c, id, recipe_set(&c->board, payload, n));
        break;
    case MSG_WAIT:
        start_wait(c, payload, n);
        break;
    case MSG_RECALL:
        recall(c, payload, n);
        break;
    case MSG_READ:
        (void)started(c, id, read_start(&c->board, payload, n));
        break;
    case MSG_PULSE:
        start_operation(c, false, payload, n);
        break;
    case MSG_WRITE:
        start_operation(c, true, payload, n);
        break;
    case MSG_PRODUCT:
        (void)started(c, id, product_start(&c->board, payload, n));
        break;
    case MSG_PRODUCT_DATA:
        refuse_for(c, id, REASON_UNKNOWN_ID);
        break;
    default:
        refuse_for(c, id, REASON_UNKNOWN_TYPE);
        break;
    }
}

void requests_start(controller_t *c, uint8_t type, const uint8_t *payload, size_t n)
{
    const bool doomed = c->doomed > 0;
    const uint32_t id = n >= 4 ? get_u32(payload) : 0;
    if (doomed) {
        c->doomed--;
    }
    if (n < 4) {
        refuse(c, 0, verdict_refused(REASON_BAD_LENGTH, 0, (double)n, 4.0));
        return;
    }
    if (type == MSG_PRODUCT_DATA && c->product_known && id == c->product_id) {
        return; /* its product is over */
    }
    if (type == MSG_PRODUCT) {
        c->product_known = true;
        c->product_id = id;
    }
    if (c->fault != FAULT_NONE) {
        refuse_for(c, id, REASON_FAULT);
    } else if (doomed) {
        refuse_for(c, id, REASON_ABORTED);
    } else {
        start(c, type, id, payload, n);
    }
}

bool requests_running(const controller_t *c)
{
    return c->waiting || c->board.work != WORK_NONE;
}

void requests_end(controller_t *c, reason_t reason)
{
    uint8_t type = 0, payload[PAYLOAD_MAX];
    if (!requests_running(c)) {
        return;
    }
    const size_t n = c->waiting ? 0 : board_result(&c->board, &type, payload, true);
    c->waiting = c->starved = false;
    if (n > 0) {
        results_keep(&c->results, type, payload, n);
        send(c, type, payload, n);
    } else {
        refuse_for(c, c->job_id, reason);
    }
}

/* Lines rest at 0 V while time passes. */
static void step_wait(controller_t *c)
{
    bool alive = true;
    if (c->board.driven) {
        alive = board_ground(&c->board);
    } else if (!c->skipped) {
        c->skipped = true;
        alive = afe_skip(c->wait_until_ns);
    } else if (afe_time_ns() >= c->wait_until_ns) {
        c->waiting = false;
        done(c, c->job_id);
    }
    if (!alive) {
        controller_fault(c, FAULT_FRONT_END);
    }
}

/* Hands waiting PRODUCT_DATA to the running product. false: that ended it. */
static bool feed(controller_t *c)
{
    const link_item_t *item;
    while ((item = link_head(&c->link)) != NULL && item->type == MSG_PRODUCT_DATA && product_has_room(&c->board)) {
        const verdict_t verdict = product_feed(&c->board, item->payload, item->size);
        link_pop(&c->link);
        c->starved = false;
        if (verdict.reason != REASON_NONE) {
            board_drop(&c->board);
            refuse(c, c->job_id, verdict);
            return false;
        }
    }
    return true;
}

static void step_job(controller_t *c)
{
    uint8_t type = 0, payload[PAYLOAD_MAX];
    size_t n;
    switch (board_step(&c->board)) {
    case JOB_OUTPUT:
    case JOB_DONE:
        n = board_result(&c->board, &type, payload, false);
        if (type == MSG_PULSED || type == MSG_WRITTEN) {
            results_keep(&c->results, type, payload, n);
        }
        send(c, type, payload, n);
        break;
    case JOB_STARVED:
        c->starved = true;
        if (link_head(&c->link) != NULL) { /* another request: the rest of the data will never come */
            requests_end(c, REASON_ABORTED);
        }
        break;
    case JOB_FAILED:
        controller_fault(c, c->board.fault);
        break;
    case JOB_MORE:
        break;
    }
}

void requests_step(controller_t *c)
{
    if (c->waiting) {
        step_wait(c);
    } else if (c->board.work != WORK_PRODUCT || feed(c)) {
        step_job(c);
    }
}
