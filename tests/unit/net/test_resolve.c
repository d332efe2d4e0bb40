#include "net/resolve.h"

#include "base/limits.h"
#include "net/turn.h"

struct asker {
    struct loop *loop;
    struct task task;
    unsigned wakes;
    struct resolve *r;
    struct addr addrs[RESOLVE_ADDRS_MAX];
    size_t count;
};

static void asker_run(struct task *t)
{
    container_of(t, struct asker, task)->wakes++;
}

static void asker_open(struct asker *a)
{
    *a = (struct asker){ 0 };
    assert_int_equal(loop_new(&a->loop), 0);
    task_init(&a->task, a->loop, asker_run);
}

static void asker_close(struct asker *a)
{
    resolve_free(a->r);
    task_done(&a->task);
    loop_turn(a->loop, 0);
    loop_free(a->loop);
}

static int result(struct asker *a)
{
    return resolve_result(a->r, a->addrs, RESOLVE_ADDRS_MAX, &a->count);
}

TEST(a_literal_answers_in_the_next_turn)
{
    static const char *const LITERALS[] = { "127.0.0.1", "::1" };
    for (int i = 0; i < 2; i++) {
        struct asker a;
        char text[ADDR_TEXT_BYTES];
        asker_open(&a);
        CHECK_OK(resolve_start(a.loop, slice_str(LITERALS[i]), 8080, &a.task, &a.r));
        UNTIL(a.loop, a.wakes > 0);
        CHECK_OK(result(&a));
        CHECK(a.count == 1 && addr_port(&a.addrs[0]) == 8080);
        assert_string_equal(addr_ip_text(&a.addrs[0], text), LITERALS[i]);
        asker_close(&a);
    }
}

TEST(localhost_is_loopback)
{
    struct asker a;
    asker_open(&a);
    CHECK_OK(resolve_start(a.loop, SLICE("localhost"), 443, &a.task, &a.r));
    CHECK_ERR(ERR_AGAIN, result(&a));
    UNTIL(a.loop, a.wakes > 0);
    CHECK_OK(result(&a));
    CHECK(a.count >= 1);
    for (size_t i = 0; i < a.count; i++)
        CHECK(addr_is_loopback(&a.addrs[i]) && addr_port(&a.addrs[i]) == 443);
    struct addr first;
    size_t count = 0;
    CHECK_OK(resolve_result(a.r, &first, 1, &count)); /* no more than there is room for */
    CHECK(count == 1 && addr_eq(&first, &a.addrs[0]));
    asker_close(&a);
}

TEST(a_name_that_cannot_exist_is_an_error_of_names)
{
    struct asker a;
    asker_open(&a);
    CHECK_OK(resolve_start(a.loop, SLICE("no-such-name.invalid"), 80, &a.task, &a.r));
    UNTIL(a.loop, a.wakes > 0);
    int r = result(&a);
    CHECK(r == ERR_NOTFOUND || r == ERR_RESOLVE); /* without a resolver there is no "no" either */
    asker_close(&a);
}

TEST(what_is_no_name_is_refused_at_once)
{
    struct asker a;
    char large[HOSTNAME_BYTES_MAX + 1];
    asker_open(&a);
    memset(large, 'a', sizeof large);
    CHECK_ERR(ERR_RESOLVE, resolve_start(a.loop, SLICE(""), 80, &a.task, &a.r));
    CHECK_ERR(ERR_RESOLVE, resolve_start(a.loop, slice_of("a\0b", 3), 80, &a.task, &a.r));
    CHECK_ERR(ERR_RESOLVE, resolve_start(a.loop, slice_of(large, sizeof large), 80, &a.task, &a.r));
    CHECK(a.r == NULL);
    asker_close(&a);
}

TEST(a_look_up_may_be_let_go_while_it_is_under_way)
{
    struct asker a;
    asker_open(&a);
    for (int i = 0; i < 20; i++) {
        struct resolve *r;
        CHECK_OK(resolve_start(a.loop, SLICE("localhost"), 80, &a.task, &r));
        if (i % 2 == 0)
            loop_turn(a.loop, 0);
        resolve_free(r);
    }
    resolve_free(NULL);
    CHECK_OK(resolve_start(a.loop, SLICE("localhost"), 80, &a.task, &a.r));
    unsigned wakes = a.wakes;
    UNTIL(a.loop, result(&a) == 0);
    CHECK(a.wakes >= wakes);
    asker_close(&a);
}

TEST(a_loop_that_goes_waits_for_its_look_ups)
{
    struct asker a;
    struct resolve *r;
    asker_open(&a);
    CHECK_OK(resolve_start(a.loop, SLICE("localhost"), 80, &a.task, &r));
    resolve_free(r);
    asker_close(&a);
}

TESTS(RUN(a_literal_answers_in_the_next_turn), RUN(localhost_is_loopback),
      RUN(a_name_that_cannot_exist_is_an_error_of_names), RUN(what_is_no_name_is_refused_at_once),
      RUN(a_look_up_may_be_let_go_while_it_is_under_way),
      RUN(a_loop_that_goes_waits_for_its_look_ups))
