/* Both codecs of HTTP/2 against each other: an exchange whose right side is h2_client, over a pipe,
 * to one whose left side is h2_server and whose right side is a small app. */
#include "http/h2_client.h"
#include "http/h2_server.h"
#include "net/pipe.h"
#include "net/turn.h"

enum answer { ANSWER_ECHO, ANSWER_NOTHING, ANSWER_FAILURE, ANSWER_CUT, ANSWER_EARLY };

struct world {
    struct loop *loop;
    struct task left, right, owner;
    struct h2_server_group group;
    struct h2_conn *conn; /* the client's */
    struct exchange *ex;  /* the client's */
    struct h2_client client;
    int result; /* of h2_client_run */
    bool is_done;
    enum answer answer;
    struct exchange *served;
    struct task app;
    unsigned dones;
    int last_err;
};

static void nothing(struct task *t)
{
    (void)t;
}

static void right_run(struct task *t)
{
    struct world *w = container_of(t, struct world, right);
    if (w->ex == NULL || w->is_done)
        return;
    w->result = h2_client_run(&w->client);
    w->is_done = w->result != ERR_AGAIN;
}

/* ---- the app ---- */

static void app_respond(struct world *w, unsigned status)
{
    struct response *r = response_new(w->served, status);
    assert_non_null(r);
    r->framing = FRAMING_STREAM;
    assert_int_equal(fields_add(&r->fields, SLICE("X-Path"), w->served->request.target), 0);
    assert_int_equal(fields_add(&r->fields, SLICE("Connection"), SLICE("x-hop")), 0);
    assert_int_equal(fields_add(&r->fields, SLICE("X-Hop"), SLICE("1")), 0);
    exchange_respond(w->served, r);
}

static void app_end(struct world *w)
{
    body_end(&w->served->down);
    exchange_wake_left(w->served);
    exchange_leave(w->served, EX_RIGHT);
    w->served = NULL;
}

static void app_run(struct task *t)
{
    struct world *w = container_of(t, struct world, app);
    struct exchange *ex = w->served;
    if (ex == NULL)
        return;
    if (exchange_has_failed(ex)) {
        exchange_leave(ex, EX_RIGHT);
        w->served = NULL;
        return;
    }
    if (!ex->wants_body) {
        ex->wants_body = true;
        exchange_wake_left(ex);
    }
    if (w->answer == ANSWER_NOTHING)
        return;
    if (w->answer == ANSWER_FAILURE) {
        exchange_fail(ex, ERR_TIMEOUT, HOP_ORIGIN, "too slow");
        exchange_leave(ex, EX_RIGHT);
        w->served = NULL;
        return;
    }
    if (ex->response == NULL) {
        struct response *early = response_new(ex, 103);
        assert_non_null(early);
        assert_int_equal(exchange_interim(ex, early), 0);
        app_respond(w, 201);
    }
    if (body_put(&ex->down, &ex->up.held, SIZE_MAX) > 0)
        exchange_wake_left(ex);
    if (w->answer == ANSWER_EARLY) {
        app_end(w);
        return;
    }
    if (w->answer == ANSWER_CUT && ex->down.total > 0) {
        exchange_fail(ex, ERR_RESET, HOP_ORIGIN, "broke");
        exchange_leave(ex, EX_RIGHT);
        w->served = NULL;
        return;
    }
    if (body_is_over(&ex->up)) {
        ex->down_trailers = ex->up_trailers;
        app_end(w);
    }
}

static void route(void *ctx, struct exchange *ex)
{
    struct world *w = ctx;
    w->served = ex;
    exchange_attach(ex, &w->app);
    task_wake(&w->app);
}

static void done(void *ctx, const struct exchange *ex)
{
    struct world *w = ctx;
    w->dones++;
    w->last_err = ex->verdict.err;
}

/* ---- both ends ---- */

static void world_open(struct world *w, enum answer answer)
{
    struct stream *a, *b;
    const struct h2_conf client = { 0 }, server = { .is_server = true };
    *w = (struct world){ .answer = answer };
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->left, w->loop, nothing);
    task_init(&w->right, w->loop, right_run);
    task_init(&w->owner, w->loop, nothing);
    task_init(&w->app, w->loop, app_run);
    h2_server_group_init(&w->group, w->loop, &w->owner, route, w);
    w->group.done = done;
    assert_int_equal(pipe_new(w->loop, 1 << 20, &a, &b), 0);
    assert_int_equal(h2_open(w->loop, &client, a, &w->owner, &w->conn), 0);
    assert_int_equal(h2_serve(&w->group, b, &server, "https"), 0);
}

