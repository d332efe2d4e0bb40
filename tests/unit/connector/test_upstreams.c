/* Several services of one rule: who is asked, who is skipped, and when they are tried again. */
#include "connector/upstreams.h"

#include <pthread.h>

#include "connector/rule_extras.h"
#include "test.h"

#define SECOND NSEC_PER_SEC

static struct upstreams three(enum balance balance)
{
    return (struct upstreams){ .count = 3, .balance = balance };
}

/* Index of who is asked next; 99 = nobody. */
static size_t next(struct upstreams *u, struct upstream_turn *t, nsec now)
{
    t->of = u;
    return upstream_next(t, now) != NULL ? (size_t)(t->at - u->list) : 99;
}

/* One request that is over at once. */
static size_t ask(struct upstreams *u, nsec now)
{
    struct upstream_turn t = { 0 };
    size_t i = next(u, &t, now);
    upstream_leave(&t);
    return i;
}

/* One request that cannot reach whom it gets. */
static size_t miss(struct upstreams *u, nsec now, struct rng *rng)
{
    struct upstream_turn t = { 0 };
    nsec wait;
    size_t i = next(u, &t, now);
    (void)upstream_missed(&t, now, rng, &wait);
    return i;
}

TEST(the_first_is_asked_as_long_as_it_can_be_reached)
{
    struct upstreams u = three(BALANCE_FAILOVER);
    struct rng rng;
    rng_init(&rng, 1);
    for (int i = 0; i < 5; i++)
        CHECK(ask(&u, SECOND) == 0);
    CHECK(miss(&u, SECOND, &rng) == 0);
    CHECK(ask(&u, SECOND) == 1 && ask(&u, SECOND) == 1);
}

TEST(each_has_its_turn_and_a_dead_one_none)
{
    struct upstreams u = three(BALANCE_ROUND_ROBIN);
    struct rng rng;
    size_t seen[3] = { 0 };
    rng_init(&rng, 1);
    for (int i = 0; i < 9; i++)
        seen[ask(&u, SECOND)]++;
    CHECK(seen[0] == 3 && seen[1] == 3 && seen[2] == 3);
    size_t dead = miss(&u, SECOND, &rng);
    for (int i = 0; i < 9; i++)
        CHECK(ask(&u, SECOND) != dead);
}

/* `count` requests that it has as a whole. */
static void send_to(struct upstreams *u, size_t index, struct upstream_turn *turns, size_t count,
                    nsec now)
{
    for (size_t i = 0; i < count; i++) {
        turns[i] = (struct upstream_turn){ .of = u, .at = &u->list[index] };
        atomic_fetch_add(&u->list[index].open, 1);
        upstream_asked(&turns[i], now);
        upstream_asked(&turns[i], now); /* twice is once */
    }
}

TEST(one_that_leaves_many_waiting_is_out_of_turn_until_it_answers)
{
    struct upstreams u = three(BALANCE_FAILOVER);
    struct upstream_turn turns[UPSTREAM_SILENT_LEAST], probe = { .of = &u };
    u.silence = 30 * SECOND;
    send_to(&u, 0, turns, UPSTREAM_SILENT_LEAST - 1, SECOND);
    CHECK(upstream_fell_silent(&u, 1000 * SECOND) == NULL); /* few may be slow */
    upstream_leave(&turns[0]);
    send_to(&u, 0, turns, 1, 5 * SECOND);
    send_to(&u, 0, turns + UPSTREAM_SILENT_LEAST - 1, 1, 5 * SECOND);
    CHECK(upstream_fell_silent(&u, 31 * SECOND - 1) == NULL);
    CHECK(upstream_fell_silent(&u, 31 * SECOND) == &u.list[0]);
    CHECK(upstream_fell_silent(&u, 31 * SECOND) == NULL); /* once */
    CHECK(ask(&u, 31 * SECOND) == 1 && ask(&u, 90 * SECOND) == 1);
    /* Tried by one request a minute; that it can be connected to says nothing. */
    CHECK(next(&u, &probe, 91 * SECOND) == 0 && ask(&u, 91 * SECOND) == 1);
    CHECK(!upstream_reached(&probe) && ask(&u, 92 * SECOND) == 1);
    CHECK(upstream_answered(&turns[1], 92 * SECOND));
    CHECK(!upstream_answered(&turns[2], 92 * SECOND));
    CHECK(ask(&u, 92 * SECOND) == 0);
    for (size_t i = 0; i < UPSTREAM_SILENT_LEAST; i++)
        upstream_leave(&turns[i]);
    upstream_leave(&probe);
    CHECK(atomic_load(&u.list[0].waiting) == 0 && atomic_load(&u.list[0].open) == 0);
}

