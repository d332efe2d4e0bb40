#include "http/parting.h"

#include "http/exchange.h"
#include "net/turn.h"

#define CODE "\x03\xe9" /* 1001 */

/* A websocket between two sides that do nothing: what was put is what there is. */
struct talk {
    struct loop *loop;
    struct task task;
    struct exchange *ex;
};

static void nothing(struct task *t)
{
    (void)t;
}

static void talk_open(struct talk *t, enum upgrade upgrade)
{
    memset(t, 0, sizeof *t);
    assert_int_equal(loop_new(&t->loop), 0);
    task_init(&t->task, t->loop, nothing);
    t->ex = exchange_new(t->loop, &t->task);
    assert_non_null(t->ex);
    t->ex->request.upgrade = upgrade;
    exchange_attach(t->ex, &t->task);
    exchange_respond(t->ex, response_new(t->ex, upgrade == UPGRADE_NONE ? 200 : 101));
}

static void talk_close(struct talk *t)
{
    exchange_leave(t->ex, EX_RIGHT);
    exchange_leave(t->ex, EX_LEFT);
    task_done(&t->task);
    loop_turn(t->loop, 0);
    loop_free(t->loop);
}

static void put(struct body *b, struct slice s)
{
    assert_int_equal(buf_put(&b->held, s), 0);
    b->total += s.n;
}

static void take(struct body *b, size_t n)
{
    buf_drop(&b->held, n);
}

static bool holds(const struct body *b, struct slice want)
{
    char got[256];
    size_t n = buf_copy(&b->held, 0, got, sizeof got);
    return slice_eq(slice_of(got, n), want);
}

/* One run of a right side that has nothing to move. */
static bool run(struct exchange *ex)
{
    parting_before(ex);
    return parting_after(ex);
}

TEST(a_websocket_between_frames_is_told_in_both_directions)
{
    struct talk t;
    talk_open(&t, UPGRADE_WEBSOCKET);
    put(&t.ex->down, SLICE("\x81\x02hi"));
    CHECK(!run(t.ex) && holds(&t.ex->down, SLICE("\x81\x02hi")));
    CHECK(exchange_part(t.ex, PARTING_ORIGIN));
    CHECK(!run(t.ex) && t.ex->up.ended && !t.ex->down.ended);
    uint8_t up[8];
    CHECK(buf_copy(&t.ex->up.held, 0, up, sizeof up) == 8 && up[0] == 0x88 && up[1] == 0x82);
    websocket_mask(up + 6, 2, up + 2, 0);
    CHECK(memcmp(up + 6, CODE, 2) == 0);
    CHECK(exchange_part(t.ex, PARTING_BOTH));
    CHECK(run(t.ex) && t.ex->down.ended);
    CHECK(holds(&t.ex->down, SLICE("\x81\x02hi\x88\x02" CODE)));
    CHECK(t.ex->down.total == 8);
    talk_close(&t);
}

/* Whatever the pieces are in which bytes come and go, the frames are known. */
TEST(frames_are_followed_through_any_pieces)
{
    static const uint8_t FRAMES[] = "\x01\x03one\x80\x83MASKtwo\x89\x00\xc2\x7e\x00\x80";
    for (size_t step = 1; step < 20; step++) {
        struct talk t;
        talk_open(&t, UPGRADE_WEBSOCKET);
        for (size_t at = 0; at < sizeof FRAMES - 1; at += step) {
            size_t n = sizeof FRAMES - 1 - at < step ? sizeof FRAMES - 1 - at : step;
            put(&t.ex->down, slice_of(FRAMES + at, n));
            CHECK(!run(t.ex));
            take(&t.ex->down, n);
        }
        char payload[0x80];
        memset(payload, 'p', sizeof payload);
        put(&t.ex->down, slice_of(payload, sizeof payload));
        CHECK(!run(t.ex));
        take(&t.ex->down, sizeof payload);
        (void)exchange_part(t.ex, PARTING_BOTH);
        CHECK(run(t.ex) && holds(&t.ex->down, SLICE("\x88\x02" CODE)));
        talk_close(&t);
    }
}

TEST(a_frame_that_only_began_to_wait_gives_way)
{
    struct talk t;
    talk_open(&t, UPGRADE_WEBSOCKET);
    put(&t.ex->down, SLICE("\x81\x02hi\x81\x7e\x10"));
    CHECK(!run(t.ex));
    (void)exchange_part(t.ex, PARTING_BOTH);
    CHECK(run(t.ex) && holds(&t.ex->down, SLICE("\x81\x02hi\x88\x02" CODE)));
    CHECK(t.ex->down.total == 8);
    talk_close(&t);
}

