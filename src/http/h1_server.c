#include "http/h1_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "base/text.h"
#include "http/date.h"
#include "http/h1_head.h"
#include "http/h1_server_int.h"
#include "http/status.h"

#define OUT_BYTES_MAX      (HEAD_BYTES_MAX + BODY_BYTES_MAX + 4096)
#define PIPELINE_BYTES_MAX 16384 /* read ahead while an answer is under way */
/* A request that is on its way when the program stops is still answered. */
#define DRAIN_IDLE_NSEC (NSEC_PER_SEC / 2)
#define LINGER_NSEC                                                                                \
    (2 * NSEC_PER_SEC) /* for the last answer to arrive before a reset could destroy it */

static void conn_run(struct task *t);

/* ---- group ---- */

void h1_group_init(struct h1_group *g, struct loop *loop, struct task *owner, h1_route *route,
                   void *ctx)
{
    *g = (struct h1_group){
        .loop = loop,
        .owner = owner,
        .route = route,
        .ctx = ctx,
        .head_max = HEAD_BYTES_MAX,
        .idle = VISITOR_IDLE_MS * NSEC_PER_MSEC,
        .head = VISITOR_HEAD_MS * NSEC_PER_MSEC,
        .stall = VISITOR_STALL_MS * NSEC_PER_MSEC,
        .rate = VISITOR_RATE_BYTES,
        .half = VISITOR_HALF_MS * NSEC_PER_MSEC,
    };
    list_init(&g->conns);
    list_init(&g->waiting);
}

/* Until the first byte of a request. */
static nsec idle_of(const struct h1_group *g)
{
    return g->is_draining && g->idle > DRAIN_IDLE_NSEC ? DRAIN_IDLE_NSEC : g->idle;
}

void h1_group_drain(struct h1_group *g)
{
    g->is_draining = true;
    list_each(it, &g->conns)
    {
        struct h1_conn *c = container_of(it, struct h1_conn, node);
        if (c->state == CONN_IDLE)
            deadline_set(&c->deadline, &c->task, loop_now(g->loop) + idle_of(g));
        task_wake(&c->task);
    }
}

size_t h1_group_part(struct h1_group *g, enum parting parting)
{
    size_t count = 0;
    list_each(it, &g->conns)
    {
        struct h1_conn *c = container_of(it, struct h1_conn, node);
        if (c->ex != NULL)
            count += exchange_part(c->ex, parting);
    }
    return count;
}

const struct addr *h1_conn_peer(const struct h1_conn *c)
{
    return &c->peer;
}

const char *h1_conn_scheme(const struct h1_conn *c)
{
    return c->scheme;
}

uint64_t h1_conn_requests(const struct h1_conn *c)
{
    return c->requests;
}

/* ---- life ---- */

