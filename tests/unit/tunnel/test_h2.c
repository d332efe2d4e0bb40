/* The tunnel's dialects of HTTP/2 against each other, over a pipe: the edge's exchange on the left,
 * the connector's on the right, and the test as visitor and origin. */
#include "net/pipe.h"
#include "net/turn.h"
#include "tunnel/extension.h"
#include "tunnel/h2_client.h"
#include "tunnel/h2_server.h"

struct world {
    struct loop *loop;
    struct task left, right, app, owner, acceptor;
    struct h2_server_group group;
    struct h2_conn *edge, *connector;
    struct exchange *ex, *origin;
    struct h2_client client;
    int result;
    unsigned extensions, dones;
    struct verdict last;
};

static void nothing(struct task *t)
{
    (void)t;
}

static void right_run(struct task *t)
{
    struct world *w = container_of(t, struct world, right);
    if (w->ex != NULL && w->result == ERR_AGAIN)
        w->result = h2_client_run(&w->client);
}

static void accept_all(struct task *t)
{
    struct world *w = container_of(t, struct world, acceptor);
    const struct h2_hop hop = { .scheme = "http", .extensions = w->extensions, .connection = 3 };
    const struct h2_head *head;
    struct h2_stream *s;
    while (h2_conn_accept(w->connector, NULL, &s) == 0) {
        assert_int_equal(h2_stream_head(s, &head), 0);
        h2_serve_stream(&w->group, s, head, &hop);
    }
}

static void route(void *ctx, struct exchange *ex)
{
    struct world *w = ctx;
    w->origin = ex;
    exchange_attach(ex, &w->app);
}

static void done(void *ctx, const struct exchange *ex)
{
    struct world *w = ctx;
    w->dones++;
    w->last = ex->verdict;
}

static void world_open(struct world *w, unsigned extensions)
{
    struct stream *a, *b;
    const struct h2_conf client = { .head_bytes = 1 << 19, .frame_bytes = 1 << 20 };
    const struct h2_conf server = { .is_server = true, .head_bytes = 1 << 19 };
    *w = (struct world){ .extensions = extensions, .result = ERR_AGAIN };
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->left, w->loop, nothing);
    task_init(&w->right, w->loop, right_run);
    task_init(&w->app, w->loop, nothing);
    task_init(&w->owner, w->loop, nothing);
    task_init(&w->acceptor, w->loop, accept_all);
    h2_server_group_init(&w->group, w->loop, &w->owner, route, w);
    w->group.dialect = &TUNNEL_H2_SERVER;
    w->group.done = done;
    assert_int_equal(pipe_new(w->loop, 1 << 20, &a, &b), 0);
    assert_int_equal(h2_open(w->loop, &client, a, &w->owner, &w->edge), 0);
    assert_int_equal(h2_open(w->loop, &server, b, &w->acceptor, &w->connector), 0);
    w->ex = exchange_new(w->loop, &w->left);
    w->ex->extensions = extensions;
    w->ex->request.method = SLICE("GET");
    w->ex->request.scheme = SLICE("https");
    w->ex->request.host = SLICE("h.example");
    w->ex->request.target = SLICE("/x?y");
}

static void turn(struct world *w)
{
    for (int i = 0; i < 12; i++)
        loop_turn(w->loop, 0);
}

static void begin(struct world *w)
{
    if (w->ex->request.framing == FRAMING_NONE && w->ex->request.upgrade == UPGRADE_NONE)
        body_end(&w->ex->up);
    exchange_attach(w->ex, &w->right);
    assert_int_equal(h2_client_init(&w->client, w->ex, w->edge, &w->right, &TUNNEL_H2_CLIENT), 0);
    task_wake(&w->right);
    turn(w);
}

static void put(struct world *w, struct exchange *ex, struct body *to, const char *text)
{
    struct buf b;
    buf_init(&b, loop_chunks(w->loop), 1 << 16);
    assert_int_equal(buf_put(&b, slice_str(text)), 0);
    assert_int_equal(body_put(to, &b, SIZE_MAX), strlen(text));
    buf_done(&b);
    exchange_wake_left(ex);
    exchange_wake_right(ex);
    turn(w);
}

static void end(struct world *w, struct exchange *ex, struct body *b)
{
    body_end(b);
    exchange_wake_left(ex);
    exchange_wake_right(ex);
    turn(w);
}

