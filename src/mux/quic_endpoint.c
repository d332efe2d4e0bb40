#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/log.h"
#include "mux/quic_int.h"
#include "net/udp_relay.h"

#define ERRORS_A_STEP   4 /* each is looked for among all connections */
#define PACKETS_A_STEP  64
#define STEPS_A_TURN    16
#define RESETS_A_SECOND 1000
#define RESET_BYTES_MIN 41 /* smaller ones could be told from ordinary packets (RFC 9000 §10.3) */

static void endpoint_run(struct task *t);

/* ---- connection ids ---- */

/* Byte 0 names the worker and byte 1 the generation, masked by a keyed hash of the rest, so that
 * nobody outside can tell or choose. */
#define CID_NAMES 2

static uint64_t mask_of(const struct quic_endpoint *e, const uint8_t *bytes, size_t n)
{
    return map_hash(e->cid_seed, slice_of(bytes + CID_NAMES, n - CID_NAMES));
}

void quic_cid_make(struct quic_endpoint *e, uint8_t *bytes, size_t n)
{
    if (getrandom(bytes, n, 0) != (ssize_t)n)
        abort();
    uint64_t mask = mask_of(e, bytes, n);
    bytes[0] = (uint8_t)(e->opts.worker ^ mask);
    bytes[1] = (uint8_t)(e->opts.generation ^ mask >> 8);
}

int quic_cid_add(struct quic_conn *c, const uint8_t *bytes, size_t n)
{
    struct quic_cid *cid = calloc(1, sizeof *cid);
    if (cid == NULL)
        return ERR_NOMEM;
    memcpy(cid->bytes, bytes, n);
    cid->n = n;
    cid->conn = c;
    cid->node.key = slice_of(cid->bytes, n);
    int r = map_put(&c->e->cids, &cid->node);
    if (r < 0) {
        free(cid);
        return r;
    }
    list_push_back(&c->cids, &cid->in_conn);
    return 0;
}

static struct quic_cid *find(struct quic_endpoint *e, const uint8_t *bytes, size_t n)
{
    struct map_node *node = map_get(&e->cids, slice_of(bytes, n));
    return node != NULL ? container_of(node, struct quic_cid, node) : NULL;
}

void quic_cid_remove(struct quic_conn *c, const uint8_t *bytes, size_t n)
{
    struct quic_cid *cid = find(c->e, bytes, n);
    if (cid == NULL || cid->conn != c)
        return;
    map_remove(&c->e->cids, &cid->node);
    list_remove(&cid->in_conn);
    free(cid);
}

/* ---- packets that belong to no connection here ---- */

/* A packet on its way to the worker that its connection id names. */
struct stray {
    struct mail mail;
    struct quic_endpoint *const *slot;
    struct addr from, to;
    uint8_t ecn;
    size_t n;
    uint8_t data[];
};

static void feed(struct quic_endpoint *e, const struct udp_packet *p, bool may_pass_on);

static void stray_drop(struct mail *m)
{
    free(container_of(m, struct stray, mail));
}

static void stray_deliver(struct mail *m)
{
    struct stray *s = container_of(m, struct stray, mail);
    struct udp_packet p = {
        .data = slice_of(s->data, s->n), .from = &s->from, .to = &s->to, .ecn = s->ecn
    };
    if (*s->slot != NULL)
        feed(*s->slot, &p, false);
    free(s);
}

/* To the process before us. */
static bool pass_back(struct quic_endpoint *e, const struct udp_packet *p, unsigned worker)
{
    if (e->opts.predecessor == NULL || worker >= e->opts.predecessor_workers ||
        e->opts.predecessor[worker] < 0 ||
        atomic_load_explicit(e->opts.is_predecessor_gone, memory_order_relaxed))
        return false;
    int r = udp_relay_send(e->opts.predecessor[worker], p);
    if (e->opts.metrics != NULL)
        metric_add(e->opts.metrics, r == 0 ? e->opts.passed_on : e->opts.passed_on_lost, 1);
    return true;
}

/* `is_new`: it may be a connection's first one, which our own workers would not pass on. */
static bool pass_on(struct quic_endpoint *e, const struct udp_packet *p, const uint8_t *cid,
                    bool is_new)
{
    uint64_t mask = mask_of(e, cid, QUIC_CID_BYTES);
    unsigned worker = cid[0] ^ (uint8_t)mask;
    uint8_t generation = (uint8_t)(cid[1] ^ mask >> 8);
    if (generation == (uint8_t)(e->opts.generation - 1))
        return pass_back(e, p, worker);
    if (is_new || generation != e->opts.generation || e->opts.peers == NULL ||
        worker >= e->opts.workers || worker == e->opts.worker)
        return false;
    struct stray *s = malloc(sizeof *s + p->data.n);
    if (s == NULL)
        return true;
    *s = (struct stray){
        .mail = { .deliver = stray_deliver, .drop = stray_drop },
        .slot = &e->opts.endpoints[worker],
        .from = *p->from,
        .to = *p->to,
        .ecn = p->ecn,
        .n = p->data.n,
    };
    memcpy(s->data, p->data.p, p->data.n);
    mailbox_post(e->opts.peers[worker], &s->mail);
    return true;
}

