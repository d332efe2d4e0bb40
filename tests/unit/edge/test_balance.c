#include "edge/balance.h"

#include <arpa/inet.h>

#include "net/turn.h"

#define REPLICAS 4
#define LINKS    2 /* of each */

/* A tunnel with REPLICAS connectors, in one worker's table. */
struct site {
    struct loop *loop;
    struct link_table *t;
    struct rng rng;
    struct uuid tunnel;
    struct link *links[REPLICAS][LINKS];
    struct balance_ask ask;
    struct balance_rule *rule;
    nsec now;
};

static const uint64_t SECRET[2] = { 1, 2 };

static void put_link(struct site *s, unsigned replica, unsigned at, const char *label)
{
    struct link *l =
        link_new(LINK_ID(at % 2, 10 * replica + at + 1), at % 2, loop_mailbox(s->loop));
    assert_non_null(l);
    l->tunnel = s->tunnel;
    l->connector.bytes[3] = (uint8_t)(replica + 1);
    bool is_alone = strcmp(label, "canary") == 0; /* as control/live.h finds */
    l->key = replica_key(is_alone ? slice_str(label) : slice_of(l->connector.bytes, 16));
    (void)snprintf(l->label, sizeof l->label, "%s", label);
    assert_int_equal(link_table_add(s->t, l), 0);
    link_unref(l);
    s->links[replica][at] = l;
}

static void site_open(struct site *s, const char *const *labels)
{
    memset(s, 0, sizeof *s);
    assert_int_equal(loop_new(&s->loop), 0);
    s->t = link_table_new();
    rng_init(&s->rng, 42);
    s->tunnel.bytes[0] = 1;
    for (unsigned i = 0; i < REPLICAS; i++)
        for (unsigned k = 0; k < LINKS; k++)
            put_link(s, REPLICAS - 1 - i, k, labels != NULL ? labels[REPLICAS - 1 - i] : "");
}

/* By JSON, as an operator says it. */
static void say(struct site *s, const char *text)
{
    json_t *value;
    struct balance b;
    struct fault f = { 0 };
    assert_int_equal(json_parse(slice_str(text), &value, NULL), 0);
    if (balance_read(value, &b, &f) < 0)
        fail_msg("%s", f.text);
    json_decref(value);
    balance_ask_done(&s->ask);
    balance_rule_unref(s->rule);
    s->rule = balance_rule_new(&b);
    s->ask = (struct balance_ask){ .rule = balance_rule_ref(s->rule), .secret = { 1, 2 } };
}

static void site_close(struct site *s)
{
    balance_ask_done(&s->ask);
    balance_rule_unref(s->rule);
    link_table_free(s->t);
    loop_free(s->loop);
}

static struct link *pick(struct site *s, const struct link_tried *tried)
{
    s->now += NSEC_PER_SEC;
    return balance_pick(s->t, &s->tunnel, &s->ask, 0, &s->rng, s->now, tried);
}

/* The number of the replica that is chosen; -1 when there is none. */
static int choose(struct site *s)
{
    struct link *l = pick(s, NULL);
    return l != NULL ? l->connector.bytes[3] - 1 : -1;
}

static void count(struct site *s, int times, int ret[static REPLICAS])
{
    memset(ret, 0, REPLICAS * sizeof *ret);
    for (int i = 0; i < times; i++) {
        int at = choose(s);
        assert_in_range(at, 0, REPLICAS - 1);
        ret[at]++;
    }
}

static void set_suspect(struct site *s, unsigned replica, bool is)
{
    for (unsigned k = 0; k < LINKS; k++)
        atomic_store(&s->links[replica][k]->is_suspect, is);
}

static void set_draining(struct site *s, unsigned replica, bool is)
{
    for (unsigned k = 0; k < LINKS; k++)
        atomic_store(&s->links[replica][k]->is_draining, is);
}

static bool is_about(int got, int want, int off)
{
    return got >= want - off && got <= want + off;
}

/* ---- policies ---- */

