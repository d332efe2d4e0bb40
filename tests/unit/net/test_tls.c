#include "net/tls.h"

#include <fcntl.h>

#include "crypto/x509.h"
#include "net/pipe.h"
#include "net/sockets.h"
#include "net/tls_int.h"

/* A server and a client whose streams are the two ends of a pipe. */
struct world {
    struct loop *loop;
    struct task server_task, client_task;
    struct x509_pair ca;
    struct tls_cert *chosen; /* what the chooser gives */
    char asked[300];         /* what it was asked for */
    unsigned choices;
    struct tls_creds *server_creds, *client_creds;
    struct stream *server, *client;
    struct buf buf;
};

static const char *const HTTP[] = { "http/1.1", NULL };

static struct tls_cert *choose(void *ctx, const char *name)
{
    struct world *w = ctx;
    (void)snprintf(w->asked, sizeof w->asked, "%s", name);
    w->choices++;
    return w->chosen != NULL ? tls_cert_ref(w->chosen) : NULL;
}

static struct tls_cert *issue(struct world *w, const char *name)
{
    const char *const names[] = { name, NULL };
    struct x509_pair pair;
    struct tls_cert *c;
    assert_int_equal(x509_issue(&w->ca, names, 1, &pair, NULL), 0);
    assert_int_equal(tls_cert_new(slice_str(pair.cert_pem), slice_str(pair.key_pem), &c, NULL), 0);
    x509_pair_free(&pair);
    return c;
}

struct setup {
    const char *cert, *dial;                             /* names */
    const char *const *server_alpn, *const *client_alpn; /* or NULL */
    bool is_unverified, has_other_ca;
    size_t window; /* of the pipe; 0 = plenty */
};

static void prepare(struct world *w, const struct setup *s)
{
    const char *const names[] = { s->cert, NULL };
    struct x509_pair pair, other;
    *w = (struct world){ 0 };
    assert_int_equal(loop_new(&w->loop), 0);
    task_init(&w->server_task, w->loop, do_nothing);
    task_init(&w->client_task, w->loop, do_nothing);
    buf_init(&w->buf, loop_chunks(w->loop), 1 << 20);
    assert_int_equal(x509_make_ca("test", &w->ca, NULL), 0);
    assert_int_equal(x509_make_ca("other", &other, NULL), 0);
    assert_int_equal(x509_issue(&w->ca, names, 1, &pair, NULL), 0);
    struct tls_server_opts server = {
        .chain_pem = slice_str(pair.cert_pem),
        .key_pem = slice_str(pair.key_pem),
        .alpn = s->server_alpn,
        .choose = choose,
        .ctx = w,
    };
    struct tls_client_opts client = {
        .ca_pem = slice_str(s->has_other_ca ? other.cert_pem : w->ca.cert_pem),
        .verify = !s->is_unverified,
        .alpn = s->client_alpn,
    };
    assert_int_equal(tls_creds_server(&server, &w->server_creds, NULL), 0);
    assert_int_equal(tls_creds_client(&client, &w->client_creds, NULL), 0);
    x509_pair_free(&pair);
    x509_pair_free(&other);
}

static void join(struct world *w, const struct setup *s, struct stream *a, struct stream *b)
{
    assert_int_equal(tls_accept(w->loop, w->server_creds, a, &w->server_task, &w->server), 0);
    assert_int_equal(
        tls_connect(w->loop, w->client_creds, slice_str(s->dial), b, &w->client_task, &w->client),
        0);
}

static void world_open(struct world *w, const struct setup *s)
{
    struct stream *a, *b;
    prepare(w, s);
    assert_int_equal(pipe_new(w->loop, s->window > 0 ? s->window : 1 << 20, &a, &b), 0);
    join(w, s, a, b);
}

static void world_close(struct world *w)
{
    stream_release(w->server);
    stream_release(w->client);
    for (int i = 0; i < 4; i++)
        loop_turn(w->loop, 0);
    tls_creds_unref(w->server_creds);
    tls_creds_unref(w->client_creds);
    tls_cert_unref(w->chosen);
    x509_pair_free(&w->ca);
    buf_done(&w->buf);
    task_done(&w->server_task);
    task_done(&w->client_task);
    loop_free(w->loop);
}

