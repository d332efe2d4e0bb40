#include "failing.h"

#include "h2_world.h"

/* Our own allocations: those within nghttp2 are its own (1.52 frees an item twice when the queue
 * that it was put into cannot grow). */

static const struct h2_conf CLIENT = { 0 }, SERVER = { .is_server = true };

static int ask(struct world *w, struct h2_stream **c, struct h2_stream **s)
{
    const struct h2_head *h;
    struct h2_field f = { SLICE("name"), SLICE("a value of its own"), false };
    struct h2_send_head request = get("/path"), ok = { .status = 200, .fields = &f, .count = 1 };
    request.fields = &f;
    request.count = 1;
    turns(w, 6);
    int r = h2_conn_request(w->client, &request, false, &w->task, c);
    if (r < 0)
        return r;
    turns(w, 6);
    r = h2_conn_accept(w->server, &w->task, s);
    if (r < 0)
        return r;
    r = h2_stream_respond(*s, &ok, false);
    if (r == 0)
        r = h2_stream_set_trailers(*s, &f, 1);
    if (r < 0)
        return r;
    stream_finish(h2_stream_body(*s));
    turns(w, 6);
    r = h2_stream_head(*c, &h);
    if (r == 0)
        r = stream_read(h2_stream_body(*c), &w->bytes, 100);
    return r == ERR_EOF ? 0 : r == 0 ? ERR_PROTO : r;
}

/* A failure may also show itself as the end of the stream or of the connection. The loop itself is
 * made while memory lasts: a thread without a loop is no use. */
static int exchange_one(void)
{
    struct world w = { 0 };
    struct deadline first = { 0 };
    struct h2_stream *c = NULL, *s = NULL;
    size_t fail_at = memory.fail_at;
    memory.fail_at = 0;
    assert_int_equal(loop_new(&w.loop), 0);
    task_init(&w.task, w.loop, nothing);
    deadline_set(&first, &w.task, loop_now(w.loop)); /* makes room for those that follow */
    deadline_clear(&first);
    memory.fail_at = fail_at;
    memory.calls = 0;
    int r = world_begin(&w, &CLIENT, &SERVER, 1 << 20);
    if (r == 0)
        r = ask(&w, &c, &s);
    if (r != 0 && w.client != NULL && w.server != NULL)
        r = ERR_NOMEM;
    if (c != NULL)
        stream_release(h2_stream_body(c));
    if (s != NULL)
        stream_release(h2_stream_body(s));
    world_close(&w);
    return r;
}

TEST(an_exchange_survives_any_allocation_that_fails)
{
    CHECK(sweep("exchange", exchange_one) > 10);
}

TESTS(RUN(an_exchange_survives_any_allocation_that_fails))
