/* One whole exchange, a visitor through both codecs to an origin, with each of its allocations
 * failing once. */
#include "http/h1_client.h"
#include "http/h1_head.h"
#include "http/site.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
struct chunk *__real_chunk_new(struct chunk_pool *pool, size_t want);
struct chunk *__wrap_chunk_new(struct chunk_pool *pool, size_t want);
void *__real_arena_alloc(struct arena *a, size_t n);
void *__wrap_arena_alloc(struct arena *a, size_t n);
struct slice __real_arena_copy(struct arena *a, struct slice s);
struct slice __wrap_arena_copy(struct arena *a, struct slice s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);

static bool is_armed;
static unsigned allocations, fails_at; /* 0 = none */

static bool fails(void)
{
    return is_armed && ++allocations == fails_at;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return fails() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

/* Also where memory comes from a pool or an arena, which ask the system only now and then. */
struct chunk *__wrap_chunk_new(struct chunk_pool *pool, size_t want)
{
    return fails() ? NULL : __real_chunk_new(pool, want);
}

void *__wrap_arena_alloc(struct arena *a, size_t n)
{
    return fails() ? NULL : __real_arena_alloc(a, n);
}

struct slice __wrap_arena_copy(struct arena *a, struct slice s)
{
    return fails() ? (struct slice){ 0 } : __real_arena_copy(a, s);
}

/* The right side: the client codec over a pipe to an origin, which the test plays. */
struct proxy {
    struct task task;
    struct exchange *ex;
    struct h1_client client;
    struct stream *stream, *origin;
    bool is_begun, is_over;
};

static struct proxy proxy;

static void proxy_leave(struct proxy *p, int why)
{
    if (why < 0)
        exchange_fail(p->ex, why, HOP_ORIGIN, NULL);
    if (p->is_begun)
        h1_client_done(&p->client);
    stream_release(p->stream);
    task_done(&p->task);
    p->is_over = true;
    exchange_leave(p->ex, EX_RIGHT);
}

static void proxy_run(struct task *t)
{
    struct proxy *p = container_of(t, struct proxy, task);
    struct h1_request_opts opts = { 0 };
    int r = exchange_has_failed(p->ex) ? ERR_CANCELED : 0;
    if (r == 0 && !p->is_begun) {
        r = h1_client_init(&p->client, p->ex, p->stream, &p->task, &opts);
        p->is_begun = true;
    }
    if (r == 0)
        r = h1_client_run(&p->client);
    if (r != ERR_AGAIN)
        proxy_leave(p, exchange_has_failed(p->ex) ? 0 : r);
}

static void proxy_route(void *ctx, struct exchange *ex, const struct h1_conn *conn)
{
    struct site *s = ctx;
    (void)conn;
    s->routed++;
    proxy.ex = ex;
    exchange_attach(ex, &proxy.task);
    task_wake(&proxy.task);
}

#define REQUEST                                                                                    \
    "POST /x?y HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"                \
    "5\r\nhello\r\n0\r\nX-Sum: 5\r\n\r\n"
#define REPLY                                                                                      \
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"                                               \
    "HTTP/1.1 200 OK\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\nX-T: "       \
    "u\r\n\r\n"

/* Text that is written with memory to spare, whatever the sweep does. */
static void say_safely(struct site *s, struct stream *to, const char *text)
{
    struct buf b;
    bool was_armed = is_armed;
    is_armed = false;
    buf_init(&b, loop_chunks(s->loop), 1 << 16);
    assert_int_equal(buf_put(&b, slice_str(text)), 0);
    (void)!stream_write(to, &b);
    buf_done(&b);
    is_armed = was_armed;
}

static void turn(struct site *s)
{
    for (int i = 0; i < 8; i++) {
        bool was_armed = is_armed;
        loop_turn(s->loop, 0);
        is_armed = false;
        site_read(s);
        is_armed = was_armed;
    }
}

/* One run whose allocation number `at` fails. Returns how many there were. */
static unsigned run(struct site *s, unsigned at)
{
    site_open(s);
    s->group.route = proxy_route;
    s->group.stall = s->group.half = s->group.idle = s->group.head = 20 * NSEC_PER_MSEC;
    proxy = (struct proxy){ 0 };
    task_init(&proxy.task, s->loop, proxy_run);
    assert_int_equal(pipe_new(s->loop, 1 << 20, &proxy.stream, &proxy.origin), 0);
    turn(s);
    allocations = 0;
    fails_at = at;
    is_armed = true;
    say_safely(s, s->visitor, REQUEST);
    turn(s);
    if (proxy.is_begun && !proxy.is_over)
        say_safely(s, proxy.origin, REPLY);
    turn(s);
    is_armed = false;
    return allocations;
}

/* Nobody waits for ever: what cannot go on is given up. */
static void settle(struct site *s, void **state_)
{
    if (s->visitor != NULL)
        stream_finish(s->visitor);
    if (!proxy.is_over && proxy.ex != NULL)
        stream_abort(proxy.origin, ERR_CLOSED);
    UNTIL(s->loop, (site_read(s), s->group.count == 0));
}

static void finish(struct site *s)
{
    if (proxy.ex == NULL) {
        stream_release(proxy.stream);
        task_done(&proxy.task);
    } else if (!proxy.is_over) {
        proxy_leave(&proxy, 0);
    }
    stream_release(proxy.origin);
    site_close(s);
}

static const char WANT[] = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
                           "HTTP/1.1 200 OK\r\nX-B: 2\r\nTransfer-Encoding: chunked\r\n\r\n"
                           "4\r\nbody\r\n0\r\nX-T: u\r\n\r\n";

TEST(an_exchange_survives_the_failure_of_every_single_allocation)
{
    static struct site s;
    unsigned total = run(&s, 0), whole = 0, refused = 0, cut = 0;
    CHECK_GOT(&s, WANT);
    settle(&s, state_);
    finish(&s);
    CHECK(total > 10);
    for (unsigned at = 1; at <= total; at++) {
        (void)run(&s, at);
        settle(&s, state_);
        /* A right answer, an error of ours, or something that cannot be taken for whole. */
        bool has_end = strstr(s.got, "\r\n0\r\n") != NULL;
        if (strcmp(s.got, WANT) == 0)
            whole++;
        else if (strstr(s.got, "HTTP/1.1 5") != NULL || strstr(s.got, "HTTP/1.1 4") != NULL)
            refused++;
        else if (!has_end)
            cut++;
        else
            fail_msg("allocation %u: \"%s\"", at, s.got);
        finish(&s);
    }
    print_message("%u allocations: %u whole, %u refused, %u cut\n", total, whole, refused, cut);
    CHECK(refused + cut > 0);
}

/* Bytes of a line that is far longer than a chunk, one by one. */
TEST(a_head_that_comes_byte_by_byte_is_copied_for_its_lines_and_not_for_its_bytes)
{
    static const char START[] = "GET / HTTP/1.1\r\nHost: h\r\nX: ", END[] = "\r\n\r\n";
    static char text[60000];
    struct http1_scan scan = { 0 };
    struct h1_request_info info;
    struct h1_refusal refusal;
    struct loop *loop;
    struct task task;
    struct buf in;
    assert_int_equal(loop_new(&loop), 0);
    task_init(&task, loop, do_nothing);
    struct exchange *ex = exchange_new(loop, &task);
    buf_init(&in, loop_chunks(loop), sizeof text);
    memset(text, 'x', sizeof text);
    memcpy(text, START, sizeof START - 1);
    memcpy(text + sizeof text - 4, END, 4);
    unsigned copies = 0;
    fails_at = 0;
    for (size_t i = 0; i < sizeof text; i++) {
        assert_int_equal(buf_put(&in, slice_of(text + i, 1)), 0);
        allocations = 0;
        is_armed = true;
        int r = h1_read_request(&in, 0, &scan, ex, &info, &refusal);
        is_armed = false;
        if (r != (i + 1 < sizeof text ? ERR_AGAIN : 0))
            fail_msg("%s after %zu bytes", err_text(r), i + 1);
        copies += r == ERR_AGAIN ? allocations : 0;
    }
    CHECK(copies <= 4);
    CHECK(fields_get(&ex->request.fields, SLICE("x"))->value.n == sizeof text - sizeof START - 3);
    exchange_leave(ex, EX_LEFT);
    buf_done(&in);
    task_done(&task);
    loop_turn(loop, 0);
    loop_free(loop);
}

TESTS(RUN(an_exchange_survives_the_failure_of_every_single_allocation),
      RUN(a_head_that_comes_byte_by_byte_is_copied_for_its_lines_and_not_for_its_bytes))
