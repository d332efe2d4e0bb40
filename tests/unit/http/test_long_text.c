#include "base/limits.h"
#include "http/long_text.h"
#include "net/turn.h"
#include "test.h"

#define BYTES (3 * BODY_BYTES_MAX + 17)

struct lab {
    struct loop *loop;
    struct task left;
    struct exchange *ex;
};

static char *make_text(void)
{
    char *text = malloc(BYTES);
    for (size_t i = 0; i < BYTES; i++)
        text[i] = (char)('a' + i % 23);
    return text;
}

static void lab_open(struct lab *l, struct slice method)
{
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->left, l->loop, do_nothing);
    l->ex = exchange_new(l->loop, &l->left);
    assert_non_null(l->ex);
    l->ex->request.method = method;
    assert_int_equal(long_text_respond(l->ex, "text/x", make_text(), BYTES), 0);
}

static void lab_close(struct lab *l)
{
    exchange_leave(l->ex, EX_LEFT);
    loop_turn(l->loop, 0);
    loop_turn(l->loop, 0);
    task_done(&l->left);
    loop_free(l->loop);
}

TEST(a_long_text_comes_whole_and_no_faster_than_it_is_taken)
{
    struct lab l;
    char *want = make_text(), *got = malloc(BYTES);
    size_t n = 0;
    lab_open(&l, SLICE("GET"));
    CHECK(l.ex->response->length == BYTES && l.ex->response->framing == FRAMING_LENGTH);
    for (unsigned turn = 0; turn < 100 && !body_is_over(&l.ex->down); turn++) {
        loop_turn(l.loop, 0);
        size_t held = buf_len(&l.ex->down.held);
        CHECK(held <= BODY_BYTES_MAX && n + held <= BYTES);
        size_t part =
            buf_copy(&l.ex->down.held, 0, (uint8_t *)got + n, held < 50000 ? held : 50000);
        buf_drop(&l.ex->down.held, part);
        n += part;
        if (l.ex->right != NULL)
            exchange_wake_right(l.ex);
    }
    CHECK(n == BYTES && l.ex->down.total == BYTES && memcmp(got, want, BYTES) == 0);
    CHECK(exchange_has_left(l.ex, EX_RIGHT) && !exchange_has_failed(l.ex));
    free(want);
    free(got);
    lab_close(&l);
}

TEST(to_head_it_is_only_its_length)
{
    struct lab l;
    lab_open(&l, SLICE("HEAD"));
    loop_turn(l.loop, 0);
    CHECK(l.ex->response->length == BYTES && l.ex->response->framing == FRAMING_NONE);
    CHECK(body_is_over(&l.ex->down) && l.ex->down.total == 0);
    lab_close(&l);
}

/* Nothing is left over: the sanitizer sees to it. */
TEST(whoever_leaves_early_ends_it)
{
    struct lab l;
    lab_open(&l, SLICE("GET"));
    loop_turn(l.loop, 0);
    CHECK(!body_is_over(&l.ex->down) && !exchange_has_left(l.ex, EX_RIGHT));
    lab_close(&l);
}

TESTS(RUN(a_long_text_comes_whole_and_no_faster_than_it_is_taken),
      RUN(to_head_it_is_only_its_length), RUN(whoever_leaves_early_ends_it))
