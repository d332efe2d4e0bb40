/* A rule of bytes behind a websocket: the test is the edge, at the other end of a stream in memory,
 * and the origin, at the other end of a TCP connection. */
#include "codec/websocket.h"
#include "connector/origin.h"
#include "connector/ws_flow.h"
#include "net/pipe.h"
#include "net/tcp.h"
#include "net/turn.h"
#include "test.h"
#include "tunnel/head.h"

#define BYTES_MAX (32 << 20)

struct lab {
    struct loop *loop;
    struct task task;
    struct serve serve;
    struct warp_routing warp;
    struct flow_limit flows;
    struct metric_set *metrics;
    struct tcp_listener *listener;
    struct stream *edge, *origin;
    struct buf from_edge, to_edge, to_origin, from_origin; /* as the connector sees them */
    int edge_end, origin_end;                              /* what reading last said */
    uint16_t port;
    nsec ping_every;
};

static struct lab *route_lab;

static void route(void *ctx, struct exchange *ex, enum connect_type type)
{
    struct serve *serve = ctx;
    struct ws_flow_opts opts = { .kind = WS_DIRECT,
                                 .rules = serve->ingress,
                                 .target = { .host = SLICE("127.0.0.1"),
                                             .port = route_lab->port,
                                             .connect_timeout = 30 * NSEC_PER_SEC },
                                 .ping_every = route_lab->ping_every };
    (void)type;
    ws_flow_attach(serve, ex, &opts);
}

static void lab_open(struct lab *l, void **state_)
{
    struct origin_request request;
    struct serve_conf conf = { .warp = &l->warp, .flows = &l->flows };
    struct uuid connector = { { 1 } };
    struct tcp_listen_opts opts = { .fd = -1 };
    struct addr any, at;
    *l = (struct lab){ .ping_every = WS_PING_NSEC };
    route_lab = l;
    CHECK_OK(loop_new(&l->loop));
    task_init(&l->task, l->loop, do_nothing);
    struct buf *const bufs[] = { &l->from_edge, &l->to_edge, &l->to_origin, &l->from_origin };
    for (size_t i = 0; i < 4; i++)
        buf_init(bufs[i], loop_chunks(l->loop), BYTES_MAX);
    CHECK_OK(addr_parse(SLICE("127.0.0.1:0"), &any));
    CHECK_OK(tcp_listen(l->loop, &any, &opts, &l->task, &l->listener, &at));
    l->port = addr_port(&at);
    origin_request_defaults(&request);
    CHECK_OK(ingress_single("http_status:404", &request, &conf.ingress, NULL));
    conf.metrics = l->metrics = serve_metrics_new();
    conf.connector = &connector;
    CHECK_OK(serve_init(&l->serve, l->loop, &conf));
    ingress_unref(conf.ingress);
    l->serve.streams.route = route;
}

static void lab_close(struct lab *l, void **state_)
{
    struct buf *const bufs[] = { &l->from_edge, &l->to_edge, &l->to_origin, &l->from_origin };
    if (l->edge != NULL)
        stream_release(l->edge);
    if (l->origin != NULL)
        stream_release(l->origin);
    serve_done(&l->serve);
    tcp_listener_close(l->listener);
    for (size_t i = 0; i < 4; i++)
        buf_done(bufs[i]);
    task_done(&l->task);
    UNTIL(l->loop, chunk_pool_used(loop_chunks(l->loop)) == 0);
    free(l->metrics);
    loop_free(l->loop);
}

/* The edge opens a stream with a request's head. */
static void ask(struct lab *l, void **state_)
{
    struct metadata key = { SLICE("HttpHeader:Sec-Websocket-Key"),
                            SLICE("dGhlIHNhbXBsZSBub25jZQ==") };
    struct connect_head head = { .type = CONNECT_WEBSOCKET,
                                 .dest = SLICE("http://a.test/"),
                                 .items = &key,
                                 .count = 1,
                                 .max = 1 };
    struct stream *theirs;
    CHECK_OK(pipe_new(l->loop, 65536, &l->edge, &theirs));
    l->edge->owner = &l->task;
    serve_stream(&l->serve, theirs, 0);
    CHECK_OK(head_encode_request(&l->from_edge, &head));
}