/* Tells a peer that its connection is gone, as after a restart of ours. Always smaller than what it
 * answers, so that two such endpoints cannot keep each other busy. */
static void send_stateless_reset(struct quic_endpoint *e, const struct udp_packet *p,
                                 const uint8_t *dcid)
{
    uint8_t token[NGTCP2_STATELESS_RESET_TOKENLEN], packet[RESET_BYTES_MIN + 20], noise[64];
    ngtcp2_cid cid;
    nsec now = loop_now(e->loop);
    if (now - e->reset_window > NSEC_PER_SEC) {
        e->reset_window = now;
        e->reset_count = 0;
    }
    if (p->data.n < 22 || ++e->reset_count > RESETS_A_SECOND)
        return;
    size_t room = p->data.n - 1 < sizeof packet ? p->data.n - 1 : sizeof packet;
    size_t noise_bytes = room - sizeof token;
    if (noise_bytes > sizeof noise)
        noise_bytes = sizeof noise;
    ngtcp2_cid_init(&cid, dcid, QUIC_CID_BYTES);
    if (getrandom(noise, sizeof noise, 0) != (ssize_t)sizeof noise ||
        ngtcp2_crypto_generate_stateless_reset_token(token, e->opts.secret, sizeof e->opts.secret,
                                                     &cid) != 0)
        return;
    ngtcp2_ssize n = ngtcp2_pkt_write_stateless_reset(packet, room, token, noise, noise_bytes);
    size_t sent;
    if (n > 0)
        (void)udp_send(e->udp, p->to, p->from, 0, slice_of(packet, (size_t)n), (size_t)n, &sent);
}

static void send_versions(struct quic_endpoint *e, const struct udp_packet *p,
                          const ngtcp2_version_cid *vc)
{
    static const uint32_t VERSIONS[] = { NGTCP2_PROTO_VER_V1 };
    uint8_t packet[QUIC_PAYLOAD_BYTES];
    if (p->data.n < NGTCP2_MAX_UDP_PAYLOAD_SIZE)
        return; /* an answer larger than the question would amplify */
    ngtcp2_ssize n = ngtcp2_pkt_write_version_negotiation(
        packet, sizeof packet, (uint8_t)rng_next(loop_rng(e->loop)), vc->scid, vc->scidlen,
        vc->dcid, vc->dcidlen, VERSIONS, 1);
    size_t sent;
    if (n > 0)
        (void)udp_send(e->udp, p->to, p->from, 0, slice_of(packet, (size_t)n), (size_t)n, &sent);
}

static void feed(struct quic_endpoint *e, const struct udp_packet *p, bool may_pass_on)
{
    ngtcp2_version_cid vc;
    if (p->data.n == 0)
        return;
    int r = ngtcp2_pkt_decode_version_cid(&vc, p->data.p, p->data.n, QUIC_CID_BYTES);
    if (r == NGTCP2_ERR_VERSION_NEGOTIATION && e->is_server) {
        send_versions(e, p, &vc);
        return;
    }
    if (r != 0)
        return;
    struct quic_cid *cid = find(e, vc.dcid, vc.dcidlen);
    if (cid != NULL) {
        quic_conn_read(cid->conn, p);
        return;
    }
    bool is_long = (p->data.p[0] & 0x80) != 0;
    if (!e->is_server) {
        /* A stateless reset has an id that nobody knows: the connection, of which a client's socket
         * has one, tells it by its token (RFC 9000 §10.3.1). */
        if (!is_long && !list_is_empty(&e->conns))
            quic_conn_read(container_of(e->conns.next, struct quic_conn, node), p);
        return;
    }
    if (vc.dcidlen == QUIC_CID_BYTES && may_pass_on && pass_on(e, p, vc.dcid, is_long))
        return;
    if (is_long)
        (void)quic_conn_accept_new(e, p);
    else if (vc.dcidlen == QUIC_CID_BYTES)
        send_stateless_reset(e, p, vc.dcid);
}

/* ---- the socket ---- */

/* Anybody on the way can say so: it ends a handshake, of which nothing is lost, and makes an open
 * connection doubtful. */
static void note_refused(struct quic_endpoint *e, const struct addr *to)
{
    list_each(it, &e->conns)
    {
        struct quic_conn *c = container_of(it, struct quic_conn, node);
        struct addr peer;
        if (c->state == QUIC_HANDSHAKE && !e->is_server) {
            struct quic_why why = { .err = ERR_REFUSED, .text = "nobody listens at this address" };
            quic_conn_ended(c, &why);
        } else if (c->state == QUIC_OPEN) {
            quic_conn_peer_addr(c, &peer);
            if (addr_eq(&peer, to))
                quic_note_refused(c);
        }
    }
}

