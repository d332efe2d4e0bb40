#pragma once
/* A connection to the edge over HTTP/2, dialled by the real transport to a listener on loopback
 * that does what an edge does: TLS, the client's part of HTTP/2, the request for the control
 * stream, and a word on it that comes back. A program that includes this is linked as net/faulty.h
 * says, and defines edge_is_spared. */
#include "base/log.h"
#include "connector/transport.h"
#include "crypto/x509.h"
#include "mux/h2.h"
#include "net/faulty.h"
#include "net/tls.h"
#include "net/turn.h"
#include "tunnel/h2_words.h"

#define EDGE_NAME "h2.cftunnel.com"
#define WORD      "a word on the control stream"

/* Around what the listener does: nothing of it is to fail, since it is no part of the connector. */
static void edge_is_spared(bool is);

struct dial_lab {
    struct loop *loop;
    struct task task, accept;
    struct tcp_listener *listener;
    struct addr at;
    struct h2_conn *edge;
    struct h2_stream *asked;
    struct stream *accepted; /* TLS, until HTTP/2 has it */
    struct buf heard, echo;
    bool has_said;
    struct transport *t;
    struct stream *control;
};

/* ---- the edge ---- */

static const struct tls_creds *creds_of(bool is_server)
{
    static struct tls_creds *server, *client;
    static const char *const names[] = { EDGE_NAME, NULL };
    struct x509_pair ca, pair;
    if (server == NULL) {
        assert_int_equal(x509_make_ca("edge", &ca, NULL), 0);
        assert_int_equal(x509_issue(&ca, names, 1, &pair, NULL), 0);
        struct tls_server_opts theirs = { .chain_pem = slice_str(pair.cert_pem),
                                          .key_pem = slice_str(pair.key_pem) };
        struct tls_client_opts ours = { .ca_pem = slice_str(ca.cert_pem), .verify = true };
        assert_int_equal(tls_creds_server(&theirs, &server, NULL), 0);
        assert_int_equal(tls_creds_client(&ours, &client, NULL), 0);
        x509_pair_free(&pair);
        x509_pair_free(&ca);
    }
    return is_server ? server : client;
}

static void accept_one(struct dial_lab *l, struct stream *s)
{
    static const struct h2_field FIELDS[] = {
        { { (const uint8_t *)H2_UPGRADE_FIELD, sizeof H2_UPGRADE_FIELD - 1 },
          { (const uint8_t *)H2_CONTROL_VALUE, sizeof H2_CONTROL_VALUE - 1 },
          false },
    };
    const struct h2_conf conf = { .head_bytes = TUNNEL_H2_HEAD_BYTES_MAX };
    const struct h2_send_head head = { .method = SLICE("GET"),
                                       .scheme = SLICE("https"),
                                       .authority = SLICE(EDGE_NAME),
                                       .path = SLICE("/"),
                                       .fields = FIELDS,
                                       .count = 1 };
    struct tls_creds *creds = (struct tls_creds *)(uintptr_t)creds_of(true);
    assert_int_equal(tls_accept(l->loop, creds, s, &l->task, &l->accepted), 0);
    assert_int_equal(h2_open(l->loop, &conf, l->accepted, &l->task, &l->edge), 0);
    assert_int_equal(h2_conn_request(l->edge, &head, false, &l->task, &l->asked), 0);
}

static void accept_run(struct task *t)
{
    struct dial_lab *l = container_of(t, struct dial_lab, accept);
    struct stream *s;
    struct addr peer;
    edge_is_spared(true);
    while (l->listener != NULL && l->edge == NULL && tcp_accept(l->listener, NULL, &s, &peer) == 0)
        accept_one(l, s);
    edge_is_spared(false);
}

/* Says its word once the control stream was agreed to, and hears it again. As the real one it
 * closes a connection whose control stream was refused. */
