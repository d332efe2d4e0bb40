#include "net/srv.h"

#include <arpa/nameser.h>
#include <netdb.h>
#include <resolv.h>
#include <stdlib.h>
#include <uv.h>

#include "base/err.h"

#define ANSWER_BYTES_MAX 65535 /* of a message over TCP */
#define FIXED_BYTES      6     /* priority, weight, port */

struct srv {
    uv_work_t work;
    struct loop *loop;
    struct task *owner;
    char name[HOSTNAME_BYTES_MAX + 1];
    bool is_over, is_freed; /* freed while under way: the callback frees it */
    int result;             /* the pool's until is_over; so are the records */
    struct srv_record records[SRV_RECORDS_MAX];
    size_t count;
};

/* ---- answers ---- */

static int take_record(ns_msg *msg, ns_rr *rr, struct srv_record *ret)
{
    const uint8_t *data = ns_rr_rdata(*rr);
    if (ns_rr_rdlen(*rr) <= FIXED_BYTES)
        return ERR_PROTO;
    ret->priority = (uint16_t)ns_get16(data);
    ret->weight = (uint16_t)ns_get16(data + 2);
    ret->port = (uint16_t)ns_get16(data + 4);
    int n = dn_expand(ns_msg_base(*msg), ns_msg_end(*msg), data + FIXED_BYTES, ret->target,
                      sizeof ret->target);
    return n == ns_rr_rdlen(*rr) - FIXED_BYTES ? 0 : ERR_PROTO;
}

int srv_parse(struct slice answer, struct srv_record *records, size_t max, size_t *ret_count)
{
    ns_msg msg;
    ns_rr rr;
    size_t n = 0;
    if (answer.n > ANSWER_BYTES_MAX || ns_initparse(answer.p, (int)answer.n, &msg) < 0)
        return ERR_PROTO;
    for (int i = 0; i < ns_msg_count(msg, ns_s_an) && n < max; i++) {
        if (ns_parserr(&msg, ns_s_an, i, &rr) < 0)
            return ERR_PROTO;
        if (ns_rr_type(rr) != ns_t_srv || ns_rr_class(rr) != ns_c_in)
            continue; /* an alias on the way to them */
        if (take_record(&msg, &rr, &records[n]) < 0)
            return ERR_PROTO;
        n += records[n].target[0] != 0; /* the root: "decidedly not available" */
    }
    *ret_count = n;
    return n > 0 ? 0 : ERR_NOTFOUND;
}

/* ---- the order ---- */

static int by_priority(const void *a, const void *b)
{
    const struct srv_record *x = a, *y = b;
    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return (x->weight > 0) - (y->weight > 0); /* those without weight first, as the RFC has it */
}

static void put_first(struct srv_record *records, size_t at)
{
    struct srv_record chosen = records[at];
    memmove(&records[1], &records[0], at * sizeof records[0]);
    records[0] = chosen;
}

static void draw(struct srv_record *records, size_t count, struct rng *rng)
{
    for (; count > 1; records++, count--) {
        uint64_t sum = 0, running = 0;
        for (size_t i = 0; i < count; i++)
            sum += records[i].weight;
        uint64_t drawn = rng_below(rng, sum + 1);
        size_t at = 0;
        while (running + records[at].weight < drawn)
            running += records[at++].weight;
        put_first(records, at);
    }
}

void srv_order(struct srv_record *records, size_t count, struct rng *rng)
{
    qsort(records, count, sizeof records[0], by_priority);
    for (size_t from = 0, end; from < count; from = end) {
        for (end = from + 1; end < count && records[end].priority == records[from].priority; end++)
            continue;
        draw(&records[from], end - from, rng);
    }
}

/* ---- looking up ---- */

/* On a thread of the pool: nothing of the loop is touched. */
static void ask(uv_work_t *work)
{
    struct srv *s = container_of(work, struct srv, work);
    struct __res_state state = { 0 };
    uint8_t *answer = malloc(ANSWER_BYTES_MAX);
    s->result = ERR_NOMEM;
    if (answer == NULL)
        return;
    s->result = ERR_RESOLVE;
    if (res_ninit(&state) == 0) {
        int n = res_nquery(&state, s->name, ns_c_in, ns_t_srv, answer, ANSWER_BYTES_MAX);
        bool is_none =
            n < 0 && (state.res_h_errno == HOST_NOT_FOUND || state.res_h_errno == NO_DATA);
        if (n >= 0)
            s->result =
                srv_parse(slice_of(answer, (size_t)n), s->records, SRV_RECORDS_MAX, &s->count);
        else if (is_none)
            s->result = ERR_NOTFOUND;
        res_nclose(&state);
    }
    free(answer);
}

static void on_answer(uv_work_t *work, int status)
{
    struct srv *s = container_of(work, struct srv, work);
    if (status < 0)
        s->result = ERR_RESOLVE; /* it was cancelled before it began */
    if (s->is_freed) {
        free(s);
        return;
    }
    srv_order(s->records, s->count, loop_rng(s->loop));
    s->is_over = true;
    task_wake(s->owner);
}

int srv_start(struct loop *loop, struct slice name, struct task *owner, struct srv **ret)
{
    if (name.n == 0 || name.n > HOSTNAME_BYTES_MAX || slice_find(name, 0) < name.n)
        return ERR_RESOLVE;
    struct srv *s = calloc(1, sizeof *s);
    if (s == NULL)
        return ERR_NOMEM;
    s->loop = loop;
    s->owner = owner;
    memcpy(s->name, name.p, name.n);
    if (uv_queue_work(loop_uv(loop), &s->work, ask, on_answer) < 0) {
        free(s);
        return ERR_RESOLVE;
    }
    *ret = s;
    return 0;
}

int srv_result(const struct srv *s, const struct srv_record **ret, size_t *ret_count)
{
    if (!s->is_over)
        return ERR_AGAIN;
    if (s->result < 0)
        return s->result;
    *ret = s->records;
    *ret_count = s->count;
    return 0;
}

void srv_free(struct srv *s)
{
    if (s == NULL)
        return;
    if (s->is_over) {
        free(s);
        return;
    }
    s->is_freed = true;
    (void)uv_cancel((uv_req_t *)&s->work); /* the callback comes in any case */
}
