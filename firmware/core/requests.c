#include "requests.h"

#include "board_limits.h"
#include "job.h"
#include "port.h"
#include "product_job.h"
#include "pulse_job.h"
#include "read_job.h"
#include "recipe.h"
#include "write_job.h"

void requests_init(requests_t *r, board_t *board, link_t *link)
{
    memset(r, 0, sizeof *r);
    r->board = board;
    r->link = link;
}

static void send(requests_t *r, uint8_t type, const uint8_t *payload, size_t n)
{
    (void)link_send(r->link, type, payload, n, port_now_us()); /* no room: the link was given up meanwhile */
}

static void refuse(requests_t *r, uint32_t id, verdict_t verdict)
{
    const refused_msg_t m = {id, verdict.reason, verdict.index, verdict.asked, verdict.allowed};
    uint8_t payload[REFUSED_SIZE];
    r->refused++;
    send(r, MSG_REFUSED, payload, refused_pack(&m, payload));
}

static void refuse_for(requests_t *r, uint32_t id, reason_t reason)
{
    refuse(r, id, verdict_refused((uint8_t)reason, 0, 0.0, 0.0));
}

static void done(requests_t *r, uint32_t id)
{
    const done_msg_t m = {id, afe_time_ns()};
    uint8_t payload[DONE_SIZE];
    send(r, MSG_DONE, payload, done_pack(&m, payload));
}

/* Answers a request that is over as soon as it was judged. */
static fault_t answer(requests_t *r, uint32_t id, verdict_t verdict)
{
    if (verdict.reason == REASON_NONE) {
        done(r, id);
    } else {
        refuse(r, id, verdict);
    }
    return verdict.reason == REASON_FRONT_END ? FAULT_FRONT_END : FAULT_NONE;
}

/* Answers a request that begins a job, when it was refused. */
static bool started(requests_t *r, uint32_t id, verdict_t verdict)
{
    if (verdict.reason != REASON_NONE) {
        refuse(r, id, verdict);
        return false;
    }
    r->job_id = id;
    r->starved = false;
    return true;
}

static void get_limits(requests_t *r, const uint8_t *payload, size_t n)
{
    get_limits_msg_t m;
    if (!get_limits_unpack(&m, payload, n)) {
        refuse(r, get_u32(payload), verdict_refused(REASON_BAD_LENGTH, 0, (double)n, GET_LIMITS_SIZE));
    } else if (!r->board->limits.set) {
        refuse_for(r, m.id, REASON_NOT_CONFIGURED);
    } else {
        uint8_t is[LIMITS_ARE_SIZE];
        send(r, MSG_LIMITS_ARE, is, limits_get(r->board, m.id, is));
    }
}

static void start_wait(requests_t *r, const uint8_t *payload, size_t n)
{
    wait_msg_t m;
    const uint64_t now_ns = afe_time_ns();
    if (!wait_unpack(&m, payload, n)) {
        refuse(r, get_u32(payload), verdict_refused(REASON_BAD_LENGTH, 0, (double)n, WAIT_SIZE));
    } else if (m.duration_ns > UINT64_MAX - now_ns) {
        refuse(r, m.id, verdict_refused(REASON_BAD_VALUE, 0, (double)m.duration_ns * 1e-9, 0.0));
    } else {
        r->job_id = m.id;
        r->waiting = true;
        r->skipped = false;
        r->wait_until_ns = now_ns + m.duration_ns;
    }
}

static void recall(requests_t *r, const uint8_t *payload, size_t n)
{
    recall_msg_t m;
    if (!recall_unpack(&m, payload, n)) {
        refuse(r, get_u32(payload), verdict_refused(REASON_BAD_LENGTH, 0, (double)n, RECALL_SIZE));
        return;
    }
    const result_t *result = results_find(&r->results, m.op);
    if (result == NULL) {
        refuse_for(r, m.id, REASON_UNKNOWN_ID);
        return;
    }
    uint8_t copy[PAYLOAD_MAX];
    memcpy(copy, result->payload, result->size);
    put_u32(copy, m.id); /* every answer carries the id of its request */
    send(r, result->type, copy, result->size);
}

/* A pulse or a write: started once and never again, whatever the link does. */
static void start_operation(requests_t *r, bool write, const uint8_t *payload, size_t n)
{
    const uint32_t id = get_u32(payload);
    const size_t cells = write ? write_count(n) : pulse_count(n);
    const uint32_t more = cells > 0 ? (uint32_t)cells - 1 : 0;
    if (id <= r->last_op) {
        const result_t *result = results_find(&r->results, id);
        if (result != NULL && result->type == (write ? MSG_WRITTEN : MSG_PULSED)) {
            send(r, result->type, result->payload, result->size);
        } else {
            refuse_for(r, id, REASON_DUPLICATE);
        }
    } else if (id > UINT32_MAX - more) {
        refuse(r, id, verdict_refused(REASON_BAD_VALUE, 0, (double)id, (double)(UINT32_MAX - more)));
    } else if (started(r, id, write ? write_start(r->board, payload, n) : pulse_start(r->board, payload, n))) {
        r->last_op = id + more;
    }
}