TEST(one_that_answers_somebody_is_not_silent_and_none_is_when_there_is_no_better)
{
    struct upstreams u = three(BALANCE_ROUND_ROBIN);
    struct upstream_turn turns[3][UPSTREAM_SILENT_LEAST + 1];
    u.silence = 30 * SECOND;
    send_to(&u, 0, turns[0], UPSTREAM_SILENT_LEAST + 1, SECOND);
    CHECK(!upstream_answered(&turns[0][0], 20 * SECOND));
    CHECK(upstream_fell_silent(&u, 49 * SECOND) == NULL);
    send_to(&u, 1, turns[1], UPSTREAM_SILENT_LEAST, SECOND);
    send_to(&u, 2, turns[2], UPSTREAM_SILENT_LEAST, SECOND);
    CHECK(upstream_fell_silent(&u, 50 * SECOND) == NULL); /* they are all the same */
    u.silence = 0;
    upstream_leave(&turns[1][0]);
    CHECK(upstream_fell_silent(&u, 50 * SECOND) == NULL); /* switched off */
    u.silence = 30 * SECOND;
    CHECK(upstream_fell_silent(&u, 50 * SECOND) == &u.list[0]);
    CHECK(upstream_fell_silent(&u, 50 * SECOND) == &u.list[2]);
    CHECK(upstream_fell_silent(&u, 50 * SECOND) == NULL);
}

TEST(an_answer_that_did_not_come_in_time_is_a_failure_that_a_connection_does_not_undo)
{
    struct upstreams u = three(BALANCE_FAILOVER);
    struct upstream_turn t = { 0 };
    struct rng rng;
    nsec wait;
    rng_init(&rng, 1);
    CHECK(next(&u, &t, SECOND) == 0);
    upstream_asked(&t, SECOND);
    CHECK(upstream_was_silent(&t, 2 * SECOND, &rng, &wait));
    CHECK(wait >= SECOND * 4 / 5 && wait <= SECOND * 6 / 5);
    CHECK(atomic_load(&u.list[0].waiting) == 0 && ask(&u, 2 * SECOND) == 1);
    t = (struct upstream_turn){ 0 };
    CHECK(next(&u, &t, 4 * SECOND) == 0); /* its time has come */
    CHECK(!upstream_reached(&t) && ask(&u, 4 * SECOND) == 1);
    CHECK(!upstream_was_silent(&t, 5 * SECOND, &rng, &wait));
    CHECK(wait >= SECOND * 8 / 5); /* twice as long */
    t = (struct upstream_turn){ 0 };
    CHECK(next(&u, &t, 10 * SECOND) == 0);
    CHECK(upstream_answered(&t, 10 * SECOND) && ask(&u, 10 * SECOND) == 0);
    upstream_leave(&t);
}

TEST(the_least_busy_is_asked)
{
    struct upstreams u = three(BALANCE_LEAST_REQUESTS);
    struct upstream_turn a = { 0 }, b = { 0 }, c = { 0 }, d = { 0 };
    size_t first = next(&u, &a, SECOND), second = next(&u, &b, SECOND),
           third = next(&u, &c, SECOND);
    CHECK(first != second && second != third && third != first);
    upstream_leave(&b);
    CHECK(next(&u, &d, SECOND) == second);
    CHECK(atomic_load(&u.list[second].open) == 1);
    upstream_leave(&d);
    upstream_leave(&d); /* twice is once */
    CHECK(atomic_load(&u.list[second].open) == 0);
}

TEST(a_request_tries_each_once)
{
    struct upstreams u = three(BALANCE_FAILOVER);
    struct upstream_turn t = { 0 };
    struct rng rng;
    nsec wait;
    rng_init(&rng, 1);
    for (size_t i = 0; i < 3; i++) {
        CHECK(next(&u, &t, SECOND) == i);
        CHECK(upstream_missed(&t, SECOND, &rng, &wait));
        CHECK(upstream_has_more(&t) == (i < 2));
    }
    CHECK(next(&u, &t, SECOND) == 99);
    struct upstream_turn alone = { 0 };
    CHECK(!upstream_has_more(&alone) && !upstream_reached(&alone));
}

