#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#include "mux/quic.h"
#include "test.h"

/* A server and a client on one loop, over loopback UDP. */
struct world {
    struct loop *loop;
    struct task task;
    struct quic_endpoint *endpoint;
    struct addr addr;
    struct quic_creds *server_creds, *client_creds;
    struct quic_conn *client, *server;
};

static void nothing(struct task *t)
{
    (void)t;
}

static size_t make_pair(const char *name, char *cert, size_t cert_max, char *key, size_t key_max,
                        size_t *ret_key)
{
    gnutls_x509_privkey_t k;
    gnutls_x509_crt_t c;
    size_t n = cert_max;
    *ret_key = key_max;
    gnutls_x509_privkey_init(&k);
    gnutls_x509_privkey_generate(k, GNUTLS_PK_ECDSA,
                                 GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0);
    gnutls_x509_crt_init(&c);
    gnutls_x509_crt_set_version(c, 3);
    gnutls_x509_crt_set_serial(c, "\x01", 1);
    gnutls_x509_crt_set_activation_time(c, time(NULL) - 3600);
    gnutls_x509_crt_set_expiration_time(c, time(NULL) + 3600);
    gnutls_x509_crt_set_dn_by_oid(c, GNUTLS_OID_X520_COMMON_NAME, 0, "test", 4);
    gnutls_x509_crt_set_basic_constraints(c, 1, -1);
    gnutls_x509_crt_set_subject_alt_name(c, GNUTLS_SAN_DNSNAME, name, (unsigned)strlen(name),
                                         GNUTLS_FSAN_SET);
    gnutls_x509_crt_set_key(c, k);
    gnutls_x509_crt_sign2(c, c, k, GNUTLS_DIG_SHA256, 0);
    gnutls_x509_crt_export(c, GNUTLS_X509_FMT_PEM, cert, &n);
    gnutls_x509_privkey_export(k, GNUTLS_X509_FMT_PEM, key, ret_key);
    gnutls_x509_crt_deinit(c);
    gnutls_x509_privkey_deinit(k);
    return n;
}

static void world_open(struct world *w, const char *name, const char *dial_name)
{
    char cert[4096], key[4096];
    size_t key_n, cert_n = make_pair(name, cert, sizeof cert, key, sizeof key, &key_n);
    struct addr any;
    memset(w, 0, sizeof *w);
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->task, w->loop, nothing);
    assert_int_equal(
        quic_creds_server(slice_of(cert, cert_n), slice_of(key, key_n), &w->server_creds, NULL), 0);
    assert_int_equal(quic_creds_client(slice_of(cert, cert_n), &w->client_creds, NULL), 0);
    assert_int_equal(addr_parse(SLICE("127.0.0.1:0"), &any), 0);
    struct quic_listen_opts opts = {
        .conf = { .creds = w->server_creds, .alpn = "argotunnel", .datagrams = true },
        .workers = 1,
        .fd = -1
    };
    assert_int_equal(quic_listen(w->loop, &any, &opts, &w->task, &w->endpoint, &w->addr), 0);
    struct quic_conf conf = { .creds = w->client_creds, .alpn = "argotunnel", .datagrams = true };
    assert_int_equal(quic_dial(w->loop, &conf, &w->addr, NULL, dial_name, &w->task, &w->client), 0);
}

static void world_close(struct world *w)
{
    quic_conn_release(w->client);
    quic_conn_release(w->server);
    quic_endpoint_free(w->endpoint);
    quic_creds_unref(w->server_creds);
    quic_creds_unref(w->client_creds);
    loop_turn(w->loop, 0);
    loop_free(w->loop);
}

