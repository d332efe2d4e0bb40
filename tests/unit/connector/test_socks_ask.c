/* The client's side of SOCKS5 step by step: what it says to the proxy, and what it makes of the
 * answers, whole, in pieces and broken. */
#include "base/text.h"
#include "connector/socks_ask.h"
#include "net/pipe.h"
#include "net/turn.h"
#include "test.h"

#define WINDOW 4096

struct talk {
    struct loop *loop;
    struct task task;
    struct stream *ours, *theirs;
    struct buf in, heard;
    struct origin_proxy proxy;
    struct socks_ask ask;
};

static void talk_open(struct talk *k, const char *host, uint16_t port, const char *user,
                      const char *password)
{
    *k = (struct talk){ .proxy = { .scheme = PROXY_SOCKS5,
                                   .user = slice_str(user),
                                   .password = slice_str(password) } };
    assert_int_equal(loop_new(&k->loop), 0);
    task_init(&k->task, k->loop, do_nothing);
    assert_int_equal(pipe_new(k->loop, WINDOW, &k->ours, &k->theirs), 0);
    k->ours->owner = k->theirs->owner = &k->task;
    buf_init(&k->in, loop_chunks(k->loop), SOCKS_ANSWER_BYTES_MAX);
    buf_init(&k->heard, loop_chunks(k->loop), WINDOW);
    assert_int_equal(
        socks_ask_begin(&k->ask, k->ours, loop_chunks(k->loop), &k->proxy, slice_str(host), port),
        0);
}

static void talk_close(struct talk *k)
{
    stream_release(k->ours);
    stream_release(k->theirs);
    buf_done(&k->in);
    buf_done(&k->heard);
    task_done(&k->task);
    loop_turn(k->loop, 0);
    loop_free(k->loop);
}

/* Whether the proxy has heard just this since the last look. */
static bool heard(struct talk *k, const char *hex)
{
    uint8_t bytes[WINDOW];
    char text[2 * WINDOW + 1];
    while (stream_read(k->theirs, &k->heard, WINDOW) == 0)
        continue;
    size_t n = buf_copy(&k->heard, 0, bytes, sizeof bytes);
    buf_drop(&k->heard, n);
    (void)hex_encode(slice_of(bytes, n), text);
    return strcmp(text, hex) == 0;
}

static void answer(struct talk *k, const char *hex)
{
    uint8_t bytes[600];
    struct buf b;
    assert_int_equal(hex_decode(slice_str(hex), bytes), 0);
    buf_init(&b, loop_chunks(k->loop), sizeof bytes);
    assert_int_equal(buf_put(&b, slice_of(bytes, strlen(hex) / 2)), 0);
    assert_int_equal(stream_write(k->theirs, &b), 0);
    buf_done(&b);
}

static int step(struct talk *k)
{
    return socks_ask_run(&k->ask, k->ours, loop_chunks(k->loop), &k->in);
}

TEST(without_a_password_the_way_to_an_ipv4_address_is_asked_for_at_once)
{
    struct talk k;
    talk_open(&k, "192.0.2.1", 7844, "", "");
    CHECK(heard(&k, "050100"));
    CHECK_ERR(ERR_AGAIN, step(&k));
    answer(&k, "0500");
    CHECK_ERR(ERR_AGAIN, step(&k));
    CHECK(heard(&k, "05010001c00002011ea4"));
    answer(&k, "05000001000000000000");
    CHECK_OK(step(&k));
    talk_close(&k);
}

TEST(an_ipv6_address_is_asked_for_as_one)
{
    struct talk k;
    talk_open(&k, "2001:db8::7", 443, "", "");
    CHECK(heard(&k, "050100"));
    answer(&k, "0500");
    CHECK_ERR(ERR_AGAIN, step(&k));
    CHECK(heard(&k, "0501000420010db800000000000000000000000701bb"));
    answer(&k, "05000004"
               "00000000000000000000000000000000"
               "0000");
    CHECK_OK(step(&k));
    talk_close(&k);
}

TEST(a_password_is_offered_and_said_only_when_it_is_wanted)
{
    struct talk k;
    talk_open(&k, "192.0.2.1", 1, "me", "pass");
    CHECK(heard(&k, "05020002"));
    answer(&k, "0502");
    CHECK_ERR(ERR_AGAIN, step(&k));
    CHECK(heard(&k, "01026d650470617373"));
    answer(&k, "0100");
    CHECK_ERR(ERR_AGAIN, step(&k));
    CHECK(heard(&k, "05010001c00002010001"));
    talk_close(&k);
    talk_open(&k, "192.0.2.1", 1, "me", "pass");
    CHECK(heard(&k, "05020002"));
    answer(&k, "0500");
    CHECK_ERR(ERR_AGAIN, step(&k));
    CHECK(heard(&k, "05010001c00002010001")); /* the password stayed here */
    talk_close(&k);
}

