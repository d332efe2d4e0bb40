#pragma once
/* A visitor, the edge's dispatcher, both ends of a tunnel, the connector and an origin, in one
 * process on one loop, all of them the real ones. Streams in memory stand for the visitor's
 * connection, for QUIC, and for what HTTP/2 runs on; the origin is on loopback. Any operation of
 * any stream can be made to fail. A program that includes this is linked with session_find,
 * session_carrier and quic_conn_open wrapped, and as net/faulty.h says. */
#include "connector/serve.h"
#include "crypto/x509.h"
#include "edge/edge_int.h"
#include "http/h2_server.h"
#include "http/page.h"
#include "net/faulty.h"
#include "net/pipe.h"
#include "net/turn.h"

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
    struct h2_conn *tunnel; /* the edge's end where it is HTTP/2, or NULL */
    /* connector */
    struct h2_conn *served;
    struct task serving;
    struct serve serve;
    struct warp_routing warp;
    struct flow_limit flows;
    struct ingress *ingress;
    /* origin */
    struct tcp_listener *listener;
    struct h1_group origin;
    struct h2_server_group origin_h2;
    struct task accept;
    bool is_streamed, is_h2, has_trailers;
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

int __wrap_session_carrier(struct session *s, struct carrier **ret);
int __wrap_session_carrier(struct session *s, struct carrier **ret)
{
    static struct carrier carrier;
    carrier.h2 = the_lab->tunnel;
    carrier.quic = carrier.h2 == NULL ? (struct quic_conn *)(void *)s : NULL;
    *ret = &carrier;
    return 0;
}

int __wrap_quic_conn_open(struct quic_conn *c, struct task *owner, struct stream **ret);
int __wrap_quic_conn_open(struct quic_conn *c, struct task *owner, struct stream **ret)
{
    struct lab *l = (struct lab *)(void *)c;
    struct stream *near, *far;
    int r = pipe_new(l->loop, WINDOW, &near, &far);
    if (r < 0)
        return r;
    near->owner = owner;
    *ret = wrap(l->loop, near);
    serve_stream(&l->serve, wrap(l->loop, far), l->link->extensions);
    return 0;
}

/* ---- the tunnel over HTTP/2 ---- */

static void serve_tunnel(struct task *t)
{
    struct lab *l = container_of(t, struct lab, serving);
    const struct h2_hop hop = { .scheme = "http", .extensions = l->link->extensions };
    const struct h2_head *head;
    struct h2_stream *s;
    while (l->served != NULL && h2_conn_accept(l->served, NULL, &s) == 0)
        if (h2_stream_head(s, &head) == 0)
            serve_h2_stream(&l->serve, s, head, &hop);
        else
            stream_release(h2_stream_body(s));
}

/* Both ends as edge/carrier and connector/transport_h2 set them up. */
static void open_tunnel(struct lab *l)
{
    const struct h2_conf edge = { .stream_window = WINDOW,
                                  .conn_window = TUNNEL_H2_CONN_WINDOW_BYTES,
                                  .frame_bytes = TUNNEL_H2_FRAME_BYTES,
                                  .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX };
    struct h2_conf connector = edge;
    struct stream *near, *far;
    connector.is_server = true;
    connector.streams_max = 100;
    assert_int_equal(pipe_new(l->loop, WINDOW, &near, &far), 0);
    near = wrap(l->loop, near);
    far = wrap(l->loop, far);
    assert_int_equal(h2_open(l->loop, &edge, near, &l->task, &l->tunnel), 0);
    assert_int_equal(h2_open(l->loop, &connector, far, &l->serving, &l->served), 0);
}