/* Turns the loop until the condition holds; gives up after a generous number of turns. */
#define UNTIL(w, condition)                                                                        \
    do {                                                                                           \
        bool held_ = false;                                                                        \
        for (int turn_ = 0; turn_ < 20000 && !(held_ = (condition)); turn_++)                      \
            loop_turn((w)->loop, 10);                                                              \
        if (!held_)                                                                                \
            fail_msg("never: %s", #condition);                                                     \
        (void)state_;                                                                              \
    } while (0)

static void world_connect(struct world *w, void **state_)
{
    UNTIL(w, quic_conn_state(w->client) == QUIC_OPEN);
    UNTIL(w, w->server != NULL || (w->server = quic_accept(w->endpoint, &w->task)) != NULL);
}

TEST(a_handshake_opens_both_ends)
{
    struct world w;
    world_open(&w, "quic.cftunnel.com", "quic.cftunnel.com");
    world_connect(&w, state_);
    CHECK(quic_conn_state(w.server) == QUIC_OPEN);
    world_close(&w);
}

TEST(a_certificate_for_another_name_is_refused_with_a_reason)
{
    struct world w;
    struct quic_why why;
    world_open(&w, "elsewhere.example", "quic.cftunnel.com");
    UNTIL(&w, quic_conn_state(w.client) == QUIC_CLOSED);
    quic_conn_why(w.client, &why);
    CHECK(why.err == ERR_CERT);
    CHECK(strstr(why.text, "quic.cftunnel.com") != NULL);
    world_close(&w);
}

TEST(a_port_where_nobody_listens_is_refused)
{
    struct world w;
    struct quic_why why;
    world_open(&w, "a.example", "a.example");
    quic_endpoint_free(w.endpoint);
    w.endpoint = NULL;
    UNTIL(&w, quic_conn_state(w.client) == QUIC_CLOSED);
    quic_conn_why(w.client, &why);
    CHECK(why.err == ERR_REFUSED);
    world_close(&w);
}

/* Moves `total` bytes from one stream to the other and checks each. */
static void transfer(struct world *w, struct stream *from, struct stream *to, size_t total,
                     void **state_)
{
    struct buf out, in;
    size_t written = 0, seen = 0;
    buf_init(&out, loop_chunks(w->loop), 1 << 20);
    buf_init(&in, loop_chunks(w->loop), 1 << 20);
    for (int turn = 0; turn < 200000 && seen < total; turn++) {
        while (written < total && buf_room(&out) >= 4096) {
            uint8_t block[4096];
            size_t n = total - written < sizeof block ? total - written : sizeof block;
            for (size_t i = 0; i < n; i++)
                block[i] = (uint8_t)((written + i) * 31 >> 3);
            CHECK_OK(buf_put(&out, slice_of(block, n)));
            written += n;
        }
        int r = buf_is_empty(&out) ? 0 : stream_write(from, &out);
        CHECK(r == 0 || r == ERR_AGAIN);
        if (written == total && buf_is_empty(&out))
            stream_finish(from);
        while ((r = stream_read(to, &in, 1 << 20)) == 0) {
            while (!buf_is_empty(&in)) {
                struct slice front = buf_front(&in);
                for (size_t i = 0; i < front.n; i++)
                    if (front.p[i] != (uint8_t)((seen + i) * 31 >> 3))
                        fail_msg("byte %zu differs", seen + i);
                seen += front.n;
                buf_drop(&in, front.n);
            }
        }
        loop_turn(w->loop, 10);
    }
    CHECK(seen == total);
    UNTIL(w, stream_read(to, &in, 1) == ERR_EOF);
    buf_done(&in);
    buf_done(&out);
}

TEST(bytes_cross_both_ways_on_streams_that_either_side_opened)
{
    struct world w;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    for (int round = 0; round < 2; round++) {
        struct quic_conn *opener = round == 0 ? w.client : w.server,
                         *other = round == 0 ? w.server : w.client;
        struct stream *near, *far = NULL;
        struct buf one;
        buf_init(&one, loop_chunks(w.loop), 100);
        CHECK_OK(quic_conn_open(opener, &w.task, &near));
        CHECK(quic_stream_id(near) == (uint64_t)round);
        CHECK_OK(buf_put(&one, SLICE("x")));
        CHECK_OK(stream_write(near, &one));
        UNTIL(&w, quic_conn_accept(other, &w.task, &far) == 0);
        UNTIL(&w, stream_read(far, &one, 1) == 0);
        transfer(&w, near, far, 32 << 20, state_);
        transfer(&w, far, near, 8 << 20, state_);
        buf_done(&one);
        stream_release(near);
        stream_release(far);
    }
    world_close(&w);
}

TEST(a_reader_that_stops_stops_its_writer_and_no_other_stream)
{
    struct world w;
    struct stream *slow, *slow_far = NULL, *fast, *fast_far = NULL;
    struct buf out, one;
    size_t written = 0;
    uint8_t block[4096] = { 0 };
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&out, loop_chunks(w.loop), 1 << 20);
    buf_init(&one, loop_chunks(w.loop), 1 << 20);
    CHECK_OK(quic_conn_open(w.server, &w.task, &slow));
    CHECK_OK(quic_conn_open(w.server, &w.task, &fast));
    for (int turn = 0; turn < 300; turn++) {
        while (buf_room(&out) >= sizeof block)
            CHECK_OK(buf_put(&out, slice_of(block, sizeof block)));
        size_t before = buf_len(&out);
        (void)!stream_write(slow, &out);
        written += before - buf_len(&out);
        loop_turn(w.loop, 1);
    }
    CHECK(written < 8 << 20);
    CHECK_OK(quic_conn_accept(w.client, &w.task, &slow_far));
    buf_drop(&out, buf_len(&out));
    CHECK_OK(buf_put(&out, SLICE("y")));
    CHECK_OK(stream_write(fast, &out));
    UNTIL(&w, quic_conn_accept(w.client, &w.task, &fast_far) == 0);
    UNTIL(&w, stream_read(fast_far, &one, 1) == 0);
    transfer(&w, fast, fast_far, 16 << 20, state_);
    buf_done(&out);
    buf_done(&one);
    stream_release(slow);
    stream_release(slow_far);
    stream_release(fast);
    stream_release(fast_far);
    world_close(&w);
}