TEST(the_longest_name_and_password_fit_and_longer_ones_are_not_cut)
{
    struct talk k;
    static char longest[256], longer[257];
    memset(longest, 'u', 255);
    memset(longer, 'u', 256);
    talk_open(&k, "192.0.2.1", 1, longest, longest);
    answer(&k, "0502");
    CHECK_ERR(ERR_AGAIN, step(&k));
    while (stream_read(k.theirs, &k.heard, WINDOW) == 0)
        continue;
    CHECK(buf_len(&k.heard) == 4 + 3 + 255 + 255);
    talk_close(&k);
    talk_open(&k, "192.0.2.1", 1, longer, "x");
    CHECK(heard(&k, "050100"));
    answer(&k, "0502");
    CHECK_ERR(ERR_DENIED, step(&k));
    CHECK(k.ask.text != NULL);
    talk_close(&k);
}

TEST(an_answer_byte_by_byte_is_the_same)
{
    static const char *const BYTES[] = { "05", "02", "01", "00", "05", "00", "00",
                                         "03", "02", "61", "62", "00", "50" };
    struct talk k;
    talk_open(&k, "192.0.2.1", 1, "me", "pass");
    for (size_t i = 0; i < sizeof BYTES / sizeof BYTES[0]; i++) {
        CHECK_ERR(ERR_AGAIN, step(&k));
        answer(&k, BYTES[i]);
    }
    CHECK_OK(step(&k));
    talk_close(&k);
}

TEST(what_a_proxy_refuses_has_its_words)
{
    static const struct {
        const char *user, *first, *second, *text;
    } REFUSALS[] = {
        { "", "05ff", NULL, "credentials" },
        { "", "0502", NULL, "wants what we have not" },
        { "me", "0501", NULL, "wants what we have not" },
        { "me", "0502", "0101", "refuses the name or the password" },
        { "", "0500", "0501000100", "it failed" },
        { "", "0500", "0502000100", "rules do not allow" },
        { "", "0500", "0503000100", "cannot reach the network" },
        { "", "0500", "0504000100", "cannot reach the address" },
        { "", "0500", "0505000100", "refused its connection" },
        { "", "0500", "0506000100", "too long" },
        { "", "0500", "0507000100", "the command" },
        { "", "0500", "0508000100", "kind of address" },
        { "", "0500", "0509000100", "it says no" },
        { "", "0500", "05ff000100", "it says no" },
    };
    for (size_t i = 0; i < sizeof REFUSALS / sizeof REFUSALS[0]; i++) {
        struct talk k;
        talk_open(&k, "192.0.2.1", 1, REFUSALS[i].user, "pass");
        answer(&k, REFUSALS[i].first);
        if (REFUSALS[i].second != NULL) {
            CHECK_ERR(ERR_AGAIN, step(&k));
            answer(&k, REFUSALS[i].second);
        }
        CHECK_ERR(ERR_DENIED, step(&k));
        if (k.ask.text == NULL || strstr(k.ask.text, REFUSALS[i].text) == NULL)
            fail_msg("%s %s: %s", REFUSALS[i].first, REFUSALS[i].second, k.ask.text);
        talk_close(&k);
    }
}

TEST(what_is_not_socks_is_a_breach)
{
    static const char *const BROKEN[][2] = {
        { "0400", NULL },
        { "4854", NULL },
        { "0500", "0400000100000000" },
        { "0500", "0500000200" },
        { "0500", "050000010000000000000016" }, /* something follows */
    };
    for (size_t i = 0; i < sizeof BROKEN / sizeof BROKEN[0]; i++) {
        struct talk k;
        talk_open(&k, "192.0.2.1", 1, "", "");
        answer(&k, BROKEN[i][0]);
        if (BROKEN[i][1] != NULL) {
            CHECK_ERR(ERR_AGAIN, step(&k));
            answer(&k, BROKEN[i][1]);
        }
        CHECK_ERR(ERR_PROTO, step(&k));
        talk_close(&k);
    }
}

TEST(a_proxy_that_hangs_up_cuts_the_way_off)
{
    struct talk k;
    talk_open(&k, "192.0.2.1", 1, "", "");
    answer(&k, "0500");
    CHECK_ERR(ERR_AGAIN, step(&k));
    stream_finish(k.theirs);
    CHECK_ERR(ERR_CUT, step(&k));
    talk_close(&k);
    talk_open(&k, "192.0.2.1", 1, "", "");
    stream_abort(k.theirs, ERR_RESET);
    int r = step(&k);
    CHECK(r < 0 && r != ERR_AGAIN && r != ERR_EOF);
    talk_close(&k);
}

TESTS(RUN(without_a_password_the_way_to_an_ipv4_address_is_asked_for_at_once),
      RUN(an_ipv6_address_is_asked_for_as_one),
      RUN(a_password_is_offered_and_said_only_when_it_is_wanted),
      RUN(the_longest_name_and_password_fit_and_longer_ones_are_not_cut),
      RUN(an_answer_byte_by_byte_is_the_same), RUN(what_a_proxy_refuses_has_its_words),
      RUN(what_is_not_socks_is_a_breach), RUN(a_proxy_that_hangs_up_cuts_the_way_off))
