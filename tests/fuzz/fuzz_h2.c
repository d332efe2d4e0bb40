/* HTTP/2 from a hostile peer. The first byte chooses the role and the size of the pieces; the rest
 * is what the peer sends, behind the preface at a server and behind a request at a client. Whatever
 * comes, streams that were opened can be read, answered and let go, and nothing is left. */
#include <stdlib.h>

#include "base/limits.h"
#include "mux/h2.h"
#include "net/pipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void nothing(struct task *t)
{
    (void)t;
}

static void must(bool condition)
{
    if (!condition)
        abort();
}

static void turns(struct loop *loop, int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(loop, 0);
}

static void send(struct loop *loop, struct stream *s, struct slice bytes, size_t step)
{
    struct buf b;
    buf_init(&b, loop_chunks(loop), 1 << 20);
    for (size_t at = 0; at < bytes.n; at += step) {
        must(buf_put(&b, slice_sub(bytes, at, step)) == 0);
        if (stream_write(s, &b) < 0)
            break;
        turns(loop, 2);
    }
    buf_done(&b);
}

static void answer(struct loop *loop, struct h2_stream *s)
{
    const struct h2_head *h;
    struct buf b;
    struct h2_send_head ok = { .status = 200 };
    must(h2_stream_head(s, &h) == 0);
    must(h->status == 0 && h->count <= HEAD_FIELDS_MAX);
    must(h->method.n > 0);
    buf_init(&b, loop_chunks(loop), 1 << 20);
    (void)stream_read(h2_stream_body(s), &b, 1 << 16);
    if (h2_stream_respond(s, &ok, false) == 0) {
        (void)stream_write(h2_stream_body(s), &b);
        stream_finish(h2_stream_body(s));
    }
    buf_done(&b);
    stream_release(h2_stream_body(s));
}

static void hear(struct loop *loop, struct h2_stream *s)
{
    const struct h2_head *h;
    struct buf b;
    while (h2_stream_head(s, &h) == 0)
        must(h->status >= 100 && h->status != 101);
    buf_init(&b, loop_chunks(loop), 1 << 20);
    while (stream_read(h2_stream_body(s), &b, 1 << 16) == 0)
        ;
    buf_done(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loop *loop;
    struct task task;
    struct stream *ours, *theirs;
    struct h2_conn *c;
    struct h2_stream *s;
    if (size < 1)
        return 0;
    struct h2_conf conf = { .is_server = (data[0] & 1) != 0, .head_bytes = 4096 };
    size_t step = (data[0] >> 1) % 16 == 0 ? size : (data[0] >> 1) % 16;
    must(loop_new(&loop) == 0);
    task_init(&task, loop, nothing);
    must(pipe_new(loop, 1 << 20, &ours, &theirs) == 0);
    must(h2_open(loop, &conf, ours, &task, &c) == 0);
    if (conf.is_server) {
        send(loop, theirs, SLICE("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 64);
        send(loop, theirs, slice_of(data + 1, size - 1), step);
        while (h2_conn_accept(c, &task, &s) == 0)
            answer(loop, s);
    } else {
        struct h2_send_head get = { .method = SLICE("GET"),
                                    .scheme = SLICE("https"),
                                    .authority = SLICE("x"),
                                    .path = SLICE("/") };
        must(h2_conn_request(c, &get, false, &task, &s) == 0);
        send(loop, theirs, slice_of(data + 1, size - 1), step);
        hear(loop, s);
        stream_release(h2_stream_body(s));
    }
    turns(loop, 2);
    h2_conn_release(c);
    stream_release(theirs);
    turns(loop, 8);
    task_done(&task);
    loop_free(loop);
    return 0;
}
