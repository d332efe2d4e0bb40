/* One attempt over a link of this worker, over HTTP/2: what it takes up, what it counts, and what
 * it says of its failure. This file stands for the session and for the connector's exchange. */
#include "base/text.h"
#include "edge/attempt.h"
#include "edge/edge_int.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "tunnel/h2_words.h"
#include "tunnel/metadata.h"

#define WINDOW (1 << 20)

static struct world {
    struct loop *loop;
    struct task task;
    struct edge edge;
    struct edge_worker worker;
    struct link *link;
    struct carrier carrier;
    struct h2_conn *connector;
    struct h2_stream *asked;
    struct exchange *ex;
    struct attempt attempt;
    int result;
} * the_world;

struct session *__wrap_session_find(struct edge_worker *w, uint64_t id);
struct session *__wrap_session_find(struct edge_worker *w, uint64_t id)
{
    (void)w;
    return the_world->carrier.h2 != NULL && id == the_world->link->id
               ? (struct session *)(void *)the_world
               : NULL;
}

int __wrap_session_carrier(struct session *s, struct carrier **ret);
int __wrap_session_carrier(struct session *s, struct carrier **ret)
{
    (void)s;
    *ret = &the_world->carrier;
    return 0;
}

static void run(struct task *t)
{
    struct world *w = container_of(t, struct world, task);
    if (w->attempt.link != NULL && w->result == ERR_AGAIN)
        w->result = attempt_run(&w->attempt);
}

static void turns(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        loop_turn(w->loop, 0);
}

static void world_open(struct world *w)
{
    const struct h2_conf client = { .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX },
                         server = { .is_server = true, .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX };
    struct stream *near, *far;
    *w = (struct world){ .result = ERR_AGAIN };
    the_world = w;
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->task, w->loop, run);
    w->worker.edge = &w->edge;
    w->worker.loop = w->loop;
    w->link = link_new(LINK_ID(0, 7), 0, loop_mailbox(w->loop));
    assert_non_null(w->link);
    assert_int_equal(pipe_new(w->loop, WINDOW, &near, &far), 0);
    assert_int_equal(h2_open(w->loop, &client, near, &w->task, &w->carrier.h2), 0);
    assert_int_equal(h2_open(w->loop, &server, far, &w->task, &w->connector), 0);
    w->ex = exchange_new(w->loop, NULL);
    assert_non_null(w->ex);
    w->ex->request.method = SLICE("GET");
    w->ex->request.scheme = SLICE("http");
    w->ex->request.host = SLICE("a.test");
    w->ex->request.target = SLICE("/");
    fields_init(&w->ex->request.fields, &w->ex->arena);
    body_end(&w->ex->up);
    exchange_attach(w->ex, &w->task);
    turns(w, 8);
}

static void world_close(struct world *w)
{
    attempt_end(&w->attempt);
    attempt_end(&w->attempt); /* safe on a zeroed one */
    exchange_leave(w->ex, EX_RIGHT);
    exchange_leave(w->ex, EX_LEFT);
    if (w->asked != NULL)
        stream_release(h2_stream_body(w->asked));
    h2_conn_abort(w->carrier.h2);
    h2_conn_abort(w->connector);
    turns(w, 20);
    assert_int_equal(atomic_load(&w->link->in_flight), 0);
    link_unref(w->link);
    task_done(&w->task);
    loop_free(w->loop);
}

static int start(struct world *w)
{
    return attempt_start(&w->attempt, &w->worker, w->link, w->ex, &w->task);
}

static void answer(struct world *w, unsigned status, const struct h2_field *fields, size_t count)
{
    const struct h2_send_head head = { .status = status, .fields = fields, .count = count };
    turns(w, 8);
    assert_int_equal(h2_conn_accept(w->connector, &w->task, &w->asked), 0);
    assert_int_equal(h2_stream_respond(w->asked, &head, true), 0);
    turns(w, 8);
}

#define FIELD(name, value)                                                                         \
    {                                                                                              \
        SLICE(name), SLICE(value), false                                                           \
    }

TEST(an_exchange_is_counted_at_its_link_from_start_to_end)
{
    static const struct h2_field FIELDS[] = { FIELD(H2_META_FIELD, H2_META_ORIGIN) };
    struct world w;
    world_open(&w);
    w.link->extensions = 5;
    CHECK_OK(start(&w));
    CHECK(atomic_load(&w.link->in_flight) == 1 && w.ex->extensions == 5);
    CHECK(attempt_is_unanswered(&w.attempt) && attempt_has_sent_head(&w.attempt));
    CHECK(!attempt_took_body(&w.attempt));
    answer(&w, 204, FIELDS, 1);
    CHECK(w.ex->response != NULL && w.ex->response->status == 204);
    CHECK(!attempt_is_unanswered(&w.attempt));
    UNTIL(w.loop, w.result != ERR_AGAIN);
    CHECK_OK(w.result);
    attempt_end(&w.attempt);
    CHECK(atomic_load(&w.link->in_flight) == 0 && w.attempt.link == NULL);
    world_close(&w);
}

