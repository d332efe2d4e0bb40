#pragma once
/* An HTTP/2 client and a server over a pipe on one loop, or one of them with the raw bytes of the
 * other's end. */
#include "mux/h2.h"
#include "net/pipe.h"
#include "net/turn.h"

static void nothing(struct task *t)
{
    (void)t;
}

struct world {
    struct loop *loop;
    struct task task; /* owns everything; what matters is looked at from outside */
    struct h2_conn *client, *server;
    struct stream *raw; /* our end of the pipe where one of them is missing */
    struct buf bytes;
};

/* On a loop that is there already. */
static inline int world_begin(struct world *w, const struct h2_conf *client,
                              const struct h2_conf *server, size_t window)
{
    struct stream *a, *b;
    task_init(&w->task, w->loop, nothing);
    buf_init(&w->bytes, loop_chunks(w->loop), 4 << 20);
    int r = pipe_new(w->loop, window, &a, &b);
    if (r < 0)
        return r;
    if (client != NULL)
        r = h2_open(w->loop, client, a, &w->task, &w->client);
    else
        w->raw = a;
    if (r < 0) {
        stream_release(a);
        stream_release(b);
        return r;
    }
    if (server != NULL)
        r = h2_open(w->loop, server, b, &w->task, &w->server);
    else
        w->raw = b;
    if (r < 0)
        stream_release(b);
    return r;
}

static inline int world_open(struct world *w, const struct h2_conf *client,
                             const struct h2_conf *server, size_t window)
{
    *w = (struct world){ 0 };
    assert_int_equal(loop_new(&w->loop), 0);
    return world_begin(w, client, server, window);
}

static inline void world_close(struct world *w)
{
    h2_conn_release(w->client);
    h2_conn_release(w->server);
    stream_release(w->raw);
    for (int i = 0; i < 20; i++)
        loop_turn(w->loop, 0);
    buf_done(&w->bytes);
    task_done(&w->task);
    loop_free(w->loop);
}

static inline struct h2_send_head get(const char *path)
{
    return (struct h2_send_head){ .method = SLICE("GET"),
                                  .scheme = SLICE("https"),
                                  .authority = SLICE("example.com"),
                                  .path = slice_str(path) };
}

static inline void turns(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(w->loop, 0);
}