static bool is_up(const struct world *w)
{
    return tls_is_ready(w->server) && tls_is_ready(w->client);
}

static int state_of(struct world *w, struct stream *s)
{
    return stream_read(s, &w->buf, 1);
}

/* ---- handshakes ---- */

TEST(a_handshake_agrees_on_a_protocol_and_a_name)
{
    struct world w;
    world_open(&w, &(struct setup){ "a.example", "A.Example", HTTP, HTTP });
    CHECK_ERR(ERR_AGAIN, stream_read(w.client, &w.buf, 1));
    CHECK_ERR(ERR_AGAIN, (buf_put(&w.buf, SLICE("x")) == 0 ? stream_write(w.client, &w.buf) : 0));
    UNTIL(w.loop, is_up(&w));
    assert_string_equal(tls_alpn(w.server), "http/1.1");
    assert_string_equal(tls_alpn(w.client), "http/1.1");
    assert_string_equal(tls_sni(w.server), "a.example"); /* in lower case */
    assert_string_equal(tls_failure(w.server), "");
    world_close(&w);
}

TEST(a_client_without_protocols_is_served)
{
    struct world w;
    world_open(&w, &(struct setup){ "a.example", "a.example", HTTP, NULL });
    UNTIL(w.loop, is_up(&w));
    assert_string_equal(tls_alpn(w.server), "");
    world_close(&w);
}

TEST(an_address_is_verified_as_one_and_sends_no_name)
{
    struct world w;
    world_open(&w, &(struct setup){ "127.0.0.1", "127.0.0.1" });
    UNTIL(w.loop, is_up(&w));
    assert_string_equal(tls_sni(w.server), "");
    assert_string_equal(w.asked, "");
    world_close(&w);
}

TEST(the_chooser_is_asked_and_its_certificate_shown)
{
    struct world w;
    struct setup s = { "default.example", "chosen.example" };
    struct stream *a, *b;
    prepare(&w, &s);
    w.chosen = issue(&w, "chosen.example");
    CHECK_OK(pipe_new(w.loop, 1 << 20, &a, &b));
    join(&w, &s, a, b);
    UNTIL(w.loop, is_up(&w));
    assert_string_equal(w.asked, "chosen.example");
    CHECK(w.choices == 1);
    world_close(&w);
}

TEST(a_certificate_that_was_let_go_in_the_handshake_is_kept_by_its_session)
{
    struct world w;
    struct setup s = { "default.example", "chosen.example" };
    struct stream *a, *b;
    prepare(&w, &s);
    w.chosen = issue(&w, "chosen.example");
    CHECK_OK(pipe_new(w.loop, 1 << 20, &a, &b));
    join(&w, &s, a, b);
    UNTIL(w.loop, w.choices == 1);
    tls_cert_unref(w.chosen);
    w.chosen = NULL;
    UNTIL(w.loop, is_up(&w));
    world_close(&w);
}

TEST(without_a_choice_the_credentials_certificate_is_shown)
{
    struct world w;
    world_open(&w, &(struct setup){ "default.example", "default.example" });
    UNTIL(w.loop, is_up(&w));
    CHECK(w.choices == 1);
    world_close(&w);
}

