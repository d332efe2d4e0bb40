/* The dialogue step by step: what it says, what it lets through, and what it leaves of the bytes
 * that follow. */
#include "base/text.h"
#include "connector/socks_talk.h"
#include "net/turn.h"
#include "test.h"

struct talk {
    struct loop *loop;
    struct task task;
    struct arena arena;
    struct buf in;
    struct socks_talk t;
    struct socks_reply reply;
};

static void talk_open(struct talk *k, const char *yaml)
{
    struct yaml_node *rules = NULL;
    assert_int_equal(loop_new(&k->loop), 0);
    task_init(&k->task, k->loop, do_nothing);
    arena_init(&k->arena, 65536);
    buf_init(&k->in, loop_chunks(k->loop), 4096);
    if (yaml != NULL)
        assert_int_equal(yaml_parse(slice_str(yaml), "rules", &k->arena, &rules, NULL), 0);
    socks_talk_init(&k->t, yaml != NULL, rules, 0);
}

static void talk_close(struct talk *k)
{
    socks_talk_done(&k->t);
    buf_done(&k->in);
    arena_done(&k->arena);
    task_done(&k->task);
    loop_turn(k->loop, 0);
    loop_free(k->loop);
}

static void hear(struct talk *k, const char *hex)
{
    uint8_t bytes[300];
    assert_int_equal(hex_decode(slice_str(hex), bytes), 0);
    assert_int_equal(buf_put(&k->in, slice_of(bytes, strlen(hex) / 2)), 0);
}

static enum socks_news step(struct talk *k)
{
    return socks_talk_run(&k->t, k->loop, &k->task, &k->in, &k->reply);
}

static bool says(struct talk *k, const char *hex)
{
    char text[2 * SOCKS_REQUEST_BYTES_MAX + 1];
    (void)hex_encode(slice_of(k->reply.bytes, k->reply.n), text);
    return strcmp(text, hex) == 0;
}

/* A whole dialogue up to its verdict. */
static void check_refused(const char *yaml, const char *request, const char *reply)
{
    struct talk k;
    enum socks_news news;
    void **state_ = NULL;
    talk_open(&k, yaml);
    hear(&k, "050100");
    hear(&k, request);
    CHECK(step(&k) == SOCKS_SAYS && says(&k, "0500"));
    UNTIL(k.loop, (news = step(&k)) != SOCKS_WAITS);
    CHECK(news == SOCKS_SAYS && says(&k, reply));
    CHECK(step(&k) == SOCKS_ENDS);
    talk_close(&k);
}

TEST(what_the_rules_do_not_allow_is_refused_with_its_destination)
{
    (void)state_;
    check_refused("[]", "050100017f0000010050", "050200017f0000010050");
    check_refused("[]", "05010004000000000000000000000000000000010050",
                  "05020004000000000000000000000000000000010050");
    check_refused("[]", "05010003093132372e302e302e310050", "05020003093132372e302e302e310050");
    check_refused("[{prefix: 127.0.0.0/8, allow: true}]",
                  "050100030100"
                  "0050",
                  "050200030100"
                  "0050");
}

TEST(other_commands_and_addresses_have_their_codes)
{
    (void)state_;
    check_refused("[{prefix: 0.0.0.0/0, allow: true}]", "050300017f0000010050",
                  "05070001000000000000");
    check_refused("[]", "05010002", "05080001000000000000");
}

TEST(a_name_is_looked_up_and_its_address_is_what_is_judged_and_dialled)
{
    struct talk k;
    enum socks_news news;
    char text[ADDR_TEXT_BYTES];
    talk_open(&k, "[{prefix: 127.0.0.1/32, ports: [80], allow: true}]");
    hear(&k, "050100"
             "05010003096c6f63616c686f73740050"
             "6869");
    CHECK(step(&k) == SOCKS_SAYS);
    UNTIL(k.loop, (news = step(&k)) != SOCKS_WAITS);
    CHECK(news == SOCKS_DIALS);
    CHECK_SLICE(slice_str(addr_text(&k.t.addr, text)), SLICE("127.0.0.1:80"));
    CHECK(step(&k) == SOCKS_WAITS); /* the dial is under way */
    socks_talk_dialled(&k.t, 0, &k.t.addr, &k.reply);
    CHECK(says(&k, "050000017f0000010050"));
    CHECK(step(&k) == SOCKS_BEGINS && buf_len(&k.in) == 2);
    talk_close(&k);
}

TEST(ipv4_stands_for_a_name_that_has_both)
{
    struct addr found[3];
    CHECK_OK(addr_parse(SLICE("[::1]:1"), &found[0]));
    CHECK_OK(addr_parse(SLICE("127.0.0.1:1"), &found[1]));
    CHECK_OK(addr_parse(SLICE("127.0.0.2:1"), &found[2]));
    CHECK(socks_address_of(found, 3) == &found[1]);
    CHECK(socks_address_of(found, 1) == &found[0]);
}

static void check_dial(int err, const char *reply)
{
    struct talk k;
    void **state_ = NULL;
    talk_open(&k, NULL);
    hear(&k, "050100"
             "050100017f0000010050");
    CHECK(step(&k) == SOCKS_SAYS && step(&k) == SOCKS_DIALS);
    socks_talk_dialled(&k.t, err, NULL, &k.reply);
    CHECK(says(&k, reply) && step(&k) == SOCKS_ENDS);
    talk_close(&k);
}

TEST(a_dial_that_failed_has_its_code)
{
    (void)state_;
    check_dial(ERR_REFUSED, "05050001000000000000");
    check_dial(ERR_UNREACH, "05030001000000000000");
    check_dial(ERR_TIMEOUT, "05040001000000000000");
}

TEST(a_name_that_is_not_found_in_time_is_refused)
{
    struct talk k;
    enum socks_news news;
    talk_open(&k, "[{prefix: 127.0.0.1/32, ports: [80], allow: true}]");
    k.t.look_up = 1;
    hear(&k, "050100"
             "05010003096c6f63616c686f73740050");
    CHECK(step(&k) == SOCKS_SAYS);
    UNTIL(k.loop, (news = step(&k)) != SOCKS_WAITS);
    CHECK(news == SOCKS_SAYS && k.reply.n > 1 && k.reply.bytes[1] == SOCKS_NOT_ALLOWED);
    CHECK(step(&k) == SOCKS_ENDS && !deadline_is_set(&k.t.late));
    talk_close(&k);
}

TEST(another_version_ends_without_a_word)
{
    struct talk k;
    talk_open(&k, NULL);
    hear(&k, "04");
    CHECK(step(&k) == SOCKS_ENDS && k.reply.n == 0 && step(&k) == SOCKS_ENDS);
    talk_close(&k);
}

TEST(a_login_that_is_demanded_is_refused)
{
    struct talk k;
    talk_open(&k, NULL);
    hear(&k, "050102");
    CHECK(step(&k) == SOCKS_SAYS && says(&k, "05ff") && step(&k) == SOCKS_ENDS);
    talk_close(&k);
}

TESTS(RUN(what_the_rules_do_not_allow_is_refused_with_its_destination),
      RUN(other_commands_and_addresses_have_their_codes),
      RUN(a_name_is_looked_up_and_its_address_is_what_is_judged_and_dialled),
      RUN(ipv4_stands_for_a_name_that_has_both), RUN(a_dial_that_failed_has_its_code),
      RUN(a_name_that_is_not_found_in_time_is_refused), RUN(another_version_ends_without_a_word),
      RUN(a_login_that_is_demanded_is_refused))