static void take_errors(struct quic_endpoint *e)
{
    struct addr to;
    int error;
    for (unsigned i = 0; i < ERRORS_A_STEP && udp_take_error(e->udp, &to, &error) == 0; i++)
        if (error == ECONNREFUSED)
            note_refused(e, &to);
}

static void endpoint_run(struct task *t)
{
    struct quic_endpoint *e = container_of(t, struct quic_endpoint, task);
    struct udp_packet packets[PACKETS_A_STEP];
    size_t count;
    take_errors(e);
    (void)loop_now_fresh(e->loop);
    for (unsigned step = 0; step < STEPS_A_TURN || udp_has_more(e->udp); step++) {
        if (udp_receive(e->udp, packets, PACKETS_A_STEP, &count) < 0)
            break;
        for (size_t i = 0; i < count; i++)
            feed(e, &packets[i], true);
        if (step + 1 == STEPS_A_TURN)
            task_wake(t); /* the kernel may have more */
    }
    list_each(it, &e->blocked)
    {
        quic_send_blocked(container_of(it, struct quic_conn, blocked_node));
    }
}

int quic_endpoint_new(struct loop *loop, const struct addr *bind, const struct udp_opts *opts,
                      struct quic_endpoint **ret)
{
    struct quic_endpoint *e = calloc(1, sizeof *e);
    if (e == NULL)
        return ERR_NOMEM;
    e->loop = loop;
    e->batch = loop_scratch(loop, SCRATCH_OUT, QUIC_BATCH_BYTES + QUIC_PAYLOAD_LOOPBACK_BYTES);
    task_init(&e->task, loop, endpoint_run);
    map_init(&e->cids);
    list_init(&e->conns);
    list_init(&e->acceptable);
    list_init(&e->blocked);
    int r = e->batch != NULL ? udp_open(loop, bind, opts, &e->task, &e->udp, &e->local) : ERR_NOMEM;
    if (r < 0) {
        free(e);
        return r;
    }
    if (getrandom(e->opts.secret, sizeof e->opts.secret, 0) != sizeof e->opts.secret)
        abort();
    *ret = e;
    return 0;
}

int quic_listen(struct loop *loop, const struct addr *bind, const struct quic_listen_opts *opts,
                struct task *owner, struct quic_endpoint **ret, struct addr *ret_addr)
{
    struct quic_endpoint *e;
    const struct udp_opts udp = { .reuse_port = opts->workers > 1,
                                  .fd = opts->fd,
                                  .is_paused = opts->is_paused };
    int r = quic_endpoint_new(loop, bind, &udp, &e);
    if (r < 0)
        return r;
    e->is_server = true;
    e->opts = *opts;
    e->owner = owner;
    memcpy(e->cid_seed, opts->secret, sizeof e->cid_seed);
    (void)quic_creds_ref(opts->conf.creds);
    *ret = e;
    *ret_addr = e->local;
    return 0;
}

struct quic_conn *quic_accept(struct quic_endpoint *e, struct task *owner)
{
    struct list *node = list_pop(&e->acceptable);
    if (node == NULL)
        return NULL;
    struct quic_conn *c = container_of(node, struct quic_conn, acceptable);
    c->owner = owner;
    return c;
}

void quic_endpoint_stop(struct quic_endpoint *e)
{
    e->is_stopped = true;
}

void quic_endpoint_begin(struct quic_endpoint *e)
{
    udp_begin(e->udp);
}

int quic_endpoint_hand_over(struct quic_endpoint *e, int in)
{
    int r = udp_hand_over(e->udp, in);
    if (r == 0)
        e->is_stopped = true;
    return r;
}

int quic_endpoint_fd(const struct quic_endpoint *e)
{
    return udp_fd(e->udp);
}

size_t quic_endpoint_conns(const struct quic_endpoint *e)
{
    return e->conn_count;
}

static void reap(struct reaper *r)
{
    struct quic_endpoint *e = container_of(r, struct quic_endpoint, reaper);
    map_done(&e->cids);
    free(e);
}

void quic_endpoint_free(struct quic_endpoint *e)
{
    if (e == NULL)
        return;
    list_each(it, &e->conns)
    {
        struct quic_conn *c = container_of(it, struct quic_conn, node);
        quic_conn_close(c, 0, "");
        c->owns_endpoint = false; /* it does not end its endpoint a second time */
        quic_conn_destroy(c);
    }
    if (e->is_server)
        quic_creds_unref(e->opts.conf.creds);
    udp_close(e->udp);
    task_done(&e->task);
    loop_reap(e->loop, &e->reaper, reap);
}