TEST(an_abort_is_a_reset_at_the_other_end_and_both_ends_let_go)
{
    struct world w;
    struct stream *near, *far = NULL;
    struct buf one;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&one, loop_chunks(w.loop), 100);
    CHECK_OK(quic_conn_open(w.client, &w.task, &near));
    CHECK_OK(buf_put(&one, SLICE("x")));
    CHECK_OK(stream_write(near, &one));
    UNTIL(&w, quic_conn_accept(w.server, &w.task, &far) == 0);
    stream_abort(near, ERR_CLOSED);
    stream_release(near);
    UNTIL(&w, stream_read(far, &one, 10) == ERR_RESET);
    stream_release(far);
    struct quic_stats stats;
    UNTIL(&w, (quic_conn_stats(w.server, &stats), stats.streams == 0));
    UNTIL(&w, (quic_conn_stats(w.client, &stats), stats.streams == 0));
    buf_done(&one);
    world_close(&w);
}

TEST(a_close_is_told_with_its_code_and_ends_every_stream)
{
    struct world w;
    struct stream *near;
    struct buf one;
    struct quic_why why;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&one, loop_chunks(w.loop), 100);
    CHECK_OK(quic_conn_open(w.client, &w.task, &near));
    quic_conn_close(w.server, 7, "bye");
    UNTIL(&w, quic_conn_state(w.client) == QUIC_CLOSED);
    quic_conn_why(w.client, &why);
    CHECK(why.err == ERR_CLOSED && why.is_application && why.code == 7);
    CHECK(strcmp(why.text, "bye") == 0);
    CHECK_ERR(ERR_CLOSED, stream_read(near, &one, 10));
    stream_release(near);
    buf_done(&one);
    world_close(&w);
}

TEST(a_thousand_streams_come_and_go)
{
    struct world w;
    struct buf one;
    struct quic_stats stats;
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&one, loop_chunks(w.loop), 1000);
    for (int i = 0; i < 1000; i++) {
        struct stream *near, *far = NULL;
        CHECK_OK(quic_conn_open(w.server, &w.task, &near));
        CHECK_OK(buf_put(&one, SLICE("ping")));
        CHECK_OK(stream_write(near, &one));
        stream_finish(near);
        UNTIL(&w, quic_conn_accept(w.client, &w.task, &far) == 0);
        UNTIL(&w, stream_read(far, &one, 100) == 0);
        buf_drop(&one, buf_len(&one));
        stream_finish(far);
        stream_release(far);
        UNTIL(&w, stream_read(near, &one, 100) == ERR_EOF);
        stream_release(near);
    }
    UNTIL(&w, (quic_conn_stats(w.server, &stats), stats.streams == 0));
    UNTIL(&w, (quic_conn_stats(w.client, &stats), stats.streams == 0));
    buf_done(&one);
    world_close(&w);
}

TEST(datagrams_cross_and_large_ones_are_refused)
{
    struct world w;
    struct buf got;
    uint8_t large[1401] = { 0 };
    world_open(&w, "a.example", "a.example");
    world_connect(&w, state_);
    buf_init(&got, loop_chunks(w.loop), 100);
    CHECK_OK(quic_conn_send_datagram(w.client, SLICE("hello")));
    CHECK_ERR(ERR_TOOLARGE, quic_conn_send_datagram(w.client, slice_of(large, sizeof large)));
    UNTIL(&w, quic_conn_take_datagram(w.server, &got) == 0);
    CHECK_SLICE(buf_front(&got), SLICE("hello"));
    buf_done(&got);
    world_close(&w);
}

TESTS(RUN(a_handshake_opens_both_ends),
      RUN(a_certificate_for_another_name_is_refused_with_a_reason),
      RUN(a_port_where_nobody_listens_is_refused),
      RUN(bytes_cross_both_ways_on_streams_that_either_side_opened),
      RUN(a_reader_that_stops_stops_its_writer_and_no_other_stream),
      RUN(an_abort_is_a_reset_at_the_other_end_and_both_ends_let_go),
      RUN(a_close_is_told_with_its_code_and_ends_every_stream), RUN(a_thousand_streams_come_and_go),
      RUN(datagrams_cross_and_large_ones_are_refused))