TEST(a_dead_one_is_tried_by_one_request_when_its_time_has_come)
{
    struct upstreams u = three(BALANCE_FAILOVER);
    struct upstream_turn t = { 0 }, other = { 0 };
    struct rng rng;
    rng_init(&rng, 1);
    CHECK(miss(&u, 10 * SECOND, &rng) == 0);
    CHECK(ask(&u, 10 * SECOND + SECOND / 2) == 1);
    CHECK(next(&u, &t, 10 * SECOND + SECOND * 3 / 2) == 0);
    CHECK(next(&u, &other, 10 * SECOND + SECOND * 3 / 2) == 1); /* while that is under way */
    CHECK(upstream_reached(&t) && !upstream_reached(&t));
    CHECK(ask(&u, 10 * SECOND + SECOND * 3 / 2) == 0);
}

TEST(the_wait_doubles_up_to_a_minute)
{
    struct upstreams u = { .count = 1 };
    struct rng rng;
    nsec now = SECOND, want = SECOND;
    rng_init(&rng, 7);
    for (int i = 0; i < 10; i++) {
        struct upstream_turn t = { 0 };
        CHECK(next(&u, &t, now) == 0);
        CHECK(!t.is_last_resort);
        nsec wait = 0;
        CHECK(upstream_missed(&t, now, &rng, &wait) == (i == 0)); /* one change of state */
        nsec got = atomic_load(&u.list[0].retry_at) - now;
        CHECK(got >= want - want / 5 && got <= want + want / 5);
        CHECK(i > 0 || wait == got);
        now += got;
        want = want * 2 < 60 * SECOND ? want * 2 : 60 * SECOND;
    }
}

TEST(what_many_meet_at_once_is_one_failure)
{
    struct upstreams u = { .count = 1 };
    struct upstream_turn t[8] = { 0 };
    struct rng rng;
    nsec wait;
    unsigned changes = 0;
    rng_init(&rng, 1);
    for (int i = 0; i < 8; i++)
        (void)next(&u, &t[i], SECOND);
    for (int i = 0; i < 8; i++)
        changes += upstream_missed(&t[i], SECOND, &rng, &wait);
    CHECK(changes == 1 && atomic_load(&u.list[0].failures) == 1);
    CHECK(atomic_load(&u.list[0].open) == 0);
}

TEST(when_all_are_dead_they_are_asked_nevertheless)
{
    struct upstreams u = three(BALANCE_ROUND_ROBIN);
    struct upstream_turn t = { 0 };
    struct rng rng;
    nsec wait;
    rng_init(&rng, 1);
    size_t first = miss(&u, SECOND, &rng), second = miss(&u, SECOND + 400000000, &rng),
           third = miss(&u, SECOND + 800000000, &rng);
    uint64_t at = atomic_load(&u.list[first].retry_at);
    CHECK(next(&u, &t, SECOND) == first && t.is_last_resort);
    CHECK(!upstream_missed(&t, SECOND, &rng, &wait));
    CHECK(atomic_load(&u.list[first].failures) == 1 && atomic_load(&u.list[first].retry_at) == at);
    CHECK(next(&u, &t, SECOND) == second && next(&u, &t, SECOND) == third);
    CHECK(upstream_reached(&t)); /* and who answers is back */
}

#define THREADS 4
#define STEPS   200000

struct hammer {
    pthread_t thread;
    struct upstreams *u;
    struct rng rng;
    long went_down, came_back;
};

/* Requests of one worker: some reach whom they get, some do not and go on. */
static void *hammer(void *arg)
{
    struct hammer *h = arg;
    for (nsec now = SECOND; now < SECOND + STEPS; now++) {
        struct upstream_turn t = { .of = h->u };
        while (upstream_next(&t, now * SECOND) != NULL) {
            nsec wait;
            bool is_missed = rng_below(&h->rng, 3) == 0;
            if (is_missed)
                h->went_down += upstream_missed(&t, now * SECOND, &h->rng, &wait);
            else
                h->came_back += upstream_reached(&t);
            if (!is_missed)
                break;
        }
        upstream_leave(&t);
    }
    return NULL;
}