TEST(amid_a_frame_that_has_begun_to_leave_nothing_is_said_until_its_end)
{
    struct talk t;
    talk_open(&t, UPGRADE_WEBSOCKET);
    put(&t.ex->down, SLICE("\x81\x04ha"));
    CHECK(!run(t.ex));
    take(&t.ex->down, 3);
    (void)exchange_part(t.ex, PARTING_BOTH);
    CHECK(!run(t.ex) && holds(&t.ex->down, SLICE("a")));
    put(&t.ex->down, SLICE("lf"));
    CHECK(run(t.ex) && holds(&t.ex->down, SLICE("alf\x88\x02" CODE)));
    talk_close(&t);
}

TEST(what_are_no_frames_is_never_told_anything)
{
    struct talk t;
    talk_open(&t, UPGRADE_WEBSOCKET);
    put(&t.ex->down, SLICE("\x87\x01?"));
    (void)exchange_part(t.ex, PARTING_BOTH);
    CHECK(!run(t.ex) && holds(&t.ex->down, SLICE("\x87\x01?")) && !t.ex->down.ended);
    talk_close(&t);
}

TEST(a_close_frame_of_the_origin_is_the_last_one)
{
    struct talk t;
    talk_open(&t, UPGRADE_WEBSOCKET);
    (void)exchange_part(t.ex, PARTING_ORIGIN);
    CHECK(!run(t.ex));
    put(&t.ex->down, SLICE("\x88\x02\x03"));
    CHECK(!run(t.ex) && !t.ex->down.ended);
    put(&t.ex->down, SLICE("\xe8"));
    CHECK(run(t.ex) && holds(&t.ex->down, SLICE("\x88\x02\x03\xe8")) && t.ex->down.ended);
    talk_close(&t);
}

TEST(an_origin_that_ends_without_a_word_has_ours_said_for_it)
{
    struct talk t;
    talk_open(&t, UPGRADE_WEBSOCKET);
    (void)exchange_part(t.ex, PARTING_ORIGIN);
    CHECK(!run(t.ex));
    body_end(&t.ex->down);
    CHECK(run(t.ex) && holds(&t.ex->down, SLICE("\x88\x02" CODE)));
    CHECK(run(t.ex) && holds(&t.ex->down, SLICE("\x88\x02" CODE)));
    talk_close(&t);
}

TEST(only_what_would_never_end_is_asked_to)
{
    static const struct {
        const char *type;
        enum framing framing;
        bool is_asked;
    } CASES[] = {
        { "text/event-stream", FRAMING_STREAM, true },
        { "Text/Event-Stream; charset=utf-8", FRAMING_STREAM, true },
        { "text/event-stream", FRAMING_LENGTH, false }, /* half of a length is a cut */
        { "text/plain", FRAMING_STREAM, false },
        { NULL, FRAMING_STREAM, false },
    };
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct talk t;
        talk_open(&t, UPGRADE_NONE);
        t.ex->response->framing = CASES[i].framing;
        if (CASES[i].type != NULL)
            CHECK_OK(fields_add(&t.ex->response->fields, SLICE("Content-Type"),
                                slice_str(CASES[i].type)));
        CHECK(exchange_part(t.ex, PARTING_ORIGIN) == CASES[i].is_asked);
        CHECK(run(t.ex) == CASES[i].is_asked && t.ex->down.ended == CASES[i].is_asked);
        talk_close(&t);
    }
    struct talk t;
    talk_open(&t, UPGRADE_CONNECT);
    CHECK(!exchange_part(t.ex, PARTING_BOTH) && !run(t.ex));
    talk_close(&t);
}

TESTS(RUN(a_websocket_between_frames_is_told_in_both_directions),
      RUN(frames_are_followed_through_any_pieces), RUN(a_frame_that_only_began_to_wait_gives_way),
      RUN(amid_a_frame_that_has_begun_to_leave_nothing_is_said_until_its_end),
      RUN(what_are_no_frames_is_never_told_anything),
      RUN(a_close_frame_of_the_origin_is_the_last_one),
      RUN(an_origin_that_ends_without_a_word_has_ours_said_for_it),
      RUN(only_what_would_never_end_is_asked_to))