static void close_tunnel(struct lab *l)
{
    h2_conn_abort(l->tunnel);
    h2_conn_abort(l->served);
    l->tunnel = l->served = NULL;
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

#define TRAILER "X-Sum: 77\r\n"

static int add_trailers(struct exchange *ex, struct response *p)
{
    struct fields *f = arena_alloc(&ex->arena, sizeof *f);
    if (f == NULL)
        return ERR_NOMEM;
    fields_init(f, &ex->arena);
    ex->down_trailers = f;
    int r = fields_add(f, SLICE("X-Sum"), SLICE("77"));
    return r == 0 ? fields_add(&p->fields, SLICE("Trailer"), SLICE("X-Sum")) : r;
}

static void origin_answer(struct exchange *ex)
{
    struct slice body = slice_of(answer_text(), ANSWER_BYTES);
    int r = 0;
    if (!the_lab->is_streamed) {
        r = page_respond_bytes(ex, 200, "text/plain", body);
    } else {
        struct response *p = response_new(ex, 200);
        r = p != NULL ? buf_put(&ex->down.held, body) : ERR_NOMEM;
        if (r == 0 && the_lab->has_trailers)
            r = add_trailers(ex, p);
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

static void origin_route_h2(void *ctx, struct exchange *ex)
{
    struct lab *l = ctx;
    struct origin_side *o = arena_alloc(&ex->arena, sizeof *o);
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

static void origin_route(void *ctx, struct exchange *ex, const struct h1_conn *conn)
{
    (void)conn;
    origin_route_h2(ctx, ex);
}

/* Of the origin that speaks HTTP/2: made once, while memory lasts. */
static struct tls_creds *origin_creds(void)
{
    static struct tls_creds *creds;
    static const char *const names[] = { "127.0.0.1", NULL }, *const alpn[] = { "h2", NULL };
    struct x509_pair ca, pair;
    if (creds != NULL)
        return creds;
    assert_int_equal(x509_make_ca("origin", &ca, NULL), 0);
    assert_int_equal(x509_issue(&ca, names, 1, &pair, NULL), 0);
    struct tls_server_opts opts = { .chain_pem = slice_str(pair.cert_pem),
                                    .key_pem = slice_str(pair.key_pem),
                                    .alpn = alpn };
    assert_int_equal(tls_creds_server(&opts, &creds, NULL), 0);
    x509_pair_free(&pair);
    x509_pair_free(&ca);
    return creds;
}

/* Below 0, the stream is still the caller's. */
static int origin_serve(struct lab *l, struct stream *s, const struct addr *peer)
{
    static const struct h2_conf conf = { .is_server = true };
    struct stream *tls;
    if (!l->is_h2)
        return h1_serve(&l->origin, s, peer, "http");
    int r = tls_accept(l->loop, origin_creds(), s, NULL, &tls);
    if (r < 0)
        return r;
    if (h2_serve(&l->origin_h2, tls, &conf, "https") < 0)
        stream_release(tls);
    return 0;
}

static void origin_accept(struct task *t)
{
    struct lab *l = container_of(t, struct lab, accept);
    struct stream *s;
    struct addr peer;
    while (l->listener != NULL && tcp_accept(l->listener, NULL, &s, &peer) == 0)
        if (origin_serve(l, s, &peer) < 0) {
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
    list_init(&w->waiting);
    list_init(&w->held);
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
    request.http2 = request.no_tls_verify = l->is_h2;
    warp_routing_defaults(&l->warp);
    assert_int_equal(ingress_single(service, &request, &l->ingress, NULL), 0);
    assert_int_equal(ingress_load_tls(l->ingress, NULL), 0);
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
    task_init(&l->serving, l->loop, serve_tunnel);
    buf_init(&l->said, loop_chunks(l->loop), HEARD_MAX);
    buf_init(&l->heard, loop_chunks(l->loop), HEARD_MAX);
    assert_int_equal(buf_put(&l->said, slice_str(request)), 0);
    h1_group_init(&l->origin, l->loop, &l->task, origin_route, l);
    h2_server_group_init(&l->origin_h2, l->loop, &l->task, origin_route_h2, l);
    open_edge(l);
}

struct exchange_case {
    const char *name, *request;
    bool is_streamed;  /* an answer without a length */
    bool is_h2;        /* the origin speaks HTTP/2 */
    bool has_trailers; /* both ways: the bodies go in pieces through the tunnel */
    bool is_tunnel_h2; /* the tunnel is over HTTP/2 */
};

static inline void lab_open(struct lab *l, const struct exchange_case *c)
{
    struct tcp_listen_opts opts = { .fd = -1 };
    struct addr any, at;
    char service[64];
    lab_begin(l, c->request);
    l->is_streamed = c->is_streamed;
    l->is_h2 = c->is_h2;
    l->has_trailers = c->has_trailers;
    l->link->extensions = c->has_trailers ? EXTENSION_TRAILERS : 0;
    assert_int_equal(addr_parse(SLICE("127.0.0.1:0"), &any), 0);
    assert_int_equal(tcp_listen(l->loop, &any, &opts, &l->accept, &l->listener, &at), 0);
    (void)snprintf(service, sizeof service, "%s://127.0.0.1:%u", l->is_h2 ? "https" : "http",
                   addr_port(&at));
    open_connector(l, service);
    if (c->is_tunnel_h2)
        open_tunnel(l);
}

static void lab_close(struct lab *l, void **state_)
{
    struct edge_worker *w = &l->worker;
    stream_release(l->visitor);
    h1_group_abort(&w->visitors);
    close_tunnel(l);
    struct metric_set *metrics = l->serve.metrics;
    serve_done(&l->serve);
    tcp_listener_close(l->listener);
    l->listener = NULL;
    h1_group_abort(&l->origin);
    h2_server_group_abort(&l->origin_h2);
    buf_done(&l->said);
    buf_done(&l->heard);
    UNTIL(l->loop, w->visitors.count == 0 && l->origin.count == 0 && l->origin_h2.count == 0 &&
                       list_is_empty(&l->origin_h2.conns) &&
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
    task_done(&l->serving);
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
        if (size == 0 && the_lab->has_trailers) {
            if (strncasecmp(p, TRAILER, sizeof TRAILER - 1) != 0) /* HTTP/2 has no case */
                return -1;
            p += sizeof TRAILER - 1;
        }
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

static inline const struct exchange_case *exchange_cases(size_t *ret_count)
{
    static char post[32000], stream[32000], trailers[32000];
    static struct exchange_case cases[] = {
        { "get", "GET /x HTTP/1.1\r\nHost: " HOST "\r\nConnection: close\r\n\r\n", false, false },
        { "get, streamed", "GET /x HTTP/1.1\r\nHost: " HOST "\r\nConnection: close\r\n\r\n", true,
          false },
        { "post", post, false, false },
        { "post, streamed", stream, true, false },
        { "get over HTTP/2, streamed",
          "GET /x HTTP/1.1\r\nHost: " HOST "\r\nConnection: close\r\n\r\n", true, true },
        { "post over HTTP/2", post, false, true },
        { "post over HTTP/2, streamed", stream, true, true },
        { "post with trailers", trailers, true, false, true },
        { "get, tunnel over HTTP/2",
          "GET /x HTTP/1.1\r\nHost: " HOST "\r\nConnection: close\r\n\r\n", false, false, false,
          true },
        { "post, tunnel over HTTP/2", post, false, false, false, true },
        { "post, streamed, tunnel over HTTP/2", stream, true, false, false, true },
        { "post over HTTP/2 all the way", stream, true, true, false, true },
        { "post with trailers, tunnel over HTTP/2", trailers, true, false, true, true },
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
    (void)snprintf(trailers, sizeof trailers,
                   "POST / HTTP/1.1\r\nHost: " HOST "\r\nConnection: close\r\nTrailer: X-Sum\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n4e20\r\n%.*s\r\n0\r\n" TRAILER "\r\n",
                   20000, answer_text());
    (void)origin_creds();
    *ret_count = sizeof cases / sizeof cases[0];
    return cases;
}
