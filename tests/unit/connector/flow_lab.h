#pragma once
/* A flow of bytes through the connector: the test is the edge, at the other end of a stream in
 * memory, and the origin, a plain socket on loopback, so that what fails is the connector's. The
 * origin takes a question up to its end and gives an answer. A program that includes this is linked
 * as net/faulty.h says. */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "codec/websocket.h"
#include "connector/serve.h"
#include "net/faulty.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "test.h"
#include "tunnel/head.h"

#define QUESTION_BYTES 90000
#define ANSWER_BYTES   30000
#define WINDOW         40000 /* of the stream in memory: everything comes in several steps */
#define HEARD_MAX      (256 * 1024)

enum flow_kind {
    FLOW_TCP,   /* tunnel type tcp */
    FLOW_WS,    /* a rule of bytes behind a websocket */
    FLOW_SOCKS, /* likewise, with a dialogue of SOCKS before the bytes */
    FLOW_CLOSE, /* a websocket that its visitor closes behind the question: there is no answer */
};
#define FLOW_KINDS 4

static const char *const FLOW_NAMES[] = { "tcp", "websocket", "socks", "closed websocket" };

struct flow_lab {
    struct loop *loop;
    struct task task;
    struct serve serve;
    struct warp_routing warp;
    struct flow_limit flows;
    struct ingress *ingress;
    enum flow_kind kind;
    /* the edge */
    struct stream *edge;
    struct buf said, heard;
    bool is_finished;
    int end; /* what reading last said */
    /* the origin */
    int listener, fd;
    uint16_t port;
    size_t asked, answered; /* bytes */
    bool origin_over;       /* it saw an end */
    int origin_err;         /* errno of a connection that was reset */
};

static inline uint8_t flow_byte(size_t at)
{
    return (uint8_t)(at * 7 + (at >> 8));
}

/* ---- the origin ---- */

static void origin_open(struct flow_lab *l)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof at;
    l->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(l->listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(l->listener, 4), 0);
    assert_int_equal(getsockname(l->listener, (struct sockaddr *)&at, &size), 0);
    l->port = ntohs(at.sin_port);
    l->fd = -1;
}

static void origin_hear(struct flow_lab *l)
{
    uint8_t in[4096];
    ssize_t n;
    while ((n = recv(l->fd, in, sizeof in, 0)) > 0)
        for (ssize_t i = 0; i < n; i++)
            if (in[i] != flow_byte(l->asked++))
                fail_msg("%s: byte %zu of the question differs", FLOW_NAMES[l->kind], l->asked - 1);
    if (n == 0) {
        l->origin_over = true;
        if (l->asked != QUESTION_BYTES &&
            l->asked > 0) /* a connection that says nothing asks nothing */
            fail_msg("%s: a question that ends after %zu bytes looks whole to the origin",
                     FLOW_NAMES[l->kind], l->asked);
    } else if (errno != EAGAIN) {
        l->origin_over = true;
        l->origin_err = errno;
    }
}

static void origin_say(struct flow_lab *l)
{
    uint8_t out[ANSWER_BYTES];
    for (size_t i = 0; i < ANSWER_BYTES; i++)
        out[i] = flow_byte(i * 3);
    ssize_t n = send(l->fd, out + l->answered, ANSWER_BYTES - l->answered, MSG_NOSIGNAL);
    l->answered += n > 0 ? (size_t)n : 0;
    if (l->answered == ANSWER_BYTES)
        (void)shutdown(l->fd, SHUT_WR);
}