TEST(workers_agree_about_who_is_down)
{
    struct upstreams u = { .count = 1 }; /* all ask the same one */
    static struct hammer h[THREADS];
    long changes = 0, down = 0;
    for (int i = 0; i < THREADS; i++) {
        h[i] = (struct hammer){ .u = &u };
        rng_init(&h[i].rng, (uint64_t)i + 1);
        CHECK(pthread_create(&h[i].thread, NULL, hammer, &h[i]) == 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK(pthread_join(h[i].thread, NULL) == 0);
        changes += h[i].went_down - h[i].came_back;
        CHECK(h[i].went_down > 0 && h[i].came_back > 0);
    }
    for (size_t i = 0; i < u.count; i++) {
        down += atomic_load(&u.list[i].failures) > 0;
        CHECK(atomic_load(&u.list[i].open) == 0);
    }
    CHECK(changes == down); /* each change of state was told once */
}

static int load(const char *text, struct ingress **ret, struct fault *f)
{
    struct arena a;
    struct yaml_node *root = NULL;
    *ret = NULL;
    arena_init(&a, 1 << 20);
    int r = yaml_parse(slice_str(text), "t", &a, &root, f);
    if (r == 0)
        r = ingress_from_yaml(root, "t", ret, f);
    arena_done(&a);
    return r;
}

TEST(the_rules_own_service_is_the_first_of_several)
{
    struct ingress *in;
    struct fault f = { 0 };
    CHECK_OK(load("ingress:\n- service: http://a\n  services: ['https://b:1', 'ws://c']\n"
                  "  balance: least-requests\n"
                  "  silentAfter: 2m\n",
                  &in, &f));
    const struct upstreams *u = ingress_rule(in, 0)->extras->upstreams;
    CHECK(u->count == 3 && u->balance == BALANCE_LEAST_REQUESTS && u->silence == 120 * SECOND);
    CHECK_SLICE(u->list[0].service.text, SLICE("http://a"));
    CHECK(u->list[1].service.is_tls && u->list[1].service.port == 1);
    CHECK_SLICE(u->list[2].service.host, SLICE("c"));
    CHECK(rule_has_tls(ingress_rule(in, 0)));
    ingress_unref(in);
}

TEST(services_that_cannot_stand_together_are_refused)
{
    static const struct {
        const char *service, *keys, *says;
    } CASES[] = {
        { "http://a", "services: http://b", "services: a list of services is wanted" },
        { "http://a", "services: [nope]", "services: nope is an invalid address" },
        { "http://a", "services: [http://b/x]", "services: http://b/x is an invalid address" },
        { "http://a", "services: ['unix:/b']", "is of another kind" },
        { "http://a", "services: ['tcp://b:1']", "is of another kind" },
        { "tcp://a:1", "services: ['http://b']", "is of another kind" },
        { "tcp://a:1", "services: ['other://b']", "services: other://b has no port" },
        { "http_status:404", "services: ['http://b']", "http, https, unix and tcp, which" },
        { "bastion", "services: ['tcp://b:1']", "which the service bastion is not" },
        { "http://a", "balance: random", "balance: failover, round-robin or least-requests" },
        { "http://a", "silentAfter: 30", "silentAfter: a duration is wanted, such as 30s" },
        { "http://a", "silentAfter: -1s", "silentAfter: a duration is wanted, such as 30s" },
    };
    char text[4096];
    struct ingress *in;
    for (size_t i = 0; i < sizeof CASES / sizeof CASES[0]; i++) {
        struct fault f = { 0 };
        (void)snprintf(text, sizeof text, "ingress:\n- service: %s\n  %s\n", CASES[i].service,
                       CASES[i].keys);
        int r = load(text, &in, &f);
        if (r != ERR_PARSE || strstr(f.text, CASES[i].says) == NULL)
            fail_msg("%s: %d \"%s\"", CASES[i].keys, r, r < 0 ? f.text : "");
        CHECK(f.line >= 2);
    }
    for (int many = 0; many < 2; many++) {
        struct fault f = { 0 };
        int n = snprintf(text, sizeof text, "ingress:\n- service: http://a\n  services:\n");
        for (int i = 1; i < UPSTREAMS_MAX + many; i++)
            n += snprintf(text + n, sizeof text - (size_t)n, "  - http://b:%d\n", i);
        CHECK_ERR(many ? ERR_PARSE : 0, load(text, &in, &f));
        ingress_unref(in);
    }
}

TESTS(RUN(one_that_leaves_many_waiting_is_out_of_turn_until_it_answers),
      RUN(one_that_answers_somebody_is_not_silent_and_none_is_when_there_is_no_better),
      RUN(an_answer_that_did_not_come_in_time_is_a_failure_that_a_connection_does_not_undo),
      RUN(workers_agree_about_who_is_down), RUN(the_first_is_asked_as_long_as_it_can_be_reached),
      RUN(each_has_its_turn_and_a_dead_one_none), RUN(the_least_busy_is_asked),
      RUN(a_request_tries_each_once),
      RUN(a_dead_one_is_tried_by_one_request_when_its_time_has_come),
      RUN(the_wait_doubles_up_to_a_minute), RUN(what_many_meet_at_once_is_one_failure),
      RUN(when_all_are_dead_they_are_asked_nevertheless),
      RUN(the_rules_own_service_is_the_first_of_several),
      RUN(services_that_cannot_stand_together_are_refused))
