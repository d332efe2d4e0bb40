#pragma once
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

static inline void nothing(struct task *t)
{
    (void)t;
}

static inline size_t make_pair(const char *name, char *cert, size_t cert_max, char *key,
                               size_t key_max, size_t *ret_key)
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

/* What a test wants otherwise than usual. */
struct wish {
    struct quic_conf server, client; /* only windows, streams and times are taken */
    size_t conns_max;
    uint8_t secret;
};

static inline void world_listen(struct world *w, const struct wish *wish, const struct addr *at)
{
    struct quic_listen_opts opts = { .conf = wish->server, .workers = 1, .fd = -1 };
    opts.conf.creds = w->server_creds;
    opts.conf.alpn = "argotunnel";
    opts.conf.datagrams = true;
    opts.conns_max = wish->conns_max;
    memset(opts.secret, wish->secret, sizeof opts.secret);
    assert_int_equal(quic_listen(w->loop, at, &opts, &w->task, &w->endpoint, &w->addr), 0);
}

static inline int world_dial(struct world *w, const struct wish *wish, const char *name,
                             struct quic_conn **ret)
{
    struct quic_conf conf = wish->client;
    conf.creds = w->client_creds;
    conf.alpn = "argotunnel";
    conf.datagrams = true;
    return quic_dial(w->loop, &conf, &w->addr, NULL, name, &w->task, ret);
}

static inline void world_open_with(struct world *w, const struct wish *wish, const char *name,
                                   const char *dial_name)
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
    world_listen(w, wish, &any);
    assert_int_equal(world_dial(w, wish, dial_name, &w->client), 0);
}

static inline void world_open(struct world *w, const char *name, const char *dial_name)
{
    world_open_with(w, &(struct wish){ 0 }, name, dial_name);
}

static inline void world_close(struct world *w)
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

static inline void world_connect(struct world *w, void **state_)
{
    UNTIL(w, quic_conn_state(w->client) == QUIC_OPEN);
    UNTIL(w, w->server != NULL || (w->server = quic_accept(w->endpoint, &w->task)) != NULL);
}
