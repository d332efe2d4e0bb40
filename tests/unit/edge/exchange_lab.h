#pragma once
/* A visitor, the edge's dispatcher, both ends of a tunnel, the connector and an origin, in one
 * process on one loop, all of them the real ones. Streams in memory stand for the visitor's
 * connection and for QUIC; the origin is on loopback. Any operation of any stream can be made to
 * fail. A program that includes this is linked with session_find, session_open_stream, tcp_dial,
 * tcp_is_connected and tcp_is_quiet wrapped. */
#include "connector/serve.h"
#include "edge/edge_int.h"
#include "http/page.h"
#include "net/pipe.h"
#include "net/turn.h"

/* ---- streams that fail ---- */

enum trouble { TROUBLE_AGAIN, TROUBLE_SHORT, TROUBLE_RESET };

static struct {
    size_t calls, fail_at; /* the read or write that fails, from 1; 0 = none */
    enum trouble kind;
} trouble;

struct faulty {
    struct stream base;
    struct stream *inner;
    struct loop *loop;
    struct task relay; /* whom the inner stream wakes */
    struct buf held;   /* taken, and not yet taken by the inner one */
    bool is_finished;
    struct reaper reaper;
};

static struct faulty *faulty_of(struct stream *s)
{
    return container_of(s, struct faulty, base);
}

static int flush_held(struct faulty *f)
{
    int r = buf_is_empty(&f->held) ? 0 : stream_write(f->inner, &f->held);
    if (r == 0 && f->is_finished)
        stream_finish(f->inner);
    return r;
}

static void relay_run(struct task *t)
{
    struct faulty *f = container_of(t, struct faulty, relay);
    (void)flush_held(f);
    task_wake(f->base.owner);
}

static bool is_in_trouble(void)
{
    return ++trouble.calls == trouble.fail_at;
}

static int break_off(struct faulty *f)
{
    stream_abort(f->inner, ERR_RESET);
    task_wake(f->base.owner);
    return ERR_RESET;
}

static int faulty_read(struct stream *s, struct buf *to, size_t max)
{
    struct faulty *f = faulty_of(s);
    if (!is_in_trouble() || max == 0)
        return stream_read(f->inner, to, max);
    if (trouble.kind == TROUBLE_RESET)
        return break_off(f);
    task_wake(f->base.owner);
    return trouble.kind == TROUBLE_AGAIN ? ERR_AGAIN : stream_read(f->inner, to, 1);
}

static int faulty_write(struct stream *s, struct buf *from)
{
    struct faulty *f = faulty_of(s);
    bool is_now = is_in_trouble();
    if (is_now && trouble.kind == TROUBLE_RESET)
        return break_off(f);
    int r = flush_held(f);
    if (r < 0)
        return r;
    if (!is_now || buf_is_empty(from))
        return stream_write(f->inner, from);
    if (trouble.kind == TROUBLE_SHORT && buf_move(&f->held, from, 1) > 0)
        r = flush_held(f);
    task_wake(f->base.owner);
    return r < 0 && r != ERR_AGAIN ? r : buf_is_empty(from) ? 0 : ERR_AGAIN;
}

static void faulty_finish(struct stream *s)
{
    struct faulty *f = faulty_of(s);
    f->is_finished = true;
    (void)flush_held(f);
}

static void faulty_abort(struct stream *s, int why)
{
    stream_abort(faulty_of(s)->inner, why);
}

static void faulty_reap(struct reaper *r)
{
    free(container_of(r, struct faulty, reaper));
}

static void faulty_release(struct stream *s)
{
    struct faulty *f = faulty_of(s);
    task_done(&f->relay);
    buf_done(&f->held);
    stream_release(f->inner);
    loop_reap(f->loop, &f->reaper, faulty_reap);
}

static const struct stream_ops FAULTY = {
    .kind = "faulty",
    .read = faulty_read,
    .write = faulty_write,
    .finish = faulty_finish,
    .abort = faulty_abort,
    .release = faulty_release,
};

/* The stream itself while nothing is to fail. */
static struct stream *wrap(struct loop *loop, struct stream *inner)
{
    struct faulty *f = trouble.fail_at > 0 ? calloc(1, sizeof *f) : NULL;
    if (f == NULL)
        return inner;
    f->base = (struct stream){ .ops = &FAULTY, .owner = inner->owner };
    f->inner = inner;
    f->loop = loop;
    task_init(&f->relay, loop, relay_run);
    buf_init(&f->held, loop_chunks(loop), 16);
    inner->owner = &f->relay;
    return &f->base;
}

static const struct stream *unwrap(const struct stream *s)
{
    return s->ops == &FAULTY ? faulty_of((struct stream *)(uintptr_t)s)->inner : s;
}

