/* Two endpoints on one socket, as of two processes of which the second has taken over from the
 * first. */
#include <fcntl.h>
#include <unistd.h>

#include "base/err.h"
#include "mux/world.h"
#include "net/udp_relay.h"

struct succession {
    struct world w; /* its endpoint is the first */
    struct quic_endpoint *second;
    struct quic_conn *client, *server; /* of the second */
    int relay;
    _Atomic bool is_gone;
};

static void succeed(struct succession *s, const struct wish *wish, uint8_t generation)
{
    struct world *w = &s->w;
    struct quic_listen_opts opts = { .workers = 1,
                                     .fd = fcntl(quic_endpoint_fd(w->endpoint), F_DUPFD_CLOEXEC, 0),
                                     .is_paused = true,
                                     .generation = generation,
                                     .predecessor = &s->relay,
                                     .predecessor_workers = 1,
                                     .is_predecessor_gone = &s->is_gone };
    struct addr at;
    int in;
    opts.conf.creds = w->server_creds;
    opts.conf.alpn = "argotunnel";
    opts.conf.datagrams = true;
    memset(opts.secret, wish->secret, sizeof opts.secret);
    assert_int_equal(quic_listen(w->loop, &w->addr, &opts, &w->task, &s->second, &at), 0);
    assert_int_equal(udp_relay_open(&in, &s->relay), 0);
    assert_int_equal(quic_endpoint_hand_over(w->endpoint, in), 0);
    quic_endpoint_begin(s->second);
}

static void succession_close(struct succession *s)
{
    quic_conn_release(s->client);
    quic_conn_release(s->server);
    quic_endpoint_free(s->second);
    world_close(&s->w);
    if (s->relay >= 0)
        (void)close(s->relay);
}

/* A stream of the client's, with one word in it, as the server sees it. */
static bool has_word(struct succession *s, struct stream **ret)
{
    struct stream *theirs;
    if (*ret == NULL && quic_conn_accept(s->w.server, &s->w.task, &theirs) == 0)
        *ret = theirs;
    return *ret != NULL;
}

static void say_word(struct succession *s, void **state_)
{
    struct stream *ours, *theirs = NULL;
    struct buf words;
    buf_init(&words, loop_chunks(s->w.loop), 100);
    assert_int_equal(quic_conn_open(s->w.client, &s->w.task, &ours), 0);
    assert_int_equal(buf_put(&words, SLICE("word")), 0);
    assert_int_equal(stream_write(ours, &words), 0);
    UNTIL(&s->w, has_word(s, &theirs));
    UNTIL(&s->w, stream_read(theirs, &words, 100) == 0 || !buf_is_empty(&words));
    assert_int_equal(buf_len(&words), 4);
    buf_done(&words);
    stream_release(ours);
    stream_release(theirs);
}

TEST(a_connection_goes_on_at_the_first_and_a_new_one_is_the_seconds)
{
    struct succession s = { .relay = -1 };
    struct wish wish = { 0 };
    world_open(&s.w, "a.example", "a.example");
    world_connect(&s.w, state_);
    succeed(&s, &wish, 1);
    for (int i = 0; i < 5; i++)
        say_word(&s, state_);
    assert_int_equal(world_dial(&s.w, &wish, "a.example", &s.client), 0);
    UNTIL(&s.w, quic_conn_state(s.client) == QUIC_OPEN);
    UNTIL(&s.w, (s.server = quic_accept(s.second, &s.w.task)) != NULL);
    assert_null(quic_accept(s.w.endpoint, &s.w.task));
    say_word(&s, state_);
    succession_close(&s);
}

TEST(what_belongs_to_no_process_that_is_there_is_told_so)
{
    static const uint8_t GENERATIONS[] = { 1, 2, 200 };
    for (size_t i = 0; i < sizeof GENERATIONS; i++) {
        struct succession s = { .relay = -1 };
        struct wish wish = { 0 };
        struct quic_why why;
        world_open(&s.w, "a.example", "a.example");
        world_connect(&s.w, state_);
        succeed(&s, &wish, GENERATIONS[i]);
        s.is_gone = GENERATIONS[i] == 1;
        quic_conn_ping(s.w.client);
        UNTIL(&s.w, quic_conn_state(s.w.client) == QUIC_CLOSED);
        quic_conn_why(s.w.client, &why);
        assert_int_equal(why.err, ERR_RESET);
        succession_close(&s);
    }
}

TEST(a_first_that_outlives_the_second_reads_again)
{
    struct succession s = { .relay = -1 };
    struct wish wish = { 0 };
    world_open(&s.w, "a.example", "a.example");
    world_connect(&s.w, state_);
    succeed(&s, &wish, 1);
    say_word(&s, state_);
    quic_endpoint_free(s.second);
    s.second = NULL;
    (void)close(s.relay);
    s.relay = -1;
    say_word(&s, state_);
    succession_close(&s);
}

TESTS(RUN(a_connection_goes_on_at_the_first_and_a_new_one_is_the_seconds),
      RUN(what_belongs_to_no_process_that_is_there_is_told_so),
      RUN(a_first_that_outlives_the_second_reads_again))