static struct response *answer(struct world *w, unsigned status, enum framing framing,
                               uint64_t length)
{
    struct response *r = response_new(w->origin, status);
    assert_non_null(r);
    r->framing = framing;
    r->has_length = framing == FRAMING_LENGTH;
    r->length = length;
    return r;
}

static void leave(struct world *w)
{
    struct exchange *ex = w->origin;
    w->origin = NULL;
    exchange_leave(ex, EX_RIGHT);
    turn(w);
}

static void world_close(struct world *w)
{
    h2_client_done(&w->client);
    if (w->ex->right != NULL)
        exchange_leave(w->ex, EX_RIGHT);
    exchange_leave(w->ex, EX_LEFT);
    h2_server_group_abort(&w->group);
    if (w->origin != NULL)
        exchange_leave(w->origin, EX_RIGHT);
    h2_conn_abort(w->edge);
    h2_conn_abort(w->connector);
    turn(w);
    assert_int_equal(w->group.count, 0);
    loop_free(w->loop);
}

static bool holds(const struct body *b, const char *text)
{
    char got[64];
    size_t n = buf_copy(&b->held, 0, got, sizeof got);
    return n == strlen(text) && memcmp(got, text, n) == 0;
}

/* ---- requests ---- */

TEST(a_request_keeps_what_it_says_and_cookies_are_one_line)
{
    struct world w;
    world_open(&w, 0);
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("x-mixed-CASE"), SLICE("v")));
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("Cookie"), SLICE("a=1")));
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("Cookie"), SLICE("b=2")));
    begin(&w);
    const struct request *q = &w.origin->request;
    CHECK_SLICE(q->method, SLICE("GET"));
    CHECK_SLICE(q->host, SLICE("h.example"));
    CHECK_SLICE(q->target, SLICE("/x?y"));
    CHECK(q->framing == FRAMING_NONE && w.origin->up.ended && w.origin->connection == 3);
    CHECK_SLICE(fields_get(&q->fields, SLICE("x-mixed-case"))->name, SLICE("X-Mixed-Case"));
    CHECK_SLICE(fields_get(&q->fields, SLICE("cookie"))->name, SLICE("Cookie"));
    CHECK_SLICE(fields_get(&q->fields, SLICE("cookie"))->value, SLICE("a=1; b=2"));
    world_close(&w);
}

TEST(a_visitor_has_no_say_in_what_kind_of_stream_it_is)
{
    static const char *const NAMES[] = { "Cf-Cloudflared-Proxy-Connection-Upgrade",
                                         "cf-cloudflared-proxy-src", "CF-CLOUDFLARED-PROXY-NEW" };
    for (int i = 0; i < 3; i++) {
        struct world w;
        world_open(&w, 0);
        CHECK_OK(fields_add(&w.ex->request.fields, slice_str(NAMES[i]), SLICE("websocket")));
        CHECK_OK(fields_add(&w.ex->request.fields, SLICE("X-Kept"), SLICE("1")));
        begin(&w);
        CHECK(w.origin->request.upgrade == UPGRADE_NONE && w.origin->request.fields.count == 1);
        CHECK(tunnel_h2_type(w.origin) == CONNECT_HTTP);
        world_close(&w);
    }
}

TEST(a_field_that_the_library_could_not_read_is_refused_before_it_is_sent)
{
    static char large[H2_FIELD_BYTES_MAX + 2];
    memset(large, '~', sizeof large - 1);
    for (size_t n = H2_FIELD_BYTES_MAX; n <= H2_FIELD_BYTES_MAX + 1; n++) {
        struct world w;
        world_open(&w, 0);
        CHECK_OK(fields_add(&w.ex->request.fields, SLICE("X-Large"), slice_of(large, n)));
        if (n > H2_FIELD_BYTES_MAX) {
            CHECK_ERR(ERR_LIMIT,
                      h2_client_init(&w.client, w.ex, w.edge, &w.right, &TUNNEL_H2_CLIENT));
        } else {
            begin(&w);
            CHECK(fields_get(&w.origin->request.fields, SLICE("x-large"))->value.n == n);
        }
        CHECK(h2_conn_state(w.edge) <= H2_OPEN);
        world_close(&w);
    }
}

/* ---- upgrades ---- */