int __real_tcp_dial(struct loop *loop, const struct addr *to, const struct tcp_dial_opts *opts,
                    struct task *owner, struct stream **ret);
int __wrap_tcp_dial(struct loop *loop, const struct addr *to, const struct tcp_dial_opts *opts,
                    struct task *owner, struct stream **ret)
{
    int r = __real_tcp_dial(loop, to, opts, owner, ret);
    if (r == 0)
        *ret = wrap(loop, *ret);
    return r;
}

bool __real_tcp_is_connected(const struct stream *s);
bool __wrap_tcp_is_connected(const struct stream *s)
{
    return __real_tcp_is_connected(unwrap(s));
}

bool __real_tcp_is_quiet(struct stream *s);
bool __wrap_tcp_is_quiet(struct stream *s)
{
    return __real_tcp_is_quiet((struct stream *)(uintptr_t)unwrap(s));
}

/* ---- the laboratory ---- */

#define HOST         "a.test"
#define ANSWER_BYTES 30000
#define WINDOW       4096 /* of streams in memory: bodies come in many steps */
#define HEARD_MAX    (256 * 1024)

struct lab {
    struct loop *loop;
    struct task task;
    /* edge */
    struct edge edge;
    struct edge_worker worker;
    struct link *link;
    /* connector */
    struct serve serve;
    struct warp_routing warp;
    struct flow_limit flows;
    struct ingress *ingress;
    /* origin */
    struct tcp_listener *listener;
    struct h1_group origin;
    struct task accept;
    bool is_streamed;
    /* visitor */
    struct stream *visitor;
    struct buf said, heard;
    int end;
};

static struct lab *the_lab;

struct session *__wrap_session_find(struct edge_worker *w, uint64_t id);
struct session *__wrap_session_find(struct edge_worker *w, uint64_t id)
{
    (void)w;
    return id == the_lab->link->id ? (struct session *)(uintptr_t)the_lab : NULL;
}

int __wrap_session_open_stream(struct session *s, struct task *owner, struct stream **ret);
int __wrap_session_open_stream(struct session *s, struct task *owner, struct stream **ret)
{
    struct lab *l = (struct lab *)(uintptr_t)s;
    struct stream *near, *far;
    int r = pipe_new(l->loop, WINDOW, &near, &far);
    if (r < 0)
        return r;
    near->owner = owner;
    *ret = wrap(l->loop, near);
    serve_stream(&l->serve, wrap(l->loop, far), l->link->extensions);
    return 0;
}

/* ---- the origin: takes the whole request, then answers ---- */

static const char *answer_text(void)
{
    static char text[ANSWER_BYTES + 1];
    for (size_t i = 0; i < ANSWER_BYTES; i++)
        text[i] = (char)('a' + (i * 7 + (i >> 8)) % 26);
    return text;
}

struct origin_side {
    struct task task;
    struct exchange *ex;
};

static void origin_answer(struct exchange *ex)
{
    struct slice body = slice_of(answer_text(), ANSWER_BYTES);
    int r = 0;
    if (!the_lab->is_streamed) {
        r = page_respond_bytes(ex, 200, "text/plain", body);
    } else {
        struct response *p = response_new(ex, 200);
        r = p != NULL ? buf_put(&ex->down.held, body) : ERR_NOMEM;
        if (r == 0) {
            p->framing = FRAMING_STREAM;
            ex->down.total += body.n;
            exchange_respond(ex, p);
            body_end(&ex->down);
        }
    }
    if (r < 0)
        exchange_fail(ex, r, HOP_ORIGIN, NULL);
}

static void origin_run(struct task *t)
{
    struct origin_side *o = container_of(t, struct origin_side, task);
    struct exchange *ex = o->ex;
    bool is_gone = exchange_has_failed(ex) || exchange_has_left(ex, EX_LEFT);
    if (buf_len(&ex->up.held) > 0) {
        buf_drop(&ex->up.held, buf_len(&ex->up.held));
        exchange_wake_left(ex);
    }
    if (!is_gone && !body_is_over(&ex->up))
        return;
    if (!is_gone)
        origin_answer(ex);
    task_done(&o->task);
    exchange_leave(ex, EX_RIGHT);
}

static void origin_route(void *ctx, struct exchange *ex, const struct h1_conn *conn)
{
    struct lab *l = ctx;
    struct origin_side *o = arena_alloc(&ex->arena, sizeof *o);
    (void)conn;
    if (o == NULL) {
        exchange_fail(ex, ERR_NOMEM, HOP_ORIGIN, NULL);
        return;
    }
    o->ex = ex;
    ex->wants_body = true;
    task_init(&o->task, l->loop, origin_run);
    exchange_attach(ex, &o->task);
    task_wake(&o->task);
}