TEST(round_robin_goes_round_however_busy_the_replicas_are)
{
    struct site s;
    site_open(&s, NULL);
    say(&s, "{\"policy\":\"round-robin\"}");
    atomic_store(&s.links[2][0]->in_flight, 1000);
    atomic_store(&s.links[2][1]->in_flight, 1000);
    for (int i = 0; i < 12; i++)
        CHECK(choose(&s) == i % REPLICAS);
    set_draining(&s, 1, true);
    int counts[REPLICAS];
    count(&s, 30, counts);
    CHECK(counts[0] == 10 && counts[1] == 0 && counts[2] == 10 && counts[3] == 10);
    site_close(&s);
}

TEST(round_robin_goes_on_in_another_worker_s_table)
{
    struct site s, other;
    site_open(&s, NULL);
    site_open(&other, NULL);
    say(&s, "{\"policy\":\"round-robin\"}");
    other.ask.rule = balance_rule_ref(s.rule);
    for (int i = 0; i < 12; i++)
        CHECK(choose(i % 3 == 0 ? &s : &other) == i % REPLICAS);
    site_close(&other);
    site_close(&s);
}

TEST(random_gives_each_replica_its_share_of_many)
{
    struct site s;
    int counts[REPLICAS];
    site_open(&s, NULL);
    say(&s, "{\"policy\":\"random\"}");
    atomic_store(&s.links[2][0]->in_flight, 1000);
    count(&s, 8000, counts);
    for (int i = 0; i < REPLICAS; i++)
        CHECK(is_about(counts[i], 2000, 200)); /* more than five deviations */
    site_close(&s);
}

TEST(the_preset_takes_the_least_busy_whoever_it_is)
{
    struct site s;
    site_open(&s, NULL);
    for (unsigned i = 0; i < REPLICAS; i++)
        for (unsigned k = 0; k < LINKS; k++)
            atomic_store(&s.links[i][k]->in_flight, i == 3 ? 1 : 50);
    for (int i = 0; i < 20; i++)
        CHECK(choose(&s) == 3);
    say(&s, "{\"affinity\":\"cookie\"}");
    for (int i = 0; i < 20; i++)
        CHECK(choose(&s) == 3);
    site_close(&s);
}

TEST(within_a_replica_the_link_of_our_worker_is_taken)
{
    static const char *const POLICIES[] = { "round-robin", "random", "hash" };
    for (size_t i = 0; i < 3; i++) {
        struct site s;
        char text[64];
        site_open(&s, NULL);
        (void)snprintf(text, sizeof text, "{\"policy\":\"%s\"}", POLICIES[i]);
        say(&s, text);
        for (int n = 0; n < 40; n++)
            CHECK(pick(&s, NULL)->worker == 0);
        site_close(&s);
    }
}

/* ---- weights ---- */

static const char *const CANARY[] = { "stable", "canary", "stable", "stable" };

TEST(weights_decide_about_shares_whatever_the_policy_is)
{
    static const char *const POLICIES[] = { "least-requests", "round-robin", "random" };
    for (size_t i = 0; i < 3; i++) {
        struct site s;
        char text[128];
        int counts[REPLICAS];
        site_open(&s, CANARY);
        (void)snprintf(text, sizeof text,
                       "{\"policy\":\"%s\",\"weights\":{\"canary\":10,\"stable\":90}}",
                       POLICIES[i]);
        say(&s, text);
        count(&s, 9000, counts);
        CHECK(is_about(counts[1], 900, 150)); /* one in ten, though it is one of four */
        for (int k = 0; k < REPLICAS; k++)
            CHECK(k == 1 || is_about(counts[k], 2700, 300));
        site_close(&s);
    }
}

TEST(round_robin_with_weights_is_even_over_every_stretch)
{
    static const char *const AB[] = { "a", "b", "b", "b" };
    struct site s;
    int counts[REPLICAS];
    site_open(&s, AB);
    say(&s, "{\"policy\":\"round-robin\",\"weights\":{\"a\":10,\"b\":30}}");
    for (int i = 0; i < 50; i++) {
        count(&s, 8, counts);
        CHECK(is_about(counts[0], 2, 1)); /* not ten in a row and then thirty others */
    }
    say(&s, "{\"policy\":\"round-robin\",\"weights\":{\"a\":1,\"b\":1,\"*\":0}}");
    for (int i = 0; i < 60; i++) /* equal weights: exactly */
        CHECK(choose(&s) == (i % 2 == 0 ? 0 : 1 + i / 2 % 3));
    site_close(&s);
}