/* Every way goes as far as it can. */
static bool move(struct lab *l)
{
    struct addr peer;
    if (l->origin == NULL && tcp_accept(l->listener, &l->task, &l->origin, &peer) < 0)
        l->origin = NULL;
    if (l->edge != NULL && !buf_is_empty(&l->from_edge))
        (void)stream_write(l->edge, &l->from_edge);
    if (l->origin != NULL && !buf_is_empty(&l->from_origin))
        (void)stream_write(l->origin, &l->from_origin);
    return true;
}

static void read_edge(struct lab *l)
{
    while (l->edge_end == 0 || l->edge_end == ERR_AGAIN)
        if ((l->edge_end = stream_read(l->edge, &l->to_edge, READ_STEP_BYTES)) == ERR_AGAIN)
            return;
}

static void read_origin(struct lab *l)
{
    while (l->origin != NULL && (l->origin_end == 0 || l->origin_end == ERR_AGAIN))
        if ((l->origin_end = stream_read(l->origin, &l->to_origin, READ_STEP_BYTES)) == ERR_AGAIN)
            return;
}

static bool go(struct lab *l)
{
    (void)move(l);
    read_edge(l);
    read_origin(l);
    return true;
}

/* Takes the connector's head off, once the exchange is acknowledged and the origin is there. */
static void connect_all(struct lab *l, void **state_)
{
    uint8_t start[64];
    size_t size = 0;
    ask(l, state_);
    UNTIL(l->loop,
          go(l) && l->origin != NULL &&
              head_size(slice_of(start, buf_copy(&l->to_edge, 0, start, 64)), &size) == 0 &&
              buf_len(&l->to_edge) >= size);
    buf_drop(&l->to_edge, size);
}

static void put_frame(struct lab *l, enum websocket_opcode opcode, bool is_masked, const void *p,
                      size_t n)
{
    struct websocket_frame f = { opcode, true, is_masked, { 9, 8, 7, 6 }, n };
    uint8_t head[WEBSOCKET_HEAD_BYTES], *copy = malloc(n + 1);
    memcpy(copy, p, n);
    if (is_masked)
        websocket_mask(copy, n, f.mask, 0);
    assert_int_equal(buf_put(&l->from_edge, slice_of(head, websocket_head_encode(&f, head))), 0);
    assert_int_equal(buf_put(&l->from_edge, slice_of(copy, n)), 0);
    free(copy);
}

static bool has(struct buf *b, const char *want)
{
    char got[256] = { 0 };
    return buf_len(b) == strlen(want) && buf_copy(b, 0, got, sizeof got) == strlen(want) &&
           memcmp(got, want, strlen(want)) == 0;
}

static bool has_bytes(struct buf *b, const void *want, size_t n)
{
    uint8_t got[256];
    return buf_len(b) == n && buf_copy(b, 0, got, sizeof got) == n && memcmp(got, want, n) == 0;
}

static uint8_t *pattern(size_t n)
{
    uint8_t *p = malloc(n);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(i * 31 + (i >> 9));
    return p;
}

static bool is_pattern(struct buf *b, size_t n)
{
    uint8_t *want = pattern(n), *got = malloc(n);
    bool is = buf_len(b) == n && buf_copy(b, 0, got, n) == n && memcmp(got, want, n) == 0;
    free(want);
    free(got);
    return is;
}

TEST(a_ping_is_answered_with_its_payload_also_amid_silence)
{
    struct lab l;
    lab_open(&l, state_);
    connect_all(&l, state_);
    put_frame(&l, WEBSOCKET_PING, true, "abc", 3);
    UNTIL(l.loop, go(&l) && has(&l.to_edge, "\x8a\x03"
                                            "abc"));
    CHECK(buf_is_empty(&l.to_origin));
    lab_close(&l, state_);
}