static void origin_accept(struct task *t)
{
    struct lab *l = container_of(t, struct lab, accept);
    struct stream *s;
    struct addr peer;
    while (l->listener != NULL && tcp_accept(l->listener, NULL, &s, &peer) == 0)
        if (h1_serve(&l->origin, s, &peer, "http") < 0) {
            stream_abort(s, ERR_NOMEM);
            stream_release(s);
        }
}

/* ---- opening and closing; nothing fails meanwhile ---- */

static void open_edge(struct lab *l)
{
    static const struct metric_desc METRICS[] = {
#define METRIC(k, field, n, l, h) { .name = n, .help = h, .kind = METRIC_##k, .labels = l },
#include "edge/metrics.def"
#undef METRIC
    };
    struct uuid tunnel = { { 1, 2, 3 } };
    struct edge_worker *w = &l->worker;
    l->edge.count = l->edge.conf.workers = 1;
    l->edge.workers = w;
    w->edge = &l->edge;
    w->loop = l->loop;
    w->links = link_table_new();
    w->metrics = metric_set_new(METRICS, EDGE_METRICS_COUNT);
    l->edge.hostnames = hostnames_new(10);
    w->hostnames = hostname_view_new(l->edge.hostnames);
    w->snapshot = snapshot_new();
    assert_int_equal(snapshot_add(w->snapshot, SLICE(HOST), &tunnel), 0);
    l->link = link_new(LINK_ID(0, 7), 0, loop_mailbox(l->loop));
    l->link->tunnel = tunnel;
    assert_int_equal(link_table_add(w->links, l->link), 0);
    h1_group_init(&w->visitors, l->loop, &l->task, dispatch_route, w);
    w->visitors.head_out = dispatch_head;
    w->visitors.done = account_done;
}

static void open_connector(struct lab *l, const char *service)
{
    struct uuid connector = { { 9 } };
    struct origin_request request;
    struct serve_conf conf = { .warp = &l->warp, .flows = &l->flows, .connector = &connector };
    origin_request_defaults(&request);
    warp_routing_defaults(&l->warp);
    assert_int_equal(ingress_single(service, &request, &l->ingress, NULL), 0);
    conf.ingress = l->ingress;
    conf.metrics = serve_metrics_new();
    assert_int_equal(serve_init(&l->serve, l->loop, &conf), 0);
}

/* All but the origin and the connector. */
static void lab_begin(struct lab *l, const char *request)
{
    *l = (struct lab){ .end = ERR_AGAIN };
    the_lab = l;
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->task, l->loop, do_nothing);
    task_init(&l->accept, l->loop, origin_accept);
    buf_init(&l->said, loop_chunks(l->loop), HEARD_MAX);
    buf_init(&l->heard, loop_chunks(l->loop), HEARD_MAX);
    assert_int_equal(buf_put(&l->said, slice_str(request)), 0);
    h1_group_init(&l->origin, l->loop, &l->task, origin_route, l);
    open_edge(l);
}

static inline void lab_open(struct lab *l, const char *request, bool is_streamed)
{
    struct tcp_listen_opts opts = { .fd = -1 };
    struct addr any, at;
    char service[64];
    lab_begin(l, request);
    l->is_streamed = is_streamed;
    assert_int_equal(addr_parse(SLICE("127.0.0.1:0"), &any), 0);
    assert_int_equal(tcp_listen(l->loop, &any, &opts, &l->accept, &l->listener, &at), 0);
    (void)snprintf(service, sizeof service, "http://127.0.0.1:%u", addr_port(&at));
    open_connector(l, service);
}

static void lab_close(struct lab *l, void **state_)
{
    struct edge_worker *w = &l->worker;
    stream_release(l->visitor);
    h1_group_abort(&w->visitors);
    struct metric_set *metrics = l->serve.metrics;
    serve_done(&l->serve);
    tcp_listener_close(l->listener);
    l->listener = NULL;
    h1_group_abort(&l->origin);
    buf_done(&l->said);
    buf_done(&l->heard);
    UNTIL(l->loop, w->visitors.count == 0 && l->origin.count == 0 &&
                       chunk_pool_used(loop_chunks(l->loop)) == 0);
    if (atomic_load(&l->link->in_flight) != 0)
        fail_msg("the link counts %u exchanges that are over", atomic_load(&l->link->in_flight));
    if (atomic_load(&w->metrics->cells[EDGE_exchanges]) != 0)
        fail_msg("the edge counts exchanges that are over");
    link_table_free(w->links);
    link_unref(l->link);
    snapshot_unref(w->snapshot);
    free(w->metrics);
    hostname_view_free(w->hostnames);
    hostnames_free(l->edge.hostnames);
    free(metrics);
    ingress_unref(l->ingress);
    task_done(&l->task);
    task_done(&l->accept);
    loop_free(l->loop);
}