TEST(a_websocket_is_bytes_both_ways_once_it_was_agreed_to)
{
    for (int agrees = 0; agrees < 2; agrees++) {
        struct world w;
        world_open(&w, 0);
        w.ex->request.upgrade = UPGRADE_WEBSOCKET;
        begin(&w);
        CHECK(tunnel_h2_type(w.origin) == CONNECT_WEBSOCKET && !w.origin->up.ended);
        put(&w, w.ex, &w.ex->up, "early");
        CHECK(buf_is_empty(&w.origin->up.held));
        struct response *r = answer(&w, agrees ? 101 : 403, FRAMING_NONE, 0);
        if (agrees != 0)
            CHECK_OK(fields_add(&r->fields, SLICE("Sec-WebSocket-Accept"), SLICE("k")));
        exchange_respond(w.origin, r);
        turn(&w);
        CHECK(w.ex->response->status == (agrees ? 101 : 403) && w.ex->is_upgraded == (agrees != 0));
        if (agrees != 0) {
            CHECK(holds(&w.origin->up, "early"));
            put(&w, w.origin, &w.origin->down, "down");
            CHECK(holds(&w.ex->down, "down"));
            end(&w, w.ex, &w.ex->up);
            CHECK(w.origin->up.ended && w.result == ERR_AGAIN);
        }
        end(&w, w.origin, &w.origin->down);
        leave(&w);
        CHECK(w.result == 0 && w.ex->down.ended && w.last.err == 0);
        world_close(&w);
    }
}

/* ---- responses ---- */

TEST(interim_heads_cross_only_where_both_ends_know_of_them)
{
    for (unsigned extensions = 0; extensions <= EXTENSIONS_ALL; extensions += EXTENSIONS_ALL) {
        struct world w;
        world_open(&w, extensions);
        begin(&w);
        CHECK_OK(exchange_interim(w.origin, response_new(w.origin, 103)));
        exchange_respond(w.origin, answer(&w, 200, FRAMING_NONE, 0));
        turn(&w);
        CHECK((w.ex->interim != NULL) == (extensions != 0) && w.ex->response->status == 200);
        end(&w, w.origin, &w.origin->down);
        leave(&w);
        CHECK_OK(w.result);
        world_close(&w);
    }
}

TEST(trailers_come_behind_the_body)
{
    struct world w;
    struct fields trailers;
    world_open(&w, EXTENSIONS_ALL);
    begin(&w);
    exchange_respond(w.origin, answer(&w, 200, FRAMING_STREAM, 0));
    put(&w, w.origin, &w.origin->down, "body");
    fields_init(&trailers, &w.origin->arena);
    CHECK_OK(fields_add(&trailers, SLICE("X-Sum"), SLICE("7")));
    w.origin->down_trailers = &trailers;
    end(&w, w.origin, &w.origin->down);
    leave(&w);
    CHECK(w.result == 0 && holds(&w.ex->down, "body") && w.ex->down_trailers->count == 1);
    world_close(&w);
}

TEST(a_head_larger_than_one_field_crosses_in_pieces)
{
    static char large[100 * 1000];
    memset(large, '~', sizeof large);
    struct world w;
    world_open(&w, EXTENSIONS_ALL);
    begin(&w);
    struct response *r = answer(&w, 200, FRAMING_NONE, 0);
    CHECK_OK(fields_add(&r->fields, SLICE("X-Large"), slice_of(large, sizeof large)));
    exchange_respond(w.origin, r);
    end(&w, w.origin, &w.origin->down);
    leave(&w);
    CHECK_OK(w.result);
    CHECK_SLICE(fields_get(&w.ex->response->fields, SLICE("x-large"))->value,
                slice_of(large, sizeof large));
    world_close(&w);
}

TEST(what_the_tunnel_says_of_itself_no_origin_says)
{
    struct world w;
    world_open(&w, 0);
    begin(&w);
    struct response *r = answer(&w, 200, FRAMING_NONE, 0);
    CHECK_OK(fields_add(&r->fields, SLICE("Cf-Cloudflared-Response-Meta"), SLICE("x")));
    CHECK_OK(fields_add(&r->fields, SLICE("CF-INT-x"), SLICE("x")));
    CHECK_OK(fields_add(&r->fields, SLICE("x-own"), SLICE("x")));
    exchange_respond(w.origin, r);
    end(&w, w.origin, &w.origin->down);
    leave(&w);
    CHECK(w.result == 0 && w.ex->response->fields.count == 1);
    CHECK_SLICE(w.ex->response->fields.lines[0].name, SLICE("X-Own"));
    world_close(&w);
}