TEST(pings_go_out_again_and_again)
{
    struct lab l;
    lab_open(&l, state_);
    l.ping_every = NSEC_PER_SEC / 1000;
    connect_all(&l, state_);
    UNTIL(l.loop, go(&l) && buf_len(&l.to_edge) >= 4);
    uint8_t got[4];
    (void)buf_copy(&l.to_edge, 0, got, sizeof got);
    CHECK(memcmp(got, "\x89\x00\x89\x00", 4) == 0);
    lab_close(&l, state_);
}

TEST(a_close_frame_ends_the_flow_after_what_came_before_it)
{
    struct lab l;
    lab_open(&l, state_);
    connect_all(&l, state_);
    put_frame(&l, WEBSOCKET_BINARY, true, "last", 4);
    put_frame(&l, WEBSOCKET_CLOSE, true, "\x03\xe8", 2);
    put_frame(&l, WEBSOCKET_BINARY, true, "late", 4);
    UNTIL(l.loop, go(&l) && l.edge_end == ERR_EOF && l.origin_end == ERR_EOF);
    CHECK(has(&l.to_origin, "last") && buf_is_empty(&l.to_edge));
    lab_close(&l, state_);
}

TEST(a_frame_without_a_mask_ends_the_flow)
{
    struct lab l;
    lab_open(&l, state_);
    connect_all(&l, state_);
    put_frame(&l, WEBSOCKET_BINARY, true, "good", 4);
    put_frame(&l, WEBSOCKET_BINARY, false, "bad", 3);
    UNTIL(l.loop, go(&l) && l.edge_end == ERR_EOF && l.origin_end == ERR_EOF);
    CHECK(has(&l.to_origin, "good"));
    lab_close(&l, state_);
}

TEST(the_edges_end_is_the_origins_and_the_answer_still_comes)
{
    struct lab l;
    lab_open(&l, state_);
    connect_all(&l, state_);
    put_frame(&l, WEBSOCKET_BINARY, true, "question", 8);
    UNTIL(l.loop, go(&l) && buf_is_empty(&l.from_edge));
    stream_finish(l.edge);
    UNTIL(l.loop, go(&l) && l.origin_end == ERR_EOF);
    CHECK(has(&l.to_origin, "question") && l.edge_end == ERR_AGAIN);
    CHECK_OK(buf_put(&l.from_origin, SLICE("answer")));
    UNTIL(l.loop, go(&l) && buf_is_empty(&l.from_origin));
    stream_finish(l.origin);
    UNTIL(l.loop, go(&l) && l.edge_end == ERR_EOF);
    CHECK(has_bytes(&l.to_edge,
                    "\x82\x06"
                    "answer",
                    8));
    lab_close(&l, state_);
}

TEST(an_end_amid_a_message_cuts_the_origins_connection)
{
    struct lab l;
    lab_open(&l, state_);
    connect_all(&l, state_);
    /* three of eight bytes */
    CHECK_OK(buf_put(&l.from_edge, slice_of("\x82\x88\0\0\0\0abc", 9)));
    UNTIL(l.loop, go(&l) && buf_is_empty(&l.from_edge));
    stream_finish(l.edge);
    UNTIL(l.loop, go(&l) && l.origin_end < 0 && l.origin_end != ERR_AGAIN);
    CHECK(l.origin_end == ERR_RESET);
    UNTIL(l.loop, go(&l) && l.edge_end < 0 && l.edge_end != ERR_AGAIN);
    CHECK(l.edge_end == ERR_RESET);
    lab_close(&l, state_);
}

TEST(an_origin_that_breaks_off_is_a_reset_to_the_edge)
{
    struct lab l;
    lab_open(&l, state_);
    connect_all(&l, state_);
    stream_release(l.origin); /* unfinished */
    l.origin = NULL;
    UNTIL(l.loop, go(&l) && l.edge_end < 0 && l.edge_end != ERR_AGAIN);
    CHECK(l.edge_end == ERR_RESET);
    lab_close(&l, state_);
}