static void ask(struct world *w, const char *method, enum framing framing)
{
    w->is_done = false;
    w->ex = exchange_new(w->loop, &w->left);
    assert_non_null(w->ex);
    struct request *q = &w->ex->request;
    q->method = slice_str(method);
    q->target = SLICE("/path?q");
    q->host = SLICE("example.com");
    q->framing = framing;
    q->has_length = framing == FRAMING_LENGTH;
    q->length = q->has_length ? 1 << 20 : 0;
    assert_int_equal(fields_add(&q->fields, SLICE("Connection"), SLICE("keep-alive")), 0);
    assert_int_equal(fields_add(&q->fields, SLICE("X-Case"), SLICE("Kept")), 0);
    exchange_attach(w->ex, &w->right);
    assert_int_equal(h2_client_init(&w->client, w->ex, w->conn, &w->right, NULL), 0);
    task_wake(&w->right);
}

static void put(struct world *w, const char *text)
{
    struct buf b;
    buf_init(&b, loop_chunks(w->loop), 1 << 20);
    assert_int_equal(buf_put(&b, slice_str(text)), 0);
    assert_int_equal(body_put(&w->ex->up, &b, SIZE_MAX), strlen(text));
    buf_done(&b);
    task_wake(&w->right);
}

static void end(struct world *w)
{
    body_end(&w->ex->up);
    task_wake(&w->right);
}

static void leave(struct world *w)
{
    h2_client_done(&w->client);
    exchange_leave(w->ex, EX_RIGHT);
    exchange_leave(w->ex, EX_LEFT);
    w->ex = NULL;
}

static void world_close(struct world *w)
{
    h2_conn_abort(w->conn);
    h2_server_group_abort(&w->group);
    for (int i = 0; i < 8; i++)
        loop_turn(w->loop, 0);
    assert_int_equal(w->group.count, 0);
    assert_null(w->served);
    loop_free(w->loop);
}

static bool holds(const struct body *b, const char *text)
{
    char got[64];
    size_t n = buf_copy(&b->held, 0, got, sizeof got);
    return n == strlen(text) && memcmp(got, text, n) == 0;
}

TEST(an_exchange_crosses_with_its_body_and_trailers_and_interim_heads)
{
    struct world w;
    struct fields trailers;
    world_open(&w, ANSWER_ECHO);
    ask(&w, "POST", FRAMING_STREAM);
    put(&w, "first ");
    UNTIL(w.loop, w.ex->response != NULL && buf_len(&w.ex->down.held) == 6);
    CHECK(w.ex->response->status == 201 && w.ex->response->framing == FRAMING_STREAM);
    CHECK_SLICE(fields_get(&w.ex->response->fields, SLICE("x-path"))->value, SLICE("/path?q"));
    CHECK(fields_get(&w.ex->response->fields, SLICE("x-hop")) == NULL);
    CHECK(w.ex->interim != NULL && w.ex->interim->status == 103);
    CHECK_SLICE(w.served->request.host, SLICE("example.com"));
    CHECK_SLICE(fields_get(&w.served->request.fields, SLICE("x-case"))->value, SLICE("Kept"));
    CHECK(fields_get(&w.served->request.fields, SLICE("connection")) == NULL);
    put(&w, "second");
    fields_init(&trailers, &w.ex->arena);
    CHECK_OK(fields_add(&trailers, SLICE("Sum"), SLICE("7")));
    w.ex->up_trailers = &trailers;
    end(&w);
    UNTIL(w.loop, w.is_done);
    CHECK_OK(w.result);
    CHECK(holds(&w.ex->down, "first second") && w.ex->down.ended);
    CHECK(w.ex->down_trailers != NULL && w.ex->down_trailers->count == 1);
    CHECK_SLICE(w.ex->down_trailers->lines[0].name, SLICE("sum"));
    CHECK(w.dones == 1 && w.last_err == 0);
    leave(&w);
    world_close(&w);
}

TEST(a_request_without_a_body_has_a_response_without_one)
{
    struct world w;
    world_open(&w, ANSWER_ECHO);
    ask(&w, "GET", FRAMING_NONE);
    UNTIL(w.loop, w.is_done);
    CHECK_OK(w.result);
    CHECK(w.ex->down.total == 0 && w.ex->down_trailers == NULL);
    leave(&w);
    world_close(&w);
}

TEST(an_early_response_ends_the_exchange_while_the_upload_still_flows)
{
    struct world w;
    world_open(&w, ANSWER_EARLY);
    ask(&w, "POST", FRAMING_STREAM);
    put(&w, "part");
    UNTIL(w.loop, w.is_done);
    CHECK_OK(w.result);
    CHECK(w.ex->response->status == 201 && w.dones == 1);
    leave(&w);
    world_close(&w);
}