TEST(a_weight_may_name_a_connector_by_its_id)
{
    struct site s;
    int counts[REPLICAS];
    char text[UUID_TEXT_BYTES], body[160];
    site_open(&s, CANARY);
    (void)snprintf(body, sizeof body, "{\"weights\":{\"stable\":0,\"*\":0,\"%s\":1}}",
                   uuid_text(&s.links[2][0]->connector, text));
    say(&s, body);
    count(&s, 20, counts);
    CHECK(counts[2] == 20); /* though its label has weight 0 */
    site_close(&s);
}

TEST(what_has_weight_0_is_for_need_only)
{
    struct site s;
    int counts[REPLICAS];
    site_open(&s, CANARY);
    say(&s, "{\"policy\":\"random\",\"weights\":{\"canary\":0,\"stable\":100}}");
    count(&s, 300, counts);
    CHECK(counts[1] == 0);
    for (unsigned i = 0; i < REPLICAS; i++)
        set_draining(&s, i, i != 1);
    CHECK(choose(&s) == 1);
    set_draining(&s, 1, true);
    CHECK(choose(&s) == -1);
    for (unsigned i = 0; i < REPLICAS; i++)
        set_draining(&s, i, false);
    say(&s, "{\"policy\":\"round-robin\",\"weights\":{\"canary\":0,\"stable\":0}}");
    count(&s, 120, counts); /* all are for need: they share alike */
    CHECK(counts[1] == 60 && counts[0] == 20 && counts[2] == 20 && counts[3] == 20);
    site_close(&s);
}

/* ---- the hash ---- */

#define VISITORS 2000

static void who_gets_whom(struct site *s, int ret[static VISITORS])
{
    for (uint64_t i = 0; i < VISITORS; i++) {
        s->ask.visitor = i * 0x9e3779b97f4a7c15 + 77;
        ret[i] = choose(s);
    }
}

TEST(a_replica_that_is_lost_moves_its_own_visitors_only_and_gets_them_back)
{
    static const char *const RULES[] = {
        "{\"policy\":\"hash\"}",
        "{\"affinity\":\"address\"}",
        "{\"policy\":\"hash\",\"weights\":{\"canary\":20,\"stable\":80}}",
        "{\"policy\":\"round-robin\",\"affinity\":\"address\",\"weights\":{\"canary\":1,\"stable\":"
        "1}}",
    };
    static int before[VISITORS], without[VISITORS], after[VISITORS];
    for (size_t rule = 0; rule < 4; rule++)
        for (unsigned lost = 0; lost < REPLICAS; lost++) {
            struct site s;
            int moved = 0, elsewhere = 0;
            site_open(&s, rule >= 2 ? CANARY : NULL);
            say(&s, RULES[rule]);
            who_gets_whom(&s, before);
            if (lost % 2 == 0)
                set_draining(&s, lost, true);
            else
                set_suspect(&s, lost, true);
            who_gets_whom(&s, without);
            set_draining(&s, lost, false);
            set_suspect(&s, lost, false);
            who_gets_whom(&s, after);
            for (int i = 0; i < VISITORS; i++) {
                CHECK(without[i] != (int)lost && after[i] == before[i]);
                moved += before[i] == (int)lost;
                elsewhere += before[i] != (int)lost && without[i] != before[i];
            }
            CHECK(moved > 100 && elsewhere == 0);
            site_close(&s);
        }
}

TEST(the_order_in_which_weights_are_said_moves_no_visitor)
{
    static int one[VISITORS], other[VISITORS];
    struct site s;
    site_open(&s, CANARY);
    say(&s, "{\"policy\":\"hash\",\"weights\":{\"canary\":50,\"stable\":50}}");
    who_gets_whom(&s, one);
    say(&s, "{\"policy\":\"hash\",\"weights\":{\"x\":1,\"stable\":50,\"canary\":50}}");
    who_gets_whom(&s, other);
    CHECK(memcmp(one, other, sizeof one) == 0);
    site_close(&s);
}