static fault_t start(requests_t *r, uint8_t type, uint32_t id, const uint8_t *payload, size_t n)
{
    switch (type) {
    case MSG_LIMITS:
        return answer(r, id, limits_set(r->board, payload, n));
    case MSG_GET_LIMITS:
        get_limits(r, payload, n);
        break;
    case MSG_CALIBRATE:
        return answer(r, id, calibrate_set(r->board, payload, n));
    case MSG_RECIPE:
        return answer(r, id, recipe_set(r->board, payload, n));
    case MSG_WAIT:
        start_wait(r, payload, n);
        break;
    case MSG_RECALL:
        recall(r, payload, n);
        break;
    case MSG_READ:
        (void)started(r, id, read_start(r->board, payload, n));
        break;
    case MSG_PULSE:
        start_operation(r, false, payload, n);
        break;
    case MSG_WRITE:
        start_operation(r, true, payload, n);
        break;
    case MSG_PRODUCT:
        (void)started(r, id, product_start(r->board, payload, n));
        break;
    case MSG_PRODUCT_DATA:
        refuse_for(r, id, REASON_UNKNOWN_ID);
        break;
    default:
        refuse_for(r, id, REASON_UNKNOWN_TYPE);
        break;
    }
    return FAULT_NONE;
}

fault_t requests_start(requests_t *r, bool in_fault, uint8_t type, const uint8_t *payload, size_t n)
{
    const bool doomed = r->doomed > 0;
    const uint32_t id = n >= 4 ? get_u32(payload) : 0;
    if (doomed) {
        r->doomed--;
    }
    if (n < 4) {
        refuse(r, 0, verdict_refused(REASON_BAD_LENGTH, 0, (double)n, 4.0));
        return FAULT_NONE;
    }
    if (type == MSG_PRODUCT_DATA && r->product_known && id == r->product_id) {
        return FAULT_NONE; /* its product is over */
    }
    if (type == MSG_PRODUCT) {
        r->product_known = true;
        r->product_id = id;
    }
    if (!in_fault && !doomed) {
        return start(r, type, id, payload, n);
    }
    refuse_for(r, id, in_fault ? REASON_FAULT : REASON_ABORTED);
    return FAULT_NONE;
}

bool requests_running(const requests_t *r)
{
    return r->waiting || r->board->work != WORK_NONE;
}

void requests_end(requests_t *r, reason_t reason)
{
    uint8_t type = 0, payload[PAYLOAD_MAX];
    if (!requests_running(r)) {
        return;
    }
    const size_t n = r->waiting ? 0 : job_result(r->board, &type, payload, true);
    r->waiting = r->starved = false;
    if (n > 0) {
        results_keep(&r->results, type, payload, n);
        send(r, type, payload, n);
    } else {
        refuse_for(r, r->job_id, reason);
    }
}

void requests_doom(requests_t *r)
{
    r->doomed = link_awaited(r->link);
}

void requests_forget(requests_t *r)
{
    requests_end(r, REASON_ABORTED);
    r->doomed = 0;
    r->product_known = false;
}

/* Lines rest at 0 V while time passes. */
static fault_t step_wait(requests_t *r)
{
    bool alive = true;
    if (r->board->driven) {
        alive = board_ground(r->board);
    } else if (!r->skipped) {
        r->skipped = true;
        alive = afe_skip(r->wait_until_ns);
    } else if (afe_time_ns() >= r->wait_until_ns) {
        r->waiting = false;
        done(r, r->job_id);
    }
    return alive ? FAULT_NONE : FAULT_FRONT_END;
}

/* Hands waiting PRODUCT_DATA to the running product. false: that ended it. */
static bool feed(requests_t *r)
{
    const link_item_t *item;
    while ((item = link_head(r->link)) != NULL && item->type == MSG_PRODUCT_DATA && product_has_room(r->board)) {
        const verdict_t verdict = product_feed(r->board, item->payload, item->size);
        link_pop(r->link);
        r->starved = false;
        if (verdict.reason != REASON_NONE) {
            board_drop(r->board);
            refuse(r, r->job_id, verdict);
            return false;
        }
    }
    return true;
}

static fault_t step_job(requests_t *r)
{
    uint8_t type = 0, payload[PAYLOAD_MAX];
    size_t n;
    switch (job_step(r->board)) {
    case JOB_OUTPUT:
    case JOB_DONE:
        n = job_result(r->board, &type, payload, false);
        if (type == MSG_PULSED || type == MSG_WRITTEN) {
            results_keep(&r->results, type, payload, n);
        }
        send(r, type, payload, n);
        break;
    case JOB_STARVED:
        r->starved = true;
        if (link_head(r->link) != NULL) { /* another request: the rest of the data will never come */
            requests_end(r, REASON_ABORTED);
        }
        break;
    case JOB_FAILED:
        return (fault_t)r->board->fault;
    case JOB_MORE:
        break;
    }
    return FAULT_NONE;
}

fault_t requests_step(requests_t *r)
{
    if (r->waiting) {
        return step_wait(r);
    }
    return r->board->work != WORK_PRODUCT || feed(r) ? step_job(r) : FAULT_NONE;
}