static void conn_reap(struct reaper *r)
{
    struct h1_conn *c = container_of(r, struct h1_conn, reaper);
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

int h1_serve(struct h1_group *g, struct stream *transport, const struct addr *peer,
             const char *scheme)
{
    struct h1_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return ERR_NOMEM;
    c->group = g;
    c->s = transport;
    c->peer = *peer;
    c->scheme = scheme;
    task_init(&c->task, g->loop, conn_run);
    transport->owner = &c->task;
    buf_init(&c->in, loop_chunks(g->loop), g->head_max + READ_STEP_BYTES);
    buf_init(&c->out, loop_chunks(g->loop), OUT_BYTES_MAX);
    list_push_back(&g->conns, &c->node);
    list_push_back(&g->waiting, &c->waiting);
    g->count++;
    deadline_set(&c->deadline, &c->task, loop_now(g->loop) + idle_of(g));
    task_wake(&c->task);
    return 0;
}

static void exchange_end(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    if (ex == NULL)
        return;
    c->ex = NULL;
    ex->at.done = loop_now(c->group->loop);
    ex->bytes_up = ex->up.total;
    if (c->group->done != NULL)
        c->group->done(c->group->ctx, ex, c);
    exchange_leave(ex, EX_LEFT);
}

/* why < 0: the transport is reset; 0: what was written is delivered. */
static void conn_close(struct h1_conn *c, int why)
{
    if (c->state == CONN_OVER)
        return;
    if (c->ex != NULL && why == ERR_TIMEOUT && !exchange_has_failed(c->ex))
        exchange_fail(c->ex, ERR_TIMEOUT, HOP_VISITOR,
                      "the visitor took no byte, or sent none, for too long");
    if (c->ex != NULL && why < 0 && !exchange_has_failed(c->ex))
        exchange_fail(c->ex, ERR_CANCELED, HOP_VISITOR, "the visitor went away");
    exchange_end(c);
    if (why < 0)
        stream_abort(c->s, why);
    else
        stream_finish(c->s);
    stream_release(c->s);
    c->state = CONN_OVER;
    deadline_clear(&c->deadline);
    task_done(&c->task);
    list_remove(&c->node);
    list_remove(&c->waiting);
    c->group->count--;
    task_wake(c->group->owner);
    loop_reap(c->group->loop, &c->reaper, conn_reap);
}

bool h1_group_evict(struct h1_group *g)
{
    if (list_is_empty(&g->waiting))
        return false;
    conn_close(container_of(g->waiting.next, struct h1_conn, waiting), ERR_LIMIT);
    return true;
}

void h1_group_abort(struct h1_group *g)
{
    list_each(it, &g->conns)
    {
        conn_close(container_of(it, struct h1_conn, node), ERR_CLOSED);
    }
}

/* The answer is out and the connection shall end: at once when nothing more can come, else after
 * dropping what still arrives, because a reset would destroy the answer on its way (RFC 9112 §9.6).
 */
static void conn_linger(struct h1_conn *c)
{
    if (c->in_over || c->reader.is_over) {
        conn_close(c, 0);
        return;
    }
    stream_finish(c->s);
    c->state = CONN_LINGER;
    list_remove(&c->waiting);
    buf_drop(&c->in, buf_len(&c->in));
    deadline_set(&c->deadline, &c->task, loop_now(c->group->loop) + LINGER_NSEC);
    task_wake(&c->task);
}

static int linger_step(struct h1_conn *c)
{
    int r = stream_read(c->s, &c->in, READ_STEP_BYTES);
    if (r == ERR_AGAIN)
        return ERR_AGAIN;
    c->lingered += buf_len(&c->in);
    buf_drop(&c->in, buf_len(&c->in));
    if (r < 0 || c->lingered > PIPELINE_DRAIN_BYTES_MAX) {
        conn_close(c, 0);
        return ERR_CLOSED;
    }
    return 0;
}

/* ---- the head ---- */

static enum failure failure_of_status(unsigned status)
{
    switch (status) {
    case 408:
        return FAILURE_VISITOR_SLOW;
    case 414:
        return FAILURE_TARGET_TOO_LARGE;
    case 431:
        return FAILURE_HEAD_TOO_LARGE;
    case 503:
        return FAILURE_EDGE_BUSY;
    default:
        return FAILURE_BAD_REQUEST;
    }
}

/* Answers what cannot be an exchange, and ends the connection. There is no Accept to go by: what
 * could not be read is not looked into. */
static void refuse(struct h1_conn *c, const struct h1_refusal *refusal)
{
    char body[512], head[256], id[EXCHANGE_ID_BYTES], ray[64] = "";
    uint64_t number = rng_next(loop_rng(c->group->loop));
    enum failure failure = failure_of_status(refusal->status);
    const struct failure_row *row = failure_row(failure);
    int n = snprintf(body, sizeof body, "%u %.*s: %s\n%s\nfailed at: %s\nerror %u, request %s\n",
                     refusal->status, SLICE_FMT(status_reason(refusal->status)), refusal->text,
                     row->next, hop_name(row->hop), row->code,
                     hex_encode(slice_of(&number, sizeof number), id));
    if (c->group->ray != NULL)
        (void)snprintf(ray, sizeof ray, "Cf-Ray: %s%s\r\n", id, c->group->ray);
    size_t size = (size_t)n < sizeof body ? (size_t)n : sizeof body - 1;
    n = snprintf(head, sizeof head,
                 "HTTP/1.1 %u %.*s\r\nContent-Type: text/plain; charset=utf-8\r\n"
                 "Date: %s\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n",
                 refusal->status, SLICE_FMT(status_reason(refusal->status)), http_date_now(), ray,
                 size);
    log_debug("request refused", LSTR("request", id), LSTR("failure", row->word),
              LSTR("hop", hop_name(row->hop)), LSTR("why", refusal->text),
              LU64("status", refusal->status));
    if (c->group->refused != NULL)
        c->group->refused(c->group->ctx,
                          &(struct h1_refused_head){ .id = id,
                                                     .status = refusal->status,
                                                     .failure = failure,
                                                     .why = refusal->text,
                                                     .bytes_down = size },
                          c);
    if (buf_put(&c->out, slice_of(head, (size_t)n)) == 0 &&
        buf_put(&c->out, slice_of(body, size)) == 0)
        (void)stream_write(c->s, &c->out);
    c->reader.is_over = false;
    conn_linger(c);
}

static void exchange_begin(struct h1_conn *c, const struct h1_request_info *info)
{
    struct exchange *ex = c->ex;
    c->requests++;
    c->is_1_0 = info->is_1_0;
    c->keeps_alive = info->keeps_alive;
    c->head_sent = c->continue_sent = false;
    c->state = CONN_EXCHANGE;
    list_remove(&c->waiting);
    h1_reader_init(&c->reader, ex->request.framing, ex->request.length);
    if (ex->request.framing == FRAMING_NONE && ex->request.upgrade == UPGRADE_NONE)
        body_end(&ex->up);
    deadline_clear(&c->deadline);
    c->group->route(c->group->ctx, ex, c);
}

/* 0 when an exchange has begun, ERR_AGAIN, or ERR_CLOSED when the connection ended here. */
static int head_step(struct h1_conn *c)
{
    if (buf_is_empty(&c->in))
        return ERR_AGAIN;
    if (c->state == CONN_IDLE) {
        c->state = CONN_HEAD;
        deadline_set(&c->deadline, &c->task, loop_now(c->group->loop) + c->group->head);
    }
    struct exchange *ex = exchange_new(c->group->loop, &c->task);
    if (ex == NULL) {
        conn_close(c, ERR_NOMEM);
        return ERR_CLOSED;
    }
    struct h1_request_info info;
    struct h1_refusal refusal;
    int r = h1_read_request(&c->in, c->group->head_max, &c->scan, ex, &info, &refusal);
    if (r < 0) {
        exchange_leave(ex, EX_LEFT);
        if (r != ERR_AGAIN)
            refuse(c, &refusal);
        return r == ERR_AGAIN ? ERR_AGAIN : ERR_CLOSED;
    }
    c->scan = (struct http1_scan){ 0 };
    ex->request.scheme = slice_str(c->scheme);
    c->ex = ex;
    exchange_begin(c, &info);
    return 0;
}

/* ERR_AGAIN; 0 when the exchange is over and the next request may be read; ERR_CLOSED when the
 * connection ended. */
static int exchange_step(struct h1_conn *c)
{
    struct exchange *ex = c->ex;
    int r = h1_exchange_move(c);
    if (r == ERR_AGAIN)
        return ERR_AGAIN;
    if (r < 0) {
        conn_close(c, r);
        return ERR_CLOSED;
    }
    bool goes_on = c->keeps_alive && !ex->is_upgraded;
    if (!goes_on && !ex->is_upgraded) {
        exchange_end(c);
        conn_linger(c);
        return c->state == CONN_LINGER ? 0 : ERR_CLOSED;
    }
    if (!goes_on) {
        conn_close(c, 0);
        return ERR_CLOSED;
    }
    exchange_end(c);
    c->state = CONN_IDLE;
    list_push_back(&c->group->waiting, &c->waiting);
    deadline_set(&c->deadline, &c->task, loop_now(c->group->loop) + c->group->idle);
    return 0;
}

/* ---- driving ---- */

/* How much may be read from the transport now. */
static size_t wanted(const struct h1_conn *c)
{
    size_t held = buf_len(&c->in);
    if (c->in_over)
        return 0;
    if (c->state != CONN_EXCHANGE)
        return READ_STEP_BYTES;
    bool takes_body = h1_exchange_is_upgraded(c)
                          ? !c->ex->up.ended
                          : !c->reader.is_over && c->ex->request.upgrade == UPGRADE_NONE;
    if (takes_body)
        return held < READ_STEP_BYTES && body_room(&c->ex->up) > 0 ? READ_STEP_BYTES : 0;
    return held < PIPELINE_BYTES_MAX ? PIPELINE_BYTES_MAX : 0;
}

/* Reads what is wanted. 0 also when there was nothing; ERR_CLOSED when the connection ended here.
 */
static int fill(struct h1_conn *c)
{
    size_t want = wanted(c);
    int r = stream_read(c->s, &c->in, want);
    if (r == 0 && want > 0)
        task_wake(&c->task); /* there may be more: in another step, for fairness */
    /* Nothing wanted: a reset ends the exchange all the same, an orderly end waits for its turn. */
    if (r == 0 || r == ERR_AGAIN || (r == ERR_EOF && want == 0))
        return 0;
    if (r != ERR_EOF) {
        conn_close(c, r);
        return ERR_CLOSED;
    }
    c->in_over = true;
    if (c->state == CONN_EXCHANGE)
        return 0; /* a visitor that only finished its direction still gets its answer */
    if (c->state == CONN_HEAD || buf_is_empty(&c->in)) {
        conn_close(c, 0);
        return ERR_CLOSED;
    }
    return 0;
}

/* What must move for the visitor to get the whole time again. A body without a length may be a
 * conversation, whose sender says something now and then: any byte of it counts, as does the last
 * one of those that wait. */
static uint64_t least_progress(const struct h1_conn *c)
{
    bool is_owed = !buf_is_empty(&c->out);
    if (!is_owed && c->ex->request.framing != FRAMING_LENGTH)
        return 1;
    uint64_t bytes = c->group->rate * (c->group->stall / NSEC_PER_MSEC) / 1000;
    return bytes > 0 ? bytes : 1;
}

/* Bytes that moved between the visitor and us: those of ours that it has acknowledged, too. What a
 * kernel's buffer took has not moved: it may hold megabytes for a visitor that reads nothing, and
 * takes nothing for minutes while a slow one reads them. */
static uint64_t moved_so_far(const struct h1_conn *c)
{
    uint64_t waiting = stream_waiting(c->s);
    return c->received + (c->given > waiting ? c->given - waiting : 0);
}

static void start_patience(struct h1_conn *c)
{
    c->moved = c->was_owed ? moved_so_far(c) : c->received;
    deadline_set(&c->deadline, &c->task, loop_now(c->group->loop) + c->patience);
}

/* Whether enough moved in the time of a visitor that bytes wait for; it has the next one then. */
static bool has_taken_enough(struct h1_conn *c)
{
    if (c->state != CONN_EXCHANGE || !c->was_owed || moved_so_far(c) < c->moved + least_progress(c))
        return false;
    start_patience(c);
    return true;
}

static bool check_deadline(struct h1_conn *c)
{
    if (!deadline_take(&c->deadline))
        return true;
    if (has_taken_enough(c))
        return true;
    if (c->state == CONN_HEAD)
        refuse(c,
               &(struct h1_refusal){ .status = 408, .text = "the request's head took too long" });
    else
        conn_close(c, c->state == CONN_EXCHANGE ? ERR_TIMEOUT : 0);
    return c->state != CONN_OVER;
}

/* How long the visitor may leave the exchange as it is; 0 = it is not its turn. */
static nsec patience_of(const struct h1_conn *c)
{
    const struct exchange *ex = c->ex;
    if (!buf_is_empty(&c->out))
        return c->group->stall; /* it takes nothing */
    if (h1_exchange_is_upgraded(c))
        return 0;
    if (c->in_over) /* a closed socket looks like this too, until something is written to it */
        return c->group->half;
    bool is_asked = !c->reader.is_over && !c->head_sent && body_room(&ex->up) > 0 &&
                    (!ex->request.expects_continue || c->continue_sent);
    return is_asked ? c->group->stall : 0; /* it sends nothing */
}

/* A visitor that neither takes nor sends what it should, or by too little, is given up after a
 * while. What it takes is looked at when that while is over, what it sends whenever it comes. */
static void watch_stall(struct h1_conn *c)
{
    if (c->state != CONN_EXCHANGE)
        return;
    nsec patience = patience_of(c);
    bool is_owed = !buf_is_empty(&c->out);
    bool is_new = patience != c->patience || is_owed != c->was_owed ||
                  (!is_owed && c->received - c->moved >= least_progress(c));
    c->patience = patience;
    c->was_owed = is_owed;
    if (patience == 0)
        deadline_clear(&c->deadline);
    else if (is_new || !deadline_is_set(&c->deadline))
        start_patience(c);
}

static void conn_run(struct task *t)
{
    struct h1_conn *c = container_of(t, struct h1_conn, task);
    bool was_idle = c->state == CONN_IDLE;
    if (was_idle && fill(c) < 0)
        return; /* first: what has come is a request, however late it is */
    if ((!was_idle || buf_is_empty(&c->in)) && !check_deadline(c))
        return;
    if (!was_idle && c->state != CONN_LINGER && fill(c) < 0)
        return;
    int r = 0;
    for (unsigned step = 0; r == 0 && step < 64; step++) {
        switch (c->state) {
        case CONN_IDLE:
        case CONN_HEAD:
            r = head_step(c);
            break;
        case CONN_EXCHANGE:
            r = exchange_step(c);
            break;
        case CONN_LINGER:
            r = linger_step(c);
            break;
        case CONN_OVER:
            return;
        }
    }
    if (c->state == CONN_OVER)
        return;
    if (r == 0)
        task_wake(&c->task);
    if (c->in_over && r == ERR_AGAIN && (c->state == CONN_IDLE || c->state == CONN_HEAD)) {
        conn_close(c, 0); /* what is left will never be a request */
        return;
    }
    watch_stall(c);
}
