#include "net/dial.h"

#include "net/sockets.h"

#define SOON 1 /* a stagger that is over at once */

struct race {
    struct loop *loop;
    struct task task;
    struct dial dial;
    struct stream *won;
};

static void race_open(struct race *r)
{
    memset(r, 0, sizeof *r);
    assert_int_equal(loop_new(&r->loop), 0);
    task_init(&r->task, r->loop, do_nothing);
}

static void race_close(struct race *r)
{
    stream_release(r->won);
    dial_done(&r->dial);
    dial_done(&r->dial); /* twice is accepted */
    loop_turn(r->loop, 0);
    task_done(&r->task);
    loop_free(r->loop);
}

static void start(struct race *r, const struct addr *addrs, size_t count, nsec stagger,
                  bool one_by_one)
{
    struct dial_opts opts = { .stagger = stagger, .one_by_one = one_by_one };
    dial_init(&r->dial, r->loop, addrs, count, &opts, &r->task);
}

/* An address that answers nothing: a listener whose queue is full, so that the kernel drops what
 * asks for more. */
struct silence {
    int listener, filling[8];
};

static void silence_open(struct silence *s, struct addr *ret)
{
    s->listener = raw_bound(ret);
    assert_int_equal(listen(s->listener, 0), 0);
    for (size_t i = 0; i < 8; i++) {
        s->filling[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        (void)!connect(s->filling[i], (const struct sockaddr *)&ret->sa, ret->size);
    }
}

static void silence_close(struct silence *s)
{
    for (size_t i = 0; i < 8; i++)
        (void)close(s->filling[i]);
    (void)close(s->listener);
}

static uint16_t port_of_peer(struct stream *s, int listener)
{
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    struct addr local;
    int fd = accept(listener, (struct sockaddr *)&peer, &size);
    assert_true(fd >= 0);
    tcp_local_addr(s, &local);
    assert_int_equal(ntohs(peer.sin_port), addr_port(&local));
    (void)close(fd);
    return addr_port(&local);
}

TEST(the_first_address_wins_when_it_answers)
{
    struct race r;
    struct addr a[2];
    int first = raw_listen(&a[0]), second = raw_listen(&a[1]);
    race_open(&r);
    start(&r, a, 2, 0, false);
    UNTIL(r.loop, dial_run(&r.dial, &r.won) == 0);
    CHECK(port_of_peer(r.won, first) > 0);
    CHECK(r.dial.begun == 1); /* the other was not even asked */
    race_close(&r);
    (void)close(first);
    (void)close(second);
}

TEST(an_address_that_answers_nothing_is_overtaken)
{
    struct race r;
    struct silence silence;
    struct addr a[2];
    silence_open(&silence, &a[0]);
    int listener = raw_listen(&a[1]);
    race_open(&r);
    start(&r, a, 2, SOON, false);
    UNTIL(r.loop, dial_run(&r.dial, &r.won) == 0);
    CHECK(port_of_peer(r.won, listener) > 0);
    CHECK(r.dial.tries[0] == NULL); /* given up */
    race_close(&r);
    (void)close(listener);
    silence_close(&silence);
}

TEST(one_by_one_waits_for_the_answer_of_each)
{
    struct race r, other;
    struct silence silence;
    struct addr a[2];
    silence_open(&silence, &a[0]);
    int listener = raw_listen(&a[1]);
    race_open(&r);
    race_open(&other);
    start(&r, a, 2, SOON, true);
    CHECK_ERR(ERR_AGAIN, dial_run(&r.dial, &r.won));
    start(&other, a, 2, SOON, false);
    UNTIL_BOTH(r.loop, other.loop,
               dial_run(&r.dial, &r.won) == ERR_AGAIN && dial_run(&other.dial, &other.won) == 0);
    CHECK_ERR(ERR_AGAIN, dial_run(&r.dial, &r.won));
    CHECK(r.dial.begun == 1 && !deadline_is_set(&r.dial.next));
    race_close(&r);
    race_close(&other);
    (void)close(listener);
    silence_close(&silence);
}

TEST(a_refusal_brings_the_next_address_at_once)
{
    for (int one_by_one = 0; one_by_one < 2; one_by_one++) {
        struct race r;
        struct addr a[2];
        int refuses = raw_bound(&a[0]), listener = raw_listen(&a[1]);
        race_open(&r);
        start(&r, a, 2, 3600 * NSEC_PER_SEC, one_by_one); /* the moment never comes */
        UNTIL(r.loop, dial_run(&r.dial, &r.won) == 0);
        CHECK(port_of_peer(r.won, listener) > 0);
        race_close(&r);
        (void)close(refuses);
        (void)close(listener);
    }
}

TEST(when_none_is_left_the_most_telling_failure_is_told)
{
    struct race r;
    struct addr a[3];
    int refuses = raw_bound(&a[0]);
    CHECK_OK(addr_parse_ip(SLICE("127.0.0.1"), 1, &a[1]));
    CHECK_OK(addr_parse_ip(SLICE("255.255.255.255"), 1, &a[2])); /* no way leads there */
    race_open(&r);
    start(&r, a, 3, SOON, false);
    int got = ERR_AGAIN;
    UNTIL(r.loop, (got = dial_run(&r.dial, &r.won)) != ERR_AGAIN);
    CHECK_ERR(ERR_REFUSED, got);
    CHECK(r.won == NULL && !deadline_is_set(&r.dial.next));
    race_close(&r);
    (void)close(refuses);
}

TEST(giving_up_ends_every_attempt)
{
    struct race r;
    struct silence silence;
    struct addr a[2];
    silence_open(&silence, &a[0]);
    a[1] = a[0];
    race_open(&r);
    start(&r, a, 2, SOON, false);
    CHECK_ERR(ERR_AGAIN, dial_run(&r.dial, &r.won));
    UNTIL(r.loop, dial_run(&r.dial, &r.won) == ERR_AGAIN && r.dial.begun == 2);
    CHECK(r.dial.tries[0] != NULL && r.dial.tries[1] != NULL);
    dial_done(&r.dial);
    CHECK(r.dial.tries[0] == NULL && r.dial.tries[1] == NULL);
    race_close(&r);
    silence_close(&silence);
}

TEST(the_families_take_turns)
{
    static const struct {
        const char *in, *out; /* one letter an address, its family's case */
    } TABLE[] = { { "aAbBcC", "aAbBcC" }, { "abcAB", "aAbBc" }, { "ABab", "AaBb" },
                  { "abc", "abc" },       { "a", "a" },         { "abAcdB", "aAbBcd" } };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct addr a[8];
        size_t n = strlen(TABLE[i].in);
        for (size_t k = 0; k < n; k++) {
            bool is_six = TABLE[i].in[k] < 'a';
            CHECK_OK(addr_parse_ip(is_six ? SLICE("::1") : SLICE("127.0.0.1"),
                                   (uint16_t)TABLE[i].in[k], &a[k]));
        }
        dial_interleave(a, n);
        for (size_t k = 0; k < n; k++)
            if (addr_port(&a[k]) != (uint16_t)TABLE[i].out[k])
                fail_msg("%s: place %zu is %c", TABLE[i].in, k, addr_port(&a[k]));
        CHECK(n > 0);
    }
}

TESTS(RUN(the_first_address_wins_when_it_answers),
      RUN(an_address_that_answers_nothing_is_overtaken),
      RUN(one_by_one_waits_for_the_answer_of_each), RUN(a_refusal_brings_the_next_address_at_once),
      RUN(when_none_is_left_the_most_telling_failure_is_told), RUN(giving_up_ends_every_attempt),
      RUN(the_families_take_turns))