TEST(a_replica_stays_itself_when_its_first_link_goes)
{
    static int before[VISITORS], after[VISITORS];
    struct site s;
    site_open(&s, CANARY);
    say(&s, "{\"policy\":\"hash\",\"weights\":{\"canary\":50,\"stable\":50}}");
    who_gets_whom(&s, before);
    for (unsigned i = 0; i < REPLICAS; i++)
        link_table_remove(s.t, s.links[i][0]->id, s.now);
    who_gets_whom(&s, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    put_link(&s, 1, 0, "canary");
    link_table_remove(s.t, s.links[1][1]->id, s.now);
    who_gets_whom(&s, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    site_close(&s);
}

TEST(the_hash_gives_each_replica_its_share_of_the_visitors)
{
    static int got[VISITORS];
    struct site s;
    int counts[REPLICAS] = { 0 };
    site_open(&s, NULL);
    say(&s, "{\"policy\":\"hash\"}");
    who_gets_whom(&s, got);
    for (int i = 0; i < VISITORS; i++)
        counts[got[i]]++;
    for (int i = 0; i < REPLICAS; i++)
        CHECK(is_about(counts[i], VISITORS / REPLICAS, 100));
    site_close(&s);
    memset(counts, 0, sizeof counts);
    site_open(&s, CANARY);
    say(&s, "{\"policy\":\"hash\",\"weights\":{\"canary\":10,\"stable\":90}}");
    who_gets_whom(&s, got);
    for (int i = 0; i < VISITORS; i++)
        counts[got[i]]++;
    CHECK(is_about(counts[1], VISITORS / 10, 70));
    site_close(&s);
}

TEST(an_address_is_known_by_its_ip_and_an_ipv6_network_is_one_visitor)
{
    static const struct {
        const char *one, *other;
        bool are_same;
    } TABLE[] = { { "192.0.2.1:80", "192.0.2.1:90", true },
                  { "192.0.2.1:80", "192.0.2.2:80", false },
                  { "[::ffff:192.0.2.1]:80", "192.0.2.1:1", true },
                  { "[2001:db8::1]:80", "[2001:db8::2:3]:80", true },
                  { "[2001:db8::1]:80", "[2001:db8:0:1::1]:80", false } };
    struct site s;
    site_open(&s, NULL);
    say(&s, "{\"policy\":\"hash\"}");
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct task task;
        struct addr one, other;
        struct balance_ask a, b;
        CHECK_OK(addr_parse(slice_str(TABLE[i].one), &one));
        CHECK_OK(addr_parse(slice_str(TABLE[i].other), &other));
        task_init(&task, s.loop, do_nothing);
        struct exchange *ex = exchange_new(s.loop, &task);
        CHECK_OK(balance_ask_init(&a, s.rule, SECRET, ex, &one, false));
        CHECK_OK(balance_ask_init(&b, s.rule, SECRET, ex, &other, false));
        CHECK((a.visitor == b.visitor) == TABLE[i].are_same);
        balance_ask_done(&a);
        balance_ask_done(&b);
        exchange_leave(ex, EX_LEFT);
    }
    loop_turn(s.loop, 0);
    site_close(&s);
}

/* ---- health ---- */

TEST(health_goes_before_policy_and_weights)
{
    static const char *const RULES[] = {
        "{\"policy\":\"round-robin\"}",
        "{\"policy\":\"random\",\"weights\":{\"canary\":100,\"stable\":0}}",
        "{\"policy\":\"hash\"}",
        "{\"weights\":{\"canary\":99,\"stable\":1}}",
    };
    for (size_t i = 0; i < 4; i++) {
        struct site s;
        int counts[REPLICAS];
        site_open(&s, CANARY);
        say(&s, RULES[i]);
        set_suspect(&s, 1, true);
        count(&s, 100, counts);
        CHECK(counts[1] == 0);
        set_suspect(&s, 1, false);
        atomic_store(&s.links[1][1]->is_suspect, true); /* one of its links is enough */
        count(&s, 100, counts);
        CHECK(counts[1] == 0);
        for (unsigned k = 0; k < REPLICAS; k++)
            set_suspect(&s, k, k != 1);
        CHECK(choose(&s) == 1 && pick(&s, NULL) == s.links[1][0]);
        for (unsigned k = 0; k < REPLICAS; k++)
            set_suspect(&s, k, true);
        CHECK(choose(&s) >= 0); /* rather than none */
        site_close(&s);
    }
}

TEST(a_replica_that_failed_the_exchange_is_tried_again_only_where_there_is_no_other)
{
    struct site s;
    site_open(&s, NULL);
    say(&s, "{\"policy\":\"hash\"}");
    struct link_tried tried = { 0 };
    bool seen[REPLICAS] = { 0 };
    for (unsigned i = 0; i < LINK_TRIES_MAX; i++) {
        struct link *l = pick(&s, &tried);
        CHECK(l != NULL && !seen[l->connector.bytes[3] - 1]);
        seen[l->connector.bytes[3] - 1] = true;
        tried.ids[tried.count] = l->id;
        tried.connectors[tried.count++] = l->connector;
    }
    for (unsigned i = 1; i < REPLICAS; i++)
        set_draining(&s, i, true);
    struct link *last = pick(&s, &tried);
    CHECK(last != NULL && last->connector.bytes[3] == 1);
    site_close(&s);
}

/* ---- the cookie ---- */

/* A request with these Cookie lines; what is left of them is joined by '|'. */
static void visit(struct site *s, const char *const *lines, size_t n, char *ret_left, size_t size)
{
    struct task task;
    struct addr peer;
    balance_ask_done(&s->ask);
    assert_int_equal(addr_parse(SLICE("192.0.2.1:80"), &peer), 0);
    task_init(&task, s->loop, do_nothing);
    struct exchange *ex = exchange_new(s->loop, &task);
    assert_non_null(ex);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(fields_add(&ex->request.fields, SLICE("Cookie"), slice_str(lines[i])), 0);
    assert_int_equal(fields_add(&ex->request.fields, SLICE("Accept"), SLICE("a=b; adit_replica=c")),
                     0);
    assert_int_equal(balance_ask_init(&s->ask, s->rule, SECRET, ex, &peer, true), 0);
    ret_left[0] = 0;
    for (size_t i = 0; i + 1 < ex->request.fields.count; i++)
        (void)snprintf(ret_left + strlen(ret_left), size - strlen(ret_left), "%.*s|",
                       SLICE_FMT(ex->request.fields.lines[i].value));
    assert_true(slice_starts(ex->request.fields.lines[ex->request.fields.count - 1].value,
                             SLICE("a=b; adit_replica")));
    exchange_leave(ex, EX_LEFT);
    loop_turn(s->loop, 0);
}

/* Chooses for a visitor without a cookie, and gives the pair that it would send from then on. */
static int first_visit(struct site *s, char pair[static 64])
{
    char left[16];
    struct arena arena;
    visit(s, NULL, 0, left, sizeof left);
    struct link *l = pick(s, NULL);
    assert_int_equal(s->ask.result, AFFINITY_NEW);
    arena_init(&arena, 4096);
    const char *text = balance_cookie(&s->ask, l, &arena);
    assert_non_null(text);
    (void)snprintf(pair, 64, "%.*s", (int)strcspn(text, ";"), text);
    arena_done(&arena);
    return l->connector.bytes[3] - 1;
}

static int visit_with(struct site *s, const char *pair)
{
    char left[64];
    visit(s, &pair, 1, left, sizeof left);
    int at = choose(s);
    assert_string_equal(left, ""); /* a Cookie field of ours alone is gone */
    return at;
}

TEST(a_cookie_brings_a_visitor_back_whatever_the_policy_and_the_load_say)
{
    struct site s;
    site_open(&s, NULL);
    say(&s, "{\"policy\":\"round-robin\",\"affinity\":\"cookie\",\"affinity_ttl\":60}");
    for (int i = 0; i < 8; i++) {
        char pair[64];
        int at = first_visit(&s, pair);
        atomic_store(&s.links[at][0]->in_flight, 500);
        atomic_store(&s.links[at][1]->in_flight, 500);
        for (int k = 0; k < 5; k++) {
            CHECK(visit_with(&s, pair) == at && s.ask.result == AFFINITY_FOUND);
            CHECK(balance_cookie(&s.ask, s.links[at][0], NULL) == NULL);
        }
    }
    site_close(&s);
}

TEST(the_cookie_says_nothing_of_a_replica_and_is_as_safe_as_the_visit)
{
    struct site s;
    struct arena arena;
    char left[16];
    site_open(&s, CANARY);
    say(&s, "{\"affinity\":\"cookie\",\"affinity_ttl\":60}");
    arena_init(&arena, 4096);
    visit(&s, NULL, 0, left, sizeof left);
    struct link *l = pick(&s, NULL);
    const char *text = balance_cookie(&s.ask, l, &arena);
    CHECK(strcmp(text + strlen(AFFINITY_COOKIE_NAME) + 1 + 32,
                 "; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure") == 0);
    s.ask.is_https = false;
    CHECK(strstr(balance_cookie(&s.ask, l, &arena), "Secure") == NULL);
    s.ask.secret[0]++;
    CHECK(strncmp(balance_cookie(&s.ask, l, &arena), text, 32) != 0);
    arena_done(&arena);
    site_close(&s);
}

TEST(a_replica_that_is_gone_is_replaced_for_good_by_one_of_its_label)
{
    struct site s;
    char pair[64];
    int at;
    site_open(&s, CANARY);
    say(&s, "{\"affinity\":\"cookie\",\"weights\":{\"canary\":100,\"stable\":100}}");
    do
        at = first_visit(&s, pair);
    while (at == 1);
    for (unsigned k = 0; k < LINKS; k++)
        link_table_remove(s.t, s.links[at][k]->id, s.now);
    for (int i = 0; i < 50; i++) {
        int now = visit_with(&s, pair);
        CHECK(now != at && now != 1 && s.ask.result == AFFINITY_LOST);
    }
    do
        at = first_visit(&s, pair);
    while (at != 1);
    set_draining(&s, 1, true); /* it leaves, and nobody else has its label */
    CHECK(visit_with(&s, pair) != 1 && s.ask.result == AFFINITY_LOST);
    site_close(&s);
}

TEST(a_replica_that_does_not_answer_is_left_for_once)
{
    struct site s;
    char pair[64];
    site_open(&s, NULL);
    say(&s, "{\"affinity\":\"cookie\"}");
    int at = first_visit(&s, pair);
    set_suspect(&s, (unsigned)at, true);
    CHECK(visit_with(&s, pair) != at && s.ask.result == AFFINITY_AWAY);
    CHECK(balance_cookie(&s.ask, s.links[at][0], NULL) == NULL); /* the cookie stays */
    set_suspect(&s, (unsigned)at, false);
    CHECK(visit_with(&s, pair) == at && s.ask.result == AFFINITY_FOUND);
    for (unsigned i = 0; i < REPLICAS; i++)
        set_suspect(&s, i, true);
    CHECK(visit_with(&s, pair) == at); /* none is better */
    site_close(&s);
}

TEST(a_replica_that_is_set_to_weight_0_keeps_the_visitors_that_it_has)
{
    struct site s;
    char pair[64], left[64];
    site_open(&s, CANARY);
    say(&s, "{\"affinity\":\"cookie\",\"weights\":{\"canary\":100,\"stable\":0}}");
    CHECK(first_visit(&s, pair) == 1);
    say(&s, "{\"affinity\":\"cookie\",\"weights\":{\"canary\":0,\"stable\":100}}");
    CHECK(visit_with(&s, pair) == 1);
    visit(&s, NULL, 0, left, sizeof left);
    CHECK(choose(&s) != 1);
    site_close(&s);
}

TEST(the_cookie_is_taken_out_of_the_request_and_others_are_left)
{
    static const struct {
        const char *lines[3];
        const char *left;
        bool has;
    } TABLE[] = {
        { { "a=1; adit_replica=00000000000000010000000000000002; b=2" }, "a=1; b=2|", true },
        { { "adit_replica=00000000000000010000000000000002" }, "", true },
        { { "a=1;b=2;adit_replica=x;c=3;;d=\"4\"" }, "a=1; b=2; c=3; ; d=\"4\"|", false },
        { { "a=1", "adit_replica=1", "b=2" }, "a=1|b=2|", false },
        { { "a=1; Adit_Replica=00000000000000010000000000000002" },
          "a=1; Adit_Replica=00000000000000010000000000000002|",
          false },
        { { "xadit_replica=1;adit_replicas=2", "", "z" },
          "xadit_replica=1;adit_replicas=2||z|",
          false },
        { { "adit_replica=0000000000000001000000000000000z" }, "", false },
        { { "adit_replica=bad; adit_replica=00000000000000010000000000000002" }, "", true },
        { { "adit_replica=00000000000000010000000000000002; "
            "adit_replica=00000000000000030000000000000004",
            "adit_replica=bad" },
          "",
          true },
    };
    struct site s;
    site_open(&s, NULL);
    say(&s, "{\"affinity\":\"cookie\"}");
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        char left[200];
        size_t n = 0;
        while (n < 3 && TABLE[i].lines[n] != NULL)
            n++;
        visit(&s, TABLE[i].lines, n, left, sizeof left);
        assert_string_equal(left, TABLE[i].left);
        CHECK(s.ask.has_cookie == TABLE[i].has);
        CHECK(!TABLE[i].has || (s.ask.connector_tag == 1 && s.ask.label_tag == 2));
        CHECK(choose(&s) >= 0 && s.ask.result == (TABLE[i].has ? AFFINITY_LOST : AFFINITY_NEW));
    }
    say(&s, "{\"policy\":\"random\"}"); /* without affinity it is a cookie as any */
    char left[200];
    const char *line = "adit_replica=1";
    visit(&s, &line, 1, left, sizeof left);
    assert_string_equal(left, "adit_replica=1|");
    site_close(&s);
}