TEST(an_exchange_of_another_worker_is_carried_and_counted_there_alone)
{
    static const struct h2_field FIELDS[] = { FIELD(H2_META_FIELD, H2_META_ORIGIN) };
    struct world w;
    world_open(&w);
    CHECK_OK(attempt_carry(&w.attempt, &w.worker, w.link, w.ex, &w.task));
    CHECK(atomic_load(&w.link->in_flight) == 0);
    answer(&w, 204, FIELDS, 1);
    UNTIL(w.loop, w.result != ERR_AGAIN);
    CHECK_OK(w.result);
    attempt_end(&w.attempt);
    CHECK(atomic_load(&w.link->in_flight) == 0 && w.attempt.link == NULL);
    world_close(&w);
}

TEST(a_link_whose_connection_is_gone_takes_nothing_and_counts_nothing)
{
    struct world w;
    world_open(&w);
    struct h2_conn *conn = w.carrier.h2;
    w.carrier.h2 = NULL; /* there is no session */
    CHECK_ERR(ERR_CLOSED, start(&w));
    CHECK(w.attempt.link == NULL && w.attempt.kind == ATTEMPT_NONE);
    w.carrier.h2 = conn;
    h2_conn_close(conn, H2_NO_ERROR);
    CHECK_ERR(ERR_CLOSED, start(&w));
    CHECK(w.attempt.link == NULL && atomic_load(&w.link->in_flight) == 0);
    world_close(&w);
}

TEST(a_head_that_http2_cannot_carry_is_as_if_never_begun)
{
    static char large[H2_FIELD_BYTES_MAX + 1];
    struct world w;
    world_open(&w);
    memset(large, 'x', sizeof large);
    CHECK_OK(fields_add(&w.ex->request.fields, SLICE("X-Large"), slice_of(large, sizeof large)));
    CHECK_ERR(ERR_LIMIT, start(&w));
    CHECK(w.attempt.link == NULL && atomic_load(&w.link->in_flight) == 0);
    turns(&w, 8);
    CHECK_ERR(ERR_AGAIN, h2_conn_accept(w.connector, &w.task, &w.asked));
    world_close(&w);
}

TEST(a_failure_is_told_in_the_connectors_words_without_the_references_preface)
{
    static const char said[] = TUNNEL_UNREACHABLE "the moon is full";
    char coded[BASE64_BYTES(sizeof said)];
    size_t n = base64_encode(slice_of(said, sizeof said - 1), BASE64_STD, false, coded);
    const struct h2_field fields[] = { FIELD(H2_META_FIELD, H2_META_CONNECTOR),
                                       FIELD(H2_FAILURE_FIELD, "origin_refused"),
                                       { SLICE(H2_TEXT_FIELD), slice_of(coded, n), false } };
    struct world w;
    world_open(&w);
    CHECK_OK(start(&w));
    answer(&w, 502, fields, 3);
    UNTIL(w.loop, w.result != ERR_AGAIN);
    CHECK_ERR(ERR_ORIGIN, w.result);
    CHECK(attempt_failure(&w.attempt) == FAILURE_ORIGIN_REFUSED);
    CHECK(strcmp(attempt_cause(&w.attempt), "the moon is full") == 0);
    world_close(&w);
}

TEST(a_failure_without_words_is_told_all_the_same)
{
    static const struct h2_field FIELDS[] = { FIELD(H2_META_FIELD, H2_META_CONNECTOR) };
    struct world w;
    world_open(&w);
    CHECK_OK(start(&w));
    answer(&w, 502, FIELDS, 1);
    UNTIL(w.loop, w.result != ERR_AGAIN);
    CHECK_ERR(ERR_ORIGIN, w.result);
    CHECK(attempt_failure(&w.attempt) == FAILURE_ORIGIN && attempt_cause(&w.attempt)[0] != 0);
    world_close(&w);
}

TEST(an_attempt_that_is_given_up_resets_its_stream)
{
    struct world w;
    world_open(&w);
    CHECK_OK(start(&w));
    turns(&w, 8);
    CHECK_OK(h2_conn_accept(w.connector, &w.task, &w.asked));
    attempt_end(&w.attempt);
    UNTIL(w.loop, h2_stream_send_err(w.asked) < 0);
    world_close(&w);
}

TESTS(RUN(an_exchange_is_counted_at_its_link_from_start_to_end),
      RUN(an_exchange_of_another_worker_is_carried_and_counted_there_alone),
      RUN(a_link_whose_connection_is_gone_takes_nothing_and_counts_nothing),
      RUN(a_head_that_http2_cannot_carry_is_as_if_never_begun),
      RUN(a_failure_is_told_in_the_connectors_words_without_the_references_preface),
      RUN(a_failure_without_words_is_told_all_the_same),
      RUN(an_attempt_that_is_given_up_resets_its_stream))