static void origin_go(struct flow_lab *l)
{
    if (l->fd < 0)
        l->fd = accept4(l->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (l->fd >= 0 && !l->origin_over)
        origin_hear(l);
    if (l->origin_over && l->origin_err == 0 && l->answered < ANSWER_BYTES && l->kind != FLOW_CLOSE)
        origin_say(l);
}

/* ---- the edge ---- */

static void put_frame(struct flow_lab *l, enum websocket_opcode opcode, const uint8_t *p, size_t n)
{
    struct websocket_frame f = { opcode, true, true, { 9, 8, 7, 6 }, n };
    uint8_t head[WEBSOCKET_HEAD_BYTES], copy[QUESTION_BYTES];
    if (n > 0)
        memcpy(copy, p, n);
    websocket_mask(copy, n, f.mask, 0);
    assert_int_equal(buf_put(&l->said, slice_of(head, websocket_head_encode(&f, head))), 0);
    assert_int_equal(buf_put(&l->said, slice_of(copy, n)), 0);
}

static void put_dialogue(struct flow_lab *l)
{
    const uint8_t hello[] = { 5, 1, 0 };
    const uint8_t where[] = { 5, 1, 0, 1, 127, 0, 0, 1, (uint8_t)(l->port >> 8), (uint8_t)l->port };
    put_frame(l, WEBSOCKET_BINARY, hello, sizeof hello);
    put_frame(l, WEBSOCKET_BINARY, where, sizeof where);
}

/* All that the edge will say, laid down while nothing fails. */
static void put_request(struct flow_lab *l)
{
    char dest[64];
    uint8_t question[QUESTION_BYTES];
    struct metadata key = { SLICE("HttpHeader:Sec-Websocket-Key"),
                            SLICE("dGhlIHNhbXBsZSBub25jZQ==") };
    struct connect_head head = { .type = CONNECT_WEBSOCKET, .items = &key, .count = 1, .max = 1 };
    (void)snprintf(dest, sizeof dest, l->kind == FLOW_TCP ? "127.0.0.1:%u" : "http://a.test:%u/",
                   l->port);
    head.dest = slice_str(dest);
    if (l->kind == FLOW_TCP) {
        head.type = CONNECT_TCP;
        head.count = 0;
    }
    assert_int_equal(head_encode_request(&l->said, &head), 0);
    for (size_t i = 0; i < QUESTION_BYTES; i++)
        question[i] = flow_byte(i);
    if (l->kind == FLOW_TCP) {
        assert_int_equal(buf_put(&l->said, slice_of(question, sizeof question)), 0);
        return;
    }
    if (l->kind == FLOW_SOCKS)
        put_dialogue(l);
    put_frame(l, WEBSOCKET_PING, (const uint8_t *)"abc", 3);
    put_frame(l, WEBSOCKET_BINARY, question, sizeof question);
    if (l->kind == FLOW_CLOSE)
        put_frame(l, WEBSOCKET_CLOSE, (const uint8_t *)"\x03\xe8", 2);
}

static void edge_say(struct flow_lab *l)
{
    int r = buf_is_empty(&l->said) ? 0 : stream_write(l->edge, &l->said);
    if (r == 0 && !l->is_finished) {
        stream_finish(l->edge);
        l->is_finished = true;
    } else if (r == ERR_NOMEM) { /* the edge's own memory */
        stream_abort(l->edge, r);
        l->end = r;
    }
}

/* True when the stream is over. */
static bool edge_go(struct flow_lab *l)
{
    if (l->end == ERR_AGAIN)
        edge_say(l);
    while (l->end == ERR_AGAIN || l->end == 0)
        if ((l->end = stream_read(l->edge, &l->heard, READ_STEP_BYTES)) == ERR_AGAIN)
            return false;
    return true;
}

/* ---- opening and closing; nothing fails meanwhile ---- */

static void flow_open(struct flow_lab *l, enum flow_kind kind)
{
    struct uuid connector = { { 1 } };
    struct origin_request request;
    struct serve_conf conf = { .warp = &l->warp, .flows = &l->flows, .connector = &connector };
    char service[64];
    *l = (struct flow_lab){ .kind = kind, .end = ERR_AGAIN };
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->task, l->loop, do_nothing);
    buf_init(&l->said, loop_chunks(l->loop), HEARD_MAX);
    buf_init(&l->heard, loop_chunks(l->loop), HEARD_MAX);
    origin_open(l);
    origin_request_defaults(&request);
    if (kind == FLOW_SOCKS)
        request.proxy_type = SLICE("socks");
    warp_routing_defaults(&l->warp);
    (void)snprintf(service, sizeof service, "tcp://127.0.0.1:%u", l->port);
    assert_int_equal(ingress_single(service, &request, &l->ingress, NULL), 0);
    conf.ingress = l->ingress;
    conf.metrics = serve_metrics_new();
    assert_int_equal(serve_init(&l->serve, l->loop, &conf), 0);
    put_request(l);
}