TEST(a_failure_before_the_head_is_a_page)
{
    struct world w;
    world_open(&w, ANSWER_FAILURE);
    ask(&w, "GET", FRAMING_NONE);
    UNTIL(w.loop, w.is_done);
    CHECK_OK(w.result);
    CHECK(w.ex->response->status == 504 && w.ex->down.total > 0);
    leave(&w);
    world_close(&w);
}

TEST(a_failure_behind_the_head_cuts_the_response)
{
    struct world w;
    world_open(&w, ANSWER_CUT);
    ask(&w, "POST", FRAMING_STREAM);
    put(&w, "half");
    UNTIL(w.loop, w.is_done);
    CHECK_ERR(ERR_RESET, w.result);
    CHECK(!w.ex->down.ended && w.client.text != NULL);
    leave(&w);
    world_close(&w);
}

TEST(who_goes_away_cancels_the_exchange)
{
    for (int is_whole = 0; is_whole < 2; is_whole++) { /* also when nothing more was to be said */
        struct world w;
        world_open(&w, ANSWER_NOTHING);
        ask(&w, is_whole ? "GET" : "POST", is_whole ? FRAMING_NONE : FRAMING_STREAM);
        UNTIL(w.loop, w.served != NULL);
        leave(&w);
        UNTIL(w.loop, w.dones == 1);
        CHECK(w.last_err == ERR_CANCELED);
        world_close(&w);
    }
}

TEST(who_sends_nothing_is_given_up)
{
    struct world w;
    world_open(&w, ANSWER_NOTHING);
    w.group.stall = NSEC_PER_MSEC;
    ask(&w, "POST", FRAMING_STREAM);
    UNTIL(w.loop, w.is_done);
    CHECK_ERR(ERR_RESET, w.result);
    CHECK(w.dones == 1);
    leave(&w);
    world_close(&w);
}

/* A body of a known length must come at a rate; of one without, any byte is as good as many. */
TEST(who_sends_too_little_of_what_it_announced_is_given_up)
{
    for (int has_length = 0; has_length < 2; has_length++) {
        struct world w;
        world_open(&w, ANSWER_NOTHING);
        w.group.stall = 500 * NSEC_PER_MSEC;
        w.group.rate = 1000 * 1000;
        ask(&w, "POST", has_length != 0 ? FRAMING_LENGTH : FRAMING_STREAM);
        UNTIL(w.loop, w.served != NULL);
        nsec next = loop_now(w.loop);
        unsigned sent = 0;
        while (!w.is_done && sent < 600) { /* a byte each millisecond or two */
            loop_turn(w.loop, 1);
            if (loop_now_fresh(w.loop) < next)
                continue;
            put(&w, "x");
            sent++;
            next = loop_now(w.loop) + NSEC_PER_MSEC;
        }
        CHECK(w.is_done == (has_length != 0));
        leave(&w);
        world_close(&w);
    }
}

TEST(a_reader_that_waits_holds_the_writer_back)
{
    struct world w;
    static char piece[32 * 1024 + 1];
    size_t sent = 0;
    memset(piece, 'x', sizeof piece - 1);
    world_open(&w, ANSWER_ECHO);
    ask(&w, "POST", FRAMING_STREAM);
    /* Nobody takes the response: everything on the way fills up, and no further. */
    for (int idle = 0; idle < 50; idle++) {
        while (body_room(&w.ex->up) >= sizeof piece - 1) {
            put(&w, piece);
            sent += sizeof piece - 1;
            idle = 0;
        }
        loop_turn(w.loop, 0);
    }
    CHECK(sent > 512 * 1024 && sent < 2 * 1024 * 1024);
    CHECK(body_room(&w.ex->down) == 0);
    /* Taken, it all comes. */
    size_t got = 0;
    end(&w);
    UNTIL(w.loop,
          (got += buf_len(&w.ex->down.held), buf_drop(&w.ex->down.held, buf_len(&w.ex->down.held)),
           task_wake(&w.right), w.is_done && buf_is_empty(&w.ex->down.held)));
    CHECK_OK(w.result);
    CHECK(got == sent);
    leave(&w);
    world_close(&w);
}

TESTS(RUN(an_exchange_crosses_with_its_body_and_trailers_and_interim_heads),
      RUN(a_request_without_a_body_has_a_response_without_one),
      RUN(an_early_response_ends_the_exchange_while_the_upload_still_flows),
      RUN(a_failure_before_the_head_is_a_page), RUN(a_failure_behind_the_head_cuts_the_response),
      RUN(who_goes_away_cancels_the_exchange), RUN(who_sends_nothing_is_given_up),
      RUN(who_sends_too_little_of_what_it_announced_is_given_up),
      RUN(a_reader_that_waits_holds_the_writer_back))