TESTS(RUN(round_robin_goes_round_however_busy_the_replicas_are),
      RUN(round_robin_goes_on_in_another_worker_s_table),
      RUN(random_gives_each_replica_its_share_of_many),
      RUN(the_preset_takes_the_least_busy_whoever_it_is),
      RUN(within_a_replica_the_link_of_our_worker_is_taken),
      RUN(weights_decide_about_shares_whatever_the_policy_is),
      RUN(round_robin_with_weights_is_even_over_every_stretch),
      RUN(a_weight_may_name_a_connector_by_its_id), RUN(what_has_weight_0_is_for_need_only),
      RUN(a_replica_that_is_lost_moves_its_own_visitors_only_and_gets_them_back),
      RUN(the_order_in_which_weights_are_said_moves_no_visitor),
      RUN(a_replica_stays_itself_when_its_first_link_goes),
      RUN(the_hash_gives_each_replica_its_share_of_the_visitors),
      RUN(an_address_is_known_by_its_ip_and_an_ipv6_network_is_one_visitor),
      RUN(health_goes_before_policy_and_weights),
      RUN(a_replica_that_failed_the_exchange_is_tried_again_only_where_there_is_no_other),
      RUN(a_cookie_brings_a_visitor_back_whatever_the_policy_and_the_load_say),
      RUN(the_cookie_says_nothing_of_a_replica_and_is_as_safe_as_the_visit),
      RUN(a_replica_that_is_gone_is_replaced_for_good_by_one_of_its_label),
      RUN(a_replica_that_does_not_answer_is_left_for_once),
      RUN(a_replica_that_is_set_to_weight_0_keeps_the_visitors_that_it_has),
      RUN(the_cookie_is_taken_out_of_the_request_and_others_are_left))