/* ---- failures ---- */

TEST(a_failure_has_its_word_and_text_where_the_edge_knows_them)
{
    for (unsigned extensions = 0; extensions <= EXTENSIONS_ALL; extensions += EXTENSIONS_ALL) {
        struct world w;
        world_open(&w, extensions);
        begin(&w);
        exchange_fail_as(w.origin, FAILURE_ORIGIN_REFUSED, ERR_REFUSED, "dial tcp: refused");
        leave(&w);
        CHECK_ERR(ERR_ORIGIN, w.result);
        CHECK(w.client.failure == (extensions != 0 ? FAILURE_ORIGIN_REFUSED : FAILURE_ORIGIN));
        CHECK((strcmp(w.client.text, "dial tcp: refused") == 0) == (extensions != 0));
        CHECK(w.ex->response == NULL && w.last.failure == FAILURE_ORIGIN_REFUSED);
        world_close(&w);
    }
}

TEST(too_many_flows_are_told_to_any_edge)
{
    struct world w;
    world_open(&w, 0);
    begin(&w);
    exchange_fail_as(w.origin, FAILURE_FLOW_LIMIT, ERR_BUSY, "too many");
    leave(&w);
    CHECK_ERR(ERR_ORIGIN, w.result);
    CHECK(w.client.failure == FAILURE_FLOW_LIMIT);
    world_close(&w);
}

TEST(a_body_that_is_not_as_long_as_announced_is_cut)
{
    struct world w;
    world_open(&w, 0);
    begin(&w);
    exchange_respond(w.origin, answer(&w, 200, FRAMING_LENGTH, 10));
    put(&w, w.origin, &w.origin->down, "short");
    end(&w, w.origin, &w.origin->down);
    leave(&w);
    CHECK(w.result < 0 && w.result != ERR_AGAIN && !w.ex->down.ended);
    world_close(&w);
}

TEST(whoever_leaves_ends_the_origins_exchange_at_any_moment)
{
    for (int moment = 0; moment < 3; moment++) {
        struct world w;
        world_open(&w, 0);
        if (moment == 2)
            w.ex->request.framing = FRAMING_STREAM;
        begin(&w);
        if (moment == 1)
            exchange_respond(w.origin, answer(&w, 200, FRAMING_STREAM, 0));
        turn(&w);
        h2_client_done(&w.client);
        w.result = 0; /* nobody runs it any more */
        turn(&w);
        CHECK(exchange_has_failed(w.origin) && w.dones == 1 && w.group.count == 0);
        CHECK(w.last.failure == FAILURE_VISITOR_GONE);
        world_close(&w);
    }
}

TEST(a_connection_that_breaks_off_is_no_visitor_who_went)
{
    struct world w;
    world_open(&w, 0);
    begin(&w);
    h2_conn_close(w.connector, H2_INTERNAL_ERROR);
    turn(&w);
    CHECK(exchange_has_failed(w.origin) && w.last.hop == HOP_TUNNEL);
    CHECK(w.result < 0 && w.result != ERR_AGAIN);
    world_close(&w);
}

TESTS(RUN(a_request_keeps_what_it_says_and_cookies_are_one_line),
      RUN(a_visitor_has_no_say_in_what_kind_of_stream_it_is),
      RUN(a_field_that_the_library_could_not_read_is_refused_before_it_is_sent),
      RUN(a_websocket_is_bytes_both_ways_once_it_was_agreed_to),
      RUN(interim_heads_cross_only_where_both_ends_know_of_them),
      RUN(trailers_come_behind_the_body), RUN(a_head_larger_than_one_field_crosses_in_pieces),
      RUN(what_the_tunnel_says_of_itself_no_origin_says),
      RUN(a_failure_has_its_word_and_text_where_the_edge_knows_them),
      RUN(too_many_flows_are_told_to_any_edge), RUN(a_body_that_is_not_as_long_as_announced_is_cut),
      RUN(whoever_leaves_ends_the_origins_exchange_at_any_moment),
      RUN(a_connection_that_breaks_off_is_no_visitor_who_went))