TEST(an_edge_that_gives_up_leaves_no_connection_behind)
{
    struct lab l;
    lab_open(&l, state_);
    connect_all(&l, state_);
    stream_abort(l.edge, ERR_CANCELED);
    l.edge_end = ERR_CANCELED;
    UNTIL(l.loop, go(&l) && l.origin_end < 0 && l.origin_end != ERR_AGAIN);
    CHECK(l.serve.streams.count == 0);
    lab_close(&l, state_);
}

/* Turns until nothing moves any more. */
static size_t settle(struct lab *l, const struct buf *watched)
{
    size_t before;
    do {
        before = buf_len(watched);
        for (int i = 0; i < 50; i++) {
            (void)move(l);
            loop_turn(l->loop, 1);
        }
    } while (buf_len(watched) < before);
    return before;
}

TEST(an_origin_that_does_not_read_stops_the_edge_and_loses_nothing)
{
    enum { N = 24 << 20 };
    struct lab l;
    uint8_t *data = pattern(N);
    lab_open(&l, state_);
    connect_all(&l, state_);
    put_frame(&l, WEBSOCKET_BINARY, true, data, N); /* one message */
    size_t left = settle(&l, &l.from_edge);
    CHECK(left > 0); /* what is in the kernel and in bounded buffers is far less than that */
    UNTIL(l.loop, go(&l) && buf_len(&l.to_origin) == N);
    CHECK(is_pattern(&l.to_origin, N));
    free(data);
    lab_close(&l, state_);
}

/* Takes unmasked binary frames apart. */
static void unframe(struct lab *l, struct buf *to, void **state_)
{
    uint8_t head[WEBSOCKET_HEAD_BYTES];
    struct websocket_frame f;
    while (!buf_is_empty(&l->to_edge)) {
        int size =
            websocket_head_decode(slice_of(head, buf_copy(&l->to_edge, 0, head, sizeof head)), &f);
        CHECK(size > 0 && f.opcode == WEBSOCKET_BINARY && f.is_final && !f.is_masked);
        CHECK(f.length > 0 && f.length <= WS_MESSAGE_BYTES_MAX);
        buf_drop(&l->to_edge, (size_t)size);
        CHECK(buf_move(to, &l->to_edge, f.length) == f.length);
    }
}

TEST(an_edge_that_does_not_read_stops_the_origin_and_loses_nothing)
{
    enum { N = 24 << 20 };
    struct lab l;
    struct buf got;
    uint8_t *data = pattern(N);
    lab_open(&l, state_);
    connect_all(&l, state_);
    CHECK_OK(buf_put(&l.from_origin, slice_of(data, N)));
    CHECK(settle(&l, &l.from_origin) > 0);
    UNTIL(l.loop, go(&l) && buf_is_empty(&l.from_origin));
    stream_finish(l.origin);
    UNTIL(l.loop, go(&l) && l.edge_end == ERR_EOF);
    buf_init(&got, loop_chunks(l.loop), BYTES_MAX);
    unframe(&l, &got, state_);
    CHECK(is_pattern(&got, N));
    buf_done(&got);
    free(data);
    lab_close(&l, state_);
}

TESTS(RUN(a_ping_is_answered_with_its_payload_also_amid_silence), RUN(pings_go_out_again_and_again),
      RUN(a_close_frame_ends_the_flow_after_what_came_before_it),
      RUN(a_frame_without_a_mask_ends_the_flow),
      RUN(the_edges_end_is_the_origins_and_the_answer_still_comes),
      RUN(an_end_amid_a_message_cuts_the_origins_connection),
      RUN(an_origin_that_breaks_off_is_a_reset_to_the_edge),
      RUN(an_edge_that_gives_up_leaves_no_connection_behind),
      RUN(an_origin_that_does_not_read_stops_the_edge_and_loses_nothing),
      RUN(an_edge_that_does_not_read_stops_the_origin_and_loses_nothing))