/* ---- the visitor ---- */

static bool listen_on(struct lab *l)
{
    if (!buf_is_empty(&l->said))
        (void)stream_write(l->visitor, &l->said);
    while (l->end == ERR_AGAIN || l->end == 0)
        if ((l->end = stream_read(l->visitor, &l->heard, READ_STEP_BYTES)) == ERR_AGAIN)
            return false;
    return true;
}

/* What is asked was laid down by lab_open. */
static int ask(struct lab *l)
{
    struct stream *theirs;
    struct addr peer = { 0 };
    (void)addr_parse(SLICE("192.0.2.1:5"), &peer);
    int r = pipe_new(l->loop, WINDOW, &l->visitor, &theirs);
    if (r < 0)
        return r;
    l->visitor->owner = &l->task;
    theirs = wrap(l->loop, theirs);
    r = h1_serve(&l->worker.visitors, theirs, &peer, "http");
    if (r < 0) {
        stream_abort(theirs, r);
        stream_release(theirs);
    }
    return 0;
}

/* ---- what the visitor may see ---- */

/* Undoes chunks: the length of the body, or -1 when the end is missing. *rest gets what follows. */
static long unchunk(const char *p, char *to, const char **rest)
{
    long n = 0;
    for (;;) {
        char *end;
        unsigned long size = strtoul(p, &end, 16);
        if (end == p || strncmp(end, "\r\n", 2) != 0)
            return -1;
        p = end + 2;
        if (strnlen(p, size + 2) < size + 2 || strncmp(p + size, "\r\n", 2) != 0)
            return -1;
        memcpy(to + n, p, size);
        n += (long)size;
        p += size + 2;
        *rest = p;
        if (size == 0)
            return n;
    }
}

enum sight { SIGHT_NOTHING, SIGHT_CUT, SIGHT_ERROR, SIGHT_WHOLE };

/* Fails when a body that was cut looks whole, or anything follows the answer. */
static inline enum sight judge(struct lab *l)
{
    static char text[HEARD_MAX + 1], body[HEARD_MAX + 1];
    size_t n = buf_copy(&l->heard, 0, text, HEARD_MAX);
    text[n] = 0;
    char *end = strstr(text, "\r\n\r\n");
    if (n == 0 || end == NULL)
        return n == 0 ? SIGHT_NOTHING : SIGHT_CUT;
    unsigned status = 0;
    const char *rest = end + 4;
    if (sscanf(text, "HTTP/1.1 %u ", &status) != 1)
        fail_msg("no answer: %.100s", text);
    end[2] = 0;
    const char *length = strstr(text, "Content-Length: ");
    long got, want = length != NULL ? strtol(length + 16, NULL, 10) : 0;
    if (length != NULL) {
        got = (long)strlen(rest) < want ? -1 : want;
        memcpy(body, rest, got > 0 ? (size_t)got : 0);
        rest += got > 0 ? got : 0;
    } else {
        if (strstr(text, "Transfer-Encoding: chunked") == NULL)
            fail_msg("an answer that nobody knows the end of: %s", text);
        got = unchunk(rest, body, &rest);
    }
    if (got < 0)
        return SIGHT_CUT;
    if (*rest != 0)
        fail_msg("something follows the answer: %.100s", rest);
    if (status >= 400)
        return SIGHT_ERROR;
    if (status != 200 || got != ANSWER_BYTES || memcmp(body, answer_text(), ANSWER_BYTES) != 0)
        fail_msg("status %u with %ld bytes, which looks whole and is not what the origin said",
                 status, got);
    return SIGHT_WHOLE;
}

/* ---- the exchanges ---- */

struct exchange_case {
    const char *name, *request;
    bool is_streamed;
};

static inline const struct exchange_case *exchange_cases(size_t *ret_count)
{
    static char post[32000], stream[32000];
    static struct exchange_case cases[] = {
        { "get", "GET /x HTTP/1.1\r\nHost: " HOST "\r\nConnection: close\r\n\r\n", false },
        { "get, streamed", "GET /x HTTP/1.1\r\nHost: " HOST "\r\nConnection: close\r\n\r\n", true },
        { "post", post, false },
        { "post, streamed", stream, true },
    };
    (void)snprintf(post, sizeof post,
                   "POST / HTTP/1.1\r\nHost: " HOST
                   "\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%.*s",
                   20000, 20000, answer_text());
    (void)snprintf(stream, sizeof stream,
                   "POST / HTTP/1.1\r\nHost: " HOST
                   "\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "4e20\r\n%.*s\r\n0\r\n\r\n",
                   20000, answer_text());
    *ret_count = sizeof cases / sizeof cases[0];
    return cases;
}