static bool edge_has_heard(struct dial_lab *l)
{
    const struct h2_head *head;
    struct buf word;
    bool has_heard = false;
    edge_is_spared(true);
    int r = l->asked != NULL && !l->has_said ? h2_stream_head(l->asked, &head) : ERR_AGAIN;
    if (r < 0 && r != ERR_AGAIN)
        h2_conn_close(l->edge, H2_NO_ERROR);
    if (r == 0 && head->status == 200) {
        buf_init(&word, loop_chunks(l->loop), sizeof WORD);
        assert_int_equal(buf_put(&word, SLICE(WORD)), 0);
        (void)stream_write(h2_stream_body(l->asked), &word);
        buf_done(&word);
        l->has_said = true;
    }
    if (l->has_said) {
        uint8_t got[sizeof WORD];
        while (stream_read(h2_stream_body(l->asked), &l->heard, sizeof WORD) == 0)
            continue;
        has_heard = buf_copy(&l->heard, 0, got, sizeof got) == sizeof WORD - 1 &&
                    memcmp(got, WORD, sizeof WORD - 1) == 0;
    }
    edge_is_spared(false);
    return has_heard;
}

/* ---- the connector ---- */

/* 0, ERR_AGAIN, or why there is no connection. */
static int connector_step(struct dial_lab *l)
{
    const char *text;
    int r = 0;
    if (transport_state(l->t) == TRANSPORT_CLOSED) {
        r = l->t->ops->why(l->t, &text);
        assert_true(r < 0 && text[0] != 0);
        return r;
    }
    if (transport_state(l->t) == TRANSPORT_DIALING)
        return ERR_AGAIN;
    if (l->control == NULL)
        r = l->t->ops->control(l->t, &l->task, &l->control);
    if (r < 0)
        return r;
    r = stream_read(l->control, &l->echo, sizeof WORD);
    if (r < 0 && r != ERR_AGAIN)
        return r;
    if (!buf_is_empty(&l->echo))
        r = stream_write(l->control, &l->echo);
    return r < 0 ? r : ERR_AGAIN;
}

static void lab_open(struct dial_lab *l)
{
    struct tcp_listen_opts opts = { .fd = -1 };
    struct addr any;
    *l = (struct dial_lab){ 0 };
    log_setup(LOG_OFF, LOG_LOGFMT, 2);
    assert_int_equal(loop_new(&l->loop), 0);
    task_init(&l->task, l->loop, do_nothing);
    task_init(&l->accept, l->loop, accept_run);
    buf_init(&l->heard, loop_chunks(l->loop), sizeof WORD);
    buf_init(&l->echo, loop_chunks(l->loop), sizeof WORD);
    assert_int_equal(addr_parse(SLICE("127.0.0.1:0"), &any), 0);
    assert_int_equal(tcp_listen(l->loop, &any, &opts, &l->accept, &l->listener, &l->at), 0);
    (void)creds_of(true);
}

static int lab_dial(struct dial_lab *l)
{
    const struct transport_dial dial = {
        .loop = l->loop,
        .owner = &l->task,
        .edge = l->at,
        .streams_max = 100,
        .tls = (struct tls_creds *)(uintptr_t)creds_of(false),
    };
    return transport_dial_h2(&dial, &l->t);
}

/* 0 when the word came back; else why it did not. ERR_AGAIN: somebody waits in vain. The
 * transport's own limit of ten seconds would hide that, and so is over later. */
static int lab_run(struct dial_lab *l)
{
    nsec end = clock_monotonic() + 8 * NSEC_PER_SEC;
    int r = lab_dial(l);
    while (r == 0 || r == ERR_AGAIN) {
        loop_turn(l->loop, 10);
        r = connector_step(l);
        if (r == ERR_AGAIN && edge_has_heard(l))
            return 0;
        if (clock_monotonic() > end)
            return ERR_AGAIN;
    }
    return r;
}

static void lab_close(struct dial_lab *l, void **state_)
{
    stream_release(l->control);
    transport_close(l->t);
    if (l->asked != NULL)
        stream_release(h2_stream_body(l->asked));
    h2_conn_abort(l->edge);
    tcp_listener_close(l->listener);
    l->listener = NULL;
    buf_done(&l->heard);
    buf_done(&l->echo);
    UNTIL(l->loop, chunk_pool_used(loop_chunks(l->loop)) == 0);
    for (int i = 0; i < 8; i++)
        loop_turn(l->loop, 0);
    task_done(&l->task);
    task_done(&l->accept);
    loop_free(l->loop);
}