/* Opens the stream and turns until it is over. */
static void flow_run(struct flow_lab *l)
{
    struct stream *theirs;
    nsec late = clock_monotonic() + TURN_NSEC_MAX;
    l->end = pipe_new(l->loop, WINDOW, &l->edge, &theirs);
    if (l->end < 0)
        return;
    l->end = ERR_AGAIN;
    l->edge->owner = &l->task;
    serve_stream(&l->serve, wrap(l->loop, theirs), 0);
    while (!edge_go(l) && clock_monotonic() < late) {
        origin_go(l);
        loop_turn(l->loop, 1);
    }
}

static bool origin_is_gone(struct flow_lab *l)
{
    origin_go(l);
    return l->fd < 0 || l->origin_over;
}

static void flow_close(struct flow_lab *l, void **state_)
{
    struct metric_set *metrics = l->serve.metrics;
    stream_release(l->edge);
    l->edge = NULL;
    UNTIL(l->loop, l->serve.streams.count == 0);
    if (atomic_load(&l->flows.active) != 0)
        fail_msg("%s: a flow that is over is counted", FLOW_NAMES[l->kind]);
    if (atomic_load(&metrics->cells[SERVE_tcp_active]) != 0 ||
        atomic_load(&metrics->cells[SERVE_concurrent]) != 0)
        fail_msg("%s: the metrics count what is over", FLOW_NAMES[l->kind]);
    serve_done(&l->serve);
    UNTIL(l->loop, origin_is_gone(l));
    if (l->fd >= 0)
        (void)close(l->fd);
    (void)close(l->listener);
    buf_done(&l->said);
    buf_done(&l->heard);
    UNTIL(l->loop, chunk_pool_used(loop_chunks(l->loop)) == 0);
    ingress_unref(l->ingress);
    free(metrics);
    task_done(&l->task);
    loop_free(l->loop);
}

/* ---- what the edge may see ---- */

enum sight { SIGHT_NOTHING, SIGHT_CUT, SIGHT_ERROR, SIGHT_WHOLE };

/* Takes the payloads of unmasked binary frames out of `p`; pongs and pings are passed over. The
 * length, or -1 when the last frame is not whole. */
static long unframe(uint8_t *p, size_t n)
{
    struct websocket_frame f;
    size_t at = 0, kept = 0;
    while (at < n) {
        int head = websocket_head_decode(slice_of(p + at, n - at), &f);
        if (head == ERR_AGAIN || (head > 0 && n - at - (size_t)head < f.length))
            return -1;
        if (head < 0 || f.is_masked || !f.is_final)
            fail_msg("a frame that nobody can read");
        at += (size_t)head;
        if (f.opcode == WEBSOCKET_BINARY) {
            memmove(p + kept, p + at, f.length);
            kept += f.length;
        }
        at += f.length;
    }
    return (long)kept;
}

static bool is_answer(const uint8_t *p, long n)
{
    bool is = n == ANSWER_BYTES;
    for (long i = 0; is && i < n; i++)
        is = p[i] == flow_byte((size_t)i * 3);
    return is;
}

static void check_whole(const struct flow_lab *l, uint8_t *p, size_t n)
{
    long got = l->kind == FLOW_TCP ? (long)n : unframe(p, n);
    /* What the dialogue said: no method, then done, with an address. */
    if (l->kind == FLOW_SOCKS && got >= 12 && memcmp(p, "\5\0\5\0", 4) == 0) {
        p += 12;
        got -= 12;
    }
    if (l->kind == FLOW_CLOSE ? got != 0 : !is_answer(p, got))
        fail_msg("%s: %ld bytes and an end in order, which looks whole and is not what the origin "
                 "said",
                 FLOW_NAMES[l->kind], got);
}

/* Fails when what was cut looks whole. */
static enum sight flow_judge(struct flow_lab *l)
{
    static uint8_t all[HEARD_MAX];
    struct metadata items[64];
    struct connect_head head = { .items = items, .max = 64 };
    size_t n = buf_copy(&l->heard, 0, all, sizeof all), size = 0;
    if (l->end == ERR_AGAIN)
        fail_msg("%s: the edge waits for ever", FLOW_NAMES[l->kind]);
    if (head_size(slice_of(all, n), &size) < 0 || size > n)
        return n == 0 ? SIGHT_NOTHING : SIGHT_CUT;
    assert_int_equal(head_decode_response(slice_of(all, size), &head), 0);
    if (head.error.n > 0)
        return SIGHT_ERROR;
    if (l->end != ERR_EOF)
        return SIGHT_CUT;
    check_whole(l, all + size, n - size);
    return SIGHT_WHOLE;
}