static void check_refused(const struct setup *s, const char *words, enum tls_fault fault,
                          void **state_)
{
    struct world w;
    world_open(&w, s);
    UNTIL(w.loop, state_of(&w, w.client) != ERR_AGAIN);
    CHECK_ERR(ERR_CERT, state_of(&w, w.client));
    CHECK_ERR(ERR_CERT, stream_write(w.client, &w.buf));
    if (strstr(tls_failure(w.client), words) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", tls_failure(w.client), words);
    CHECK(tls_fault_of(w.client) == fault);
    CHECK(!tls_is_ready(w.client));
    world_close(&w);
}

TEST(another_name_is_refused_with_a_reason)
{
    check_refused(&(struct setup){ "other.example", "a.example" }, "it is for", TLS_FAULT_NAME,
                  state_);
}

TEST(another_ca_is_refused_with_a_reason)
{
    check_refused(&(struct setup){ "a.example", "a.example", .has_other_ca = true }, "NOT trusted",
                  TLS_FAULT_ISSUER, state_);
}

TEST(of_several_checks_that_fail_the_first_to_be_mended_is_told)
{
    CHECK(tls_fault_of_status(GNUTLS_CERT_REVOKED | GNUTLS_CERT_EXPIRED) == TLS_FAULT_REVOKED);
    CHECK(tls_fault_of_status(GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_EXPIRED) ==
          TLS_FAULT_ISSUER);
    CHECK(tls_fault_of_status(GNUTLS_CERT_EXPIRED | GNUTLS_CERT_UNEXPECTED_OWNER) ==
          TLS_FAULT_EXPIRED);
    CHECK(tls_fault_of_status(GNUTLS_CERT_NOT_ACTIVATED) == TLS_FAULT_EARLY);
    CHECK(tls_fault_of_status(GNUTLS_CERT_UNEXPECTED_OWNER) == TLS_FAULT_NAME);
    CHECK(tls_fault_of_status(GNUTLS_CERT_INSECURE_ALGORITHM) == TLS_FAULT_WEAK);
    CHECK(tls_fault_of_status(GNUTLS_CERT_INVALID) == TLS_FAULT_CERT);
}

TEST(whoever_verifies_nothing_takes_any_certificate)
{
    struct world w;
    world_open(&w, &(struct setup){ "other.example", "a.example", .is_unverified = true });
    UNTIL(w.loop, is_up(&w));
    world_close(&w);
}

TEST(the_other_side_learns_why_a_handshake_failed)
{
    struct world w;
    struct setup s = { "a.example", "a.example", .has_other_ca = true };
    world_open(&w, &s);
    UNTIL(w.loop, state_of(&w, w.client) == ERR_CERT);
    stream_release(w.client); /* at once: the alert is delivered all the same */
    w.client = NULL;
    /* In TLS 1.3 the server is through first: it hears of it in its first read. */
    UNTIL(w.loop, state_of(&w, w.server) != ERR_AGAIN);
    CHECK_ERR(ERR_TLS, state_of(&w, w.server));
    CHECK(strstr(tls_failure(w.server), "ertificate") != NULL ||
          strstr(tls_failure(w.server), "CA") != NULL);
    world_close(&w);
}

TEST(a_peer_that_speaks_no_tls_is_refused)
{
    struct world w;
    struct setup s = { "a.example", "a.example" };
    struct stream *a, *b;
    prepare(&w, &s);
    CHECK_OK(pipe_new(w.loop, 1 << 20, &a, &b));
    CHECK_OK(tls_accept(w.loop, w.server_creds, a, &w.server_task, &w.server));
    say(w.loop, b, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n");
    UNTIL(w.loop, state_of(&w, w.server) == ERR_TLS);
    CHECK(tls_failure(w.server)[0] != 0 && tls_fault_of(w.server) == TLS_FAULT_NOT_TLS);
    stream_release(b);
    world_close(&w);
}

TEST(a_peer_that_goes_in_the_handshake_is_a_failure)
{
    for (int is_reset = 0; is_reset < 2; is_reset++) {
        struct world w;
        struct setup s = { "a.example", "a.example" };
        struct stream *a, *b;
        prepare(&w, &s);
        CHECK_OK(pipe_new(w.loop, 1 << 20, &a, &b));
        CHECK_OK(tls_accept(w.loop, w.server_creds, a, &w.server_task, &w.server));
        if (is_reset == 0)
            stream_finish(b);
        stream_release(b);
        UNTIL(w.loop, state_of(&w, w.server) != ERR_AGAIN);
        CHECK_ERR(is_reset != 0 ? ERR_RESET : ERR_CUT, state_of(&w, w.server));
        world_close(&w);
    }
}

TEST(nonsense_instead_of_certificates_is_refused_with_words)
{
    struct tls_cert *c = NULL;
    struct tls_creds *creds = NULL;
    struct fault fault = { 0 };
    struct x509_pair ca;
    CHECK_OK(x509_make_ca("test", &ca, NULL));
    CHECK_ERR(ERR_CERT, tls_cert_new(SLICE("nonsense"), slice_str(ca.key_pem), &c, &fault));
    CHECK(fault.text[0] != 0);
    CHECK_ERR(ERR_CERT, tls_cert_new(slice_str(ca.cert_pem), SLICE("nonsense"), &c, &fault));
    CHECK_ERR(ERR_CERT, tls_creds_client(&(struct tls_client_opts){ .ca_pem = SLICE("nonsense"),
                                                                    .verify = true },
                                         &creds, &fault));
    CHECK_ERR(ERR_CERT, tls_creds_server(&(struct tls_server_opts){ .chain_pem = SLICE("x"),
                                                                    .key_pem = SLICE("y") },
                                         &creds, &fault));
    CHECK(c == NULL && creds == NULL);
    x509_pair_free(&ca);
}

/* ---- carrying ---- */

TEST(bytes_cross_both_ways_and_each_direction_ends_by_itself)
{
    static const size_t WINDOWS[] = { 1 << 20, 3000, 100 };
    for (int i = 0; i < 3; i++) {
        struct world w;
        struct transfer up, down;
        world_open(&w, &(struct setup){ "a.example", "a.example", .window = WINDOWS[i] });
        UNTIL(w.loop, is_up(&w));
        size_t total = WINDOWS[i] > 1000 ? 1 << 20 : 50000;
        transfer_init(&up, loop_chunks(w.loop), w.client, w.server, total);
        UNTIL(w.loop, transfer_step(&up));
        transfer_init(&down, loop_chunks(w.loop), w.server, w.client, total);
        UNTIL(w.loop, transfer_step(&down));
        transfer_done(&up);
        transfer_done(&down);
        world_close(&w);
    }
}

TEST(a_reader_that_stops_stops_its_writer)
{
    struct world w;
    struct transfer t;
    world_open(&w, &(struct setup){ "a.example", "a.example", .window = 10000 });
    UNTIL(w.loop, is_up(&w));
    transfer_init(&t, loop_chunks(w.loop), w.client, w.server, 10 << 20);
    for (int i = 0; i < 100; i++) {
        transfer_write(&t);
        loop_turn(w.loop, 0);
    }
    CHECK(t.put < 300 * 1024 && !t.is_finished);
    UNTIL(w.loop, transfer_step(&t)); /* and it goes on when the reader does */
    transfer_done(&t);
    world_close(&w);
}

TEST(what_was_written_and_finished_is_delivered_after_release)
{
    struct world w;
    struct transfer t;
    struct setup s = { "a.example", "a.example" };
    struct stream *a, *b;
    prepare(&w, &s);
    CHECK_OK(pipe_new(w.loop, 1000, &a, &b));
    join(&w, &s, a, b);
    UNTIL(w.loop, is_up(&w));
    transfer_init(&t, loop_chunks(w.loop), w.server, w.client, 40000);
    UNTIL(w.loop, (transfer_write(&t), t.is_finished)); /* 40 times what the pipe takes */
    stream_release(w.server);
    w.server = NULL;
    UNTIL(w.loop, (transfer_read(&t), t.end != ERR_AGAIN));
    CHECK_ERR(ERR_EOF, t.end);
    CHECK(t.seen == 40000);
    UNTIL(w.loop, stream_read(b, &w.buf, 1) == ERR_EOF); /* below too */
    transfer_done(&t);
    world_close(&w);
}

TEST(a_loop_that_goes_takes_along_what_was_still_being_delivered)
{
    struct world w;
    struct transfer t;
    world_open(&w, &(struct setup){ "a.example", "a.example", .window = 1000 });
    UNTIL(w.loop, is_up(&w));
    transfer_init(&t, loop_chunks(w.loop), w.server, w.client, 40000);
    UNTIL(w.loop, (transfer_write(&t), t.is_finished));
    stream_release(w.server);
    w.server = NULL;
    transfer_done(&t);
    world_close(&w); /* the sanitizers look on */
}

TEST(an_end_without_goodbye_is_no_end)
{
    struct world w;
    struct setup s = { "a.example", "a.example" };
    struct stream *a, *b;
    prepare(&w, &s);
    CHECK_OK(pipe_new(w.loop, 1 << 20, &a, &b));
    join(&w, &s, a, b);
    UNTIL(w.loop, is_up(&w));
    stream_finish(b); /* below TLS, as an attacker on the way might */
    UNTIL(w.loop, state_of(&w, w.server) != ERR_AGAIN);
    CHECK_ERR(ERR_CUT, state_of(&w, w.server));
    CHECK_ERR(ERR_CUT, state_of(&w, w.server));
    world_close(&w);
}

TEST(an_abort_is_a_reset_below)
{
    struct world w;
    world_open(&w, &(struct setup){ "a.example", "a.example" });
    UNTIL(w.loop, is_up(&w));
    stream_abort(w.client, ERR_TIMEOUT);
    CHECK_ERR(ERR_TIMEOUT, state_of(&w, w.client));
    UNTIL(w.loop, state_of(&w, w.server) != ERR_AGAIN);
    CHECK_ERR(ERR_RESET, state_of(&w, w.server));
    CHECK_ERR(ERR_RESET, stream_write(w.server, &w.buf));
    world_close(&w);
}

TEST(a_read_of_nothing_tells_of_a_reset_though_bytes_wait)
{
    struct world w;
    struct setup s = { "a.example", "a.example" };
    struct stream *a;
    int ours, theirs;
    prepare(&w, &s);
    raw_pair(&ours, &theirs);
    CHECK_OK(tcp_from_fd(w.loop, ours, &w.server_task, &a));
    struct stream *b;
    assert_true(fcntl(theirs, F_SETFL, O_NONBLOCK) == 0);
    CHECK_OK(tcp_from_fd(w.loop, theirs, &w.client_task, &b));
    join(&w, &s, a, b);
    UNTIL(w.loop, is_up(&w));
    CHECK_ERR(ERR_AGAIN, stream_read(w.server, &w.buf, 0));
    say(w.loop, w.client, "unread");
    loop_turn(w.loop, 0);
    loop_turn(w.loop, 0);
    stream_abort(w.client, ERR_CANCELED);
    stream_release(w.client);
    w.client = NULL;
    UNTIL(w.loop, stream_read(w.server, &w.buf, 0) == ERR_RESET);
    world_close(&w);
}

TESTS(RUN(a_handshake_agrees_on_a_protocol_and_a_name), RUN(a_client_without_protocols_is_served),
      RUN(an_address_is_verified_as_one_and_sends_no_name),
      RUN(the_chooser_is_asked_and_its_certificate_shown),
      RUN(a_certificate_that_was_let_go_in_the_handshake_is_kept_by_its_session),
      RUN(without_a_choice_the_credentials_certificate_is_shown),
      RUN(another_name_is_refused_with_a_reason), RUN(another_ca_is_refused_with_a_reason),
      RUN(of_several_checks_that_fail_the_first_to_be_mended_is_told),
      RUN(whoever_verifies_nothing_takes_any_certificate),
      RUN(the_other_side_learns_why_a_handshake_failed), RUN(a_peer_that_speaks_no_tls_is_refused),
      RUN(a_peer_that_goes_in_the_handshake_is_a_failure),
      RUN(nonsense_instead_of_certificates_is_refused_with_words),
      RUN(bytes_cross_both_ways_and_each_direction_ends_by_itself),
      RUN(a_reader_that_stops_stops_its_writer),
      RUN(what_was_written_and_finished_is_delivered_after_release),
      RUN(a_loop_that_goes_takes_along_what_was_still_being_delivered),
      RUN(an_end_without_goodbye_is_no_end), RUN(an_abort_is_a_reset_below),
      RUN(a_read_of_nothing_tells_of_a_reset_though_bytes_wait))
