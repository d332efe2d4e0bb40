#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/err.h"
#include "base/limits.h"
#include "net/addr.h"
#include "net/loop_int.h"
#include "net/tls_int.h"

#define RAW_BYTES_MAX (64 * 1024)
#define RECORD_BYTES  16384
#define NAME_BYTES    (HOSTNAME_BYTES_MAX + 1)
#define LINGER_NSEC   (30 * NSEC_PER_SEC)

struct tls {
    struct stream stream;
    struct task task;
    struct loop *loop;
    struct stream *under;
    struct tls_creds *creds;
    struct tls_cert *cert; /* that a server's session shows */
    gnutls_session_t session;
    struct buf in, out; /* records, as they travel */
    uint64_t pulled;    /* bytes of records that GnuTLS has taken */
    bool is_ready, is_eof, is_finished, is_full;
    bool is_bulk;     /* the last read was large: the next one is expected to be */
    bool is_released; /* what was written is still delivered, for LINGER_NSEC at most */
    struct deadline linger;
    struct lingerer lingerer;
    int err;               /* why it is dead; 0 while it lives */
    int under_err;         /* what the stream below said */
    char name[NAME_BYTES]; /* verified, or the client's SNI */
    char alpn[32];
    char failure[256];
    enum tls_fault fault;
    bool is_not_tls; /* what came first is no record of TLS */
    struct reaper reaper;
};

static const struct stream_ops TLS_OPS;

static void tls_free(struct tls *t);

static struct tls *tls_of(const struct stream *s)
{
    return (struct tls *)(void *)((char *)(uintptr_t)s - offsetof(struct tls, stream));
}

/* ---- between GnuTLS and the stream below ---- */

static ssize_t pull(gnutls_transport_ptr_t ptr, void *to, size_t n)
{
    struct tls *t = ptr;
    if (buf_is_empty(&t->in)) {
        int r = stream_read(t->under, &t->in, RAW_BYTES_MAX);
        if (r == ERR_EOF)
            return 0;
        if (r < 0) {
            t->under_err = r == ERR_AGAIN ? t->under_err : r;
            gnutls_transport_set_errno(t->session, r == ERR_AGAIN ? EAGAIN : EIO);
            return -1;
        }
    }
    size_t got = buf_copy(&t->in, 0, to, n);
    /* The first byte of all tells TLS from anything else (RFC 8446 §5.1). */
    if (t->pulled == 0 && got > 0)
        t->is_not_tls = *(const uint8_t *)to < 20 || *(const uint8_t *)to > 24;
    buf_drop(&t->in, got);
    t->pulled += got;
    return (ssize_t)got;
}

static int pull_timeout(gnutls_transport_ptr_t ptr, unsigned ms)
{
    (void)ptr;
    (void)ms;
    return 1; /* never waits: pull says EAGAIN */
}

static ssize_t push(gnutls_transport_ptr_t ptr, const giovec_t *iov, int count)
{
    struct tls *t = ptr;
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += iov[i].iov_len;
    if (total > buf_room(&t->out)) {
        gnutls_transport_set_errno(t->session, EAGAIN);
        return -1;
    }
    for (int i = 0; i < count; i++)
        if (buf_put(&t->out, slice_of(iov[i].iov_base, iov[i].iov_len)) < 0) {
            gnutls_transport_set_errno(t->session, ENOMEM);
            return -1;
        }
    return (ssize_t)total;
}

static int flush(struct tls *t)
{
    int r = buf_is_empty(&t->out) ? 0 : stream_write(t->under, &t->out);
    if (r < 0 && r != ERR_AGAIN)
        t->under_err = r;
    return r;
}

static int die(struct tls *t, int err)
{
    if (t->err == 0)
        t->err = err;
    return t->err;
}

static int translate(struct tls *t, int code)
{
    if (code == GNUTLS_E_PREMATURE_TERMINATION)
        return die(t, ERR_CUT);
    if (t->under_err < 0 && (code == GNUTLS_E_PULL_ERROR || code == GNUTLS_E_PUSH_ERROR))
        return die(t, t->under_err);
    bool is_alert = code == GNUTLS_E_FATAL_ALERT_RECEIVED;
    if (t->fault == TLS_FAULT_NONE)
        t->fault = t->is_not_tls ? TLS_FAULT_NOT_TLS
                   : is_alert && gnutls_alert_get(t->session) == GNUTLS_A_CERTIFICATE_REQUIRED
                       ? TLS_FAULT_WANTED
                       : TLS_FAULT_OTHER;
    if (t->failure[0] == 0 && t->is_not_tls) {
        (void)snprintf(t->failure, sizeof t->failure, "what came is not TLS");
    } else if (t->failure[0] == 0) {
        const char *alert = is_alert ? gnutls_alert_get_name(gnutls_alert_get(t->session)) : NULL;
        (void)snprintf(t->failure, sizeof t->failure, "%s%s%s", gnutls_strerror(code),
                       alert != NULL ? " " : "", alert != NULL ? alert : "");
    }
    return die(t,
               code == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR || code == GNUTLS_E_CERTIFICATE_ERROR
                   ? ERR_CERT
                   : ERR_TLS);
}

/* ---- handshake ---- */

/* The client's SNI in lower case; "" when it sent none, or something that is no hostname. */
static void take_sni(struct tls *t)
{
    size_t n = sizeof t->name - 1;
    unsigned kind;
    if (gnutls_server_name_get(t->session, t->name, &n, &kind, 0) != 0 || kind != GNUTLS_NAME_DNS ||
        strlen(t->name) != n)
        t->name[0] = 0;
    for (char *c = t->name; *c != 0; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c |= 0x20;
}

const struct tls_cert *tls_session_cert(gnutls_session_t session)
{
    struct tls *t = gnutls_session_get_ptr(session);
    take_sni(t);
    if (t->cert == NULL && t->creds->choose != NULL)
        t->cert = t->creds->choose(t->creds->choose_ctx, t->name);
    if (t->cert == NULL)
        t->cert = tls_cert_ref(t->creds->own);
    return t->cert;
}

static void take_names(struct tls *t)
{
    gnutls_datum_t alpn;
    if (gnutls_alpn_get_selected_protocol(t->session, &alpn) == 0)
        (void)snprintf(t->alpn, sizeof t->alpn, "%.*s", (int)alpn.size, (const char *)alpn.data);
    if (t->creds->is_server)
        take_sni(t); /* a resumed session shows no certificate */
}

static void handshake(struct tls *t)
{
    int r;
    do {
        r = gnutls_handshake(t->session);
    } while (r < 0 && r != GNUTLS_E_AGAIN && gnutls_error_is_fatal(r) == 0);
    if (r == GNUTLS_E_AGAIN)
        return;
    if (r == 0) {
        t->is_ready = true;
        take_names(t);
        return;
    }
    if (r == GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR)
        t->fault = tls_explain_certificate(t->session, t->name, t->failure, sizeof t->failure);
    (void)gnutls_alert_send_appropriate(t->session, r); /* the peer learns why, if it still can */
    (void)translate(t, r);
}

/* Ends the direction below once everything is out. */
static void finish_under(struct tls *t)
{
    if (flush(t) == 0)
        stream_finish(t->under);
}

static void tls_run(struct task *task)
{
    struct tls *t = container_of(task, struct tls, task);
    bool is_late = deadline_take(&t->linger);
    if (t->err == 0 && !t->is_ready)
        handshake(t);
    if (t->is_finished)
        finish_under(t);
    else
        (void)flush(t);
    if (t->is_released) {
        if (is_late || t->under_err < 0 || buf_is_empty(&t->out))
            tls_free(t);
        return;
    }
    if (t->is_full && buf_len(&t->out) < RAW_BYTES_MAX / 2)
        t->is_full = false;
    task_wake(t->stream.owner);
}

/* ---- the five verbs ---- */

static int record_error(struct tls *t, ssize_t n)
{
    if (n == GNUTLS_E_AGAIN || n == GNUTLS_E_INTERRUPTED)
        return ERR_AGAIN;
    if (n == GNUTLS_E_REHANDSHAKE || (n < 0 && gnutls_error_is_fatal((int)n) == 0))
        return 0; /* once more */
    return translate(t, (int)n);
}

static int tls_read(struct stream *s, struct buf *to, size_t max)
{
    struct tls *t = tls_of(s);
    size_t total = 0, out_before = buf_len(&t->out);
    if (t->err < 0)
        return t->err;
    if (t->is_eof)
        return ERR_EOF;
    if (!t->is_ready)
        return ERR_AGAIN;
    if (max == 0) {
        int r = stream_read(t->under, &t->in, 0);
        if (r < 0 && r != ERR_AGAIN && r != ERR_EOF)
            return r;
        bool has_records = gnutls_record_check_pending(t->session) > 0 || !buf_is_empty(&t->in);
        return has_records ? 0 : r == ERR_EOF ? ERR_AGAIN : r;
    }
    while (total < max) {
        size_t room;
        size_t want = t->is_bulk ? RECORD_BYTES : CHUNK_BYTES_SMALL / 2;
        uint8_t *p = buf_reserve(to, max - total < want ? max - total : want, &room);
        if (p == NULL)
            return total > 0 ? 0 : buf_room(to) > 0 ? ERR_NOMEM : ERR_AGAIN;
        if (room > max - total)
            room = max - total;
        uint64_t before = t->pulled;
        ssize_t n = gnutls_record_recv(t->session, p, room);
        buf_commit(to, n > 0 ? (size_t)n : 0);
        if (n > 0) {
            t->is_bulk = (size_t)n >= CHUNK_BYTES_SMALL / 2;
            total += (size_t)n;
            continue;
        }
        /* A session ticket or a key update is said as AGAIN too, however much waits behind it. */
        if (n == GNUTLS_E_AGAIN && !buf_is_empty(&t->in) && t->pulled != before)
            continue;
        if (n == 0)
            t->is_eof = true;
        int r = n == 0 ? ERR_EOF : record_error(t, n);
        if (r == 0)
            continue;
        if (buf_len(&t->out) > out_before)
            task_wake(&t->task); /* what GnuTLS had to say: key updates, alerts */
        return total > 0 ? 0 : r;
    }
    return 0;
}

static int tls_write(struct stream *s, struct buf *from)
{
    struct tls *t = tls_of(s);
    int r = 0;
    if (t->err < 0)
        return t->err;
    if (t->is_finished)
        return ERR_CLOSED;
    if (!t->is_ready)
        return ERR_AGAIN;
    while (!buf_is_empty(from)) {
        struct slice front = slice_sub(buf_front(from), 0, RECORD_BYTES);
        if (buf_room(&t->out) < RECORD_BYTES + 512) {
            r = flush(t);
            if (r == ERR_AGAIN || buf_room(&t->out) < RECORD_BYTES + 512) {
                t->is_full = true;
                return ERR_AGAIN;
            }
            if (r < 0)
                return die(t, r);
        }
        ssize_t n = gnutls_record_send(t->session, front.p, front.n);
        if (n < 0) {
            r = record_error(t, n);
            if (r < 0)
                return r;
            continue;
        }
        buf_drop(from, (size_t)n);
    }
    r = flush(t);
    return r == ERR_AGAIN ? 0 : r < 0 ? die(t, r) : 0;
}

static void tls_finish(struct stream *s)
{
    struct tls *t = tls_of(s);
    if (t->is_finished || t->err < 0)
        return;
    t->is_finished = true;
    if (t->is_ready)
        (void)gnutls_bye(t->session, GNUTLS_SHUT_WR);
    finish_under(t);
}

static void tls_abort(struct stream *s, int why)
{
    struct tls *t = tls_of(s);
    (void)die(t, why < 0 ? why : ERR_CLOSED);
    t->under_err = t->err; /* nothing can be sent any more */
    stream_abort(t->under, why);
}

static void reap(struct reaper *r)
{
    struct tls *t = container_of(r, struct tls, reaper);
    gnutls_deinit(t->session);
    buf_done(&t->in);
    buf_done(&t->out);
    tls_cert_unref(t->cert);
    tls_creds_unref(t->creds);
    free(t);
}

static void tls_free(struct tls *t)
{
    stream_release(t->under);
    list_remove(&t->lingerer.node);
    deadline_clear(&t->linger);
    task_done(&t->task);
    loop_reap(t->loop, &t->reaper, reap);
}

static void tls_linger_end(struct lingerer *l)
{
    tls_free(container_of(l, struct tls, lingerer));
}

static void tls_release(struct stream *s)
{
    struct tls *t = tls_of(s);
    t->stream.owner = NULL;
    t->is_released = true;
    if (!t->is_finished && t->err == 0)
        tls_abort(s, ERR_CLOSED);
    if (t->under_err == 0) {
        /* After a failed handshake the alert is delivered like any last words. */
        t->is_finished = true;
        finish_under(t);
    }
    if (t->under_err < 0 || buf_is_empty(&t->out)) {
        tls_free(t);
        return;
    }
    loop_linger(t->loop, &t->lingerer, tls_linger_end);
    deadline_set(&t->linger, &t->task, loop_now(t->loop) + LINGER_NSEC);
}

static uint64_t tls_waiting(struct stream *s)
{
    struct tls *t = tls_of(s);
    return buf_len(&t->out) + stream_waiting(t->under);
}

static const struct stream_ops TLS_OPS = {
    .kind = "tls",
    .read = tls_read,
    .write = tls_write,
    .finish = tls_finish,
    .abort = tls_abort,
    .release = tls_release,
    .waiting = tls_waiting,
};

/* ---- making them ---- */

static int configure(struct tls *t)
{
    int r = gnutls_priority_set(t->session, t->creds->priority);
    if (r == 0)
        r = gnutls_credentials_set(t->session, GNUTLS_CRD_CERTIFICATE, t->creds->cert);
    if (r == 0 && t->creds->alpn_count > 0)
        r = gnutls_alpn_set_protocols(t->session, t->creds->alpn, t->creds->alpn_count, 0);
    if (r == 0 && t->creds->is_server)
        r = gnutls_session_ticket_enable_server(t->session, &t->creds->tickets);
    gnutls_session_set_ptr(t->session, t);
    gnutls_transport_set_ptr(t->session, t);
    gnutls_transport_set_pull_function(t->session, pull);
    gnutls_transport_set_pull_timeout_function(t->session, pull_timeout);
    gnutls_transport_set_vec_push_function(t->session, push);
    gnutls_handshake_set_timeout(t->session, GNUTLS_INDEFINITE_TIMEOUT); /* the owner's deadline */
    return r;
}

static int on_verify_pin(gnutls_session_t session)
{
    struct tls *t = gnutls_session_get_ptr(session);
    unsigned status = 0;
    const char *text = tls_pin_check(session, t->name, t->creds->pin, &status);
    if (text == NULL)
        return 0;
    t->fault = text[0] == 0 ? tls_fault_of_status(status) : TLS_FAULT_ISSUER;
    (void)snprintf(t->failure, sizeof t->failure, "certificate for %.60s: %s", t->name,
                   text[0] == 0 ? "not trusted" : text);
    return GNUTLS_E_CERTIFICATE_ERROR;
}

static int set_name(struct tls *t, struct slice name)
{
    struct addr ip;
    if (name.n == 0 || name.n >= sizeof t->name)
        return GNUTLS_E_INVALID_REQUEST;
    memcpy(t->name, name.p, name.n);
    int r = 0;
    if (addr_parse_ip(name, 0, &ip) < 0)
        r = gnutls_server_name_set(t->session, GNUTLS_NAME_DNS, t->name, name.n);
    if (r == 0 && t->creds->has_pin)
        gnutls_session_set_verify_function(t->session, on_verify_pin);
    else if (r == 0 && t->creds->verifies)
        gnutls_session_set_verify_cert(t->session, t->name, 0);
    return r;
}

static int tls_new(struct loop *loop, struct tls_creds *creds, struct slice name,
                   struct stream *under, struct task *owner, struct stream **ret)
{
    struct tls *t = calloc(1, sizeof *t);
    if (t == NULL)
        return ERR_NOMEM;
    unsigned flags =
        GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL | (creds->is_server ? GNUTLS_SERVER : GNUTLS_CLIENT);
    if (gnutls_init(&t->session, flags) < 0) {
        free(t);
        return ERR_NOMEM;
    }
    t->stream = (struct stream){ .ops = &TLS_OPS, .owner = owner };
    t->loop = loop;
    t->creds = tls_creds_ref(creds);
    t->under = under;
    list_init(&t->lingerer.node);
    buf_init(&t->in, loop_chunks(loop), RAW_BYTES_MAX);
    buf_init(&t->out, loop_chunks(loop), RAW_BYTES_MAX);
    int r = configure(t);
    if (r == 0 && !creds->is_server)
        r = set_name(t, name);
    if (r != 0) {
        reap(&t->reaper);
        return ERR_TLS;
    }
    task_init(&t->task, loop, tls_run);
    under->owner = &t->task;
    task_wake(&t->task);
    *ret = &t->stream;
    return 0;
}

int tls_accept(struct loop *loop, struct tls_creds *creds, struct stream *under, struct task *owner,
               struct stream **ret)
{
    return tls_new(loop, creds, (struct slice){ 0 }, under, owner, ret);
}

int tls_connect(struct loop *loop, struct tls_creds *creds, struct slice name, struct stream *under,
                struct task *owner, struct stream **ret)
{
    return tls_new(loop, creds, name, under, owner, ret);
}

bool tls_is_ready(const struct stream *s)
{
    return tls_of(s)->is_ready;
}

const char *tls_alpn(const struct stream *s)
{
    return tls_of(s)->alpn;
}

const char *tls_sni(const struct stream *s)
{
    return tls_of(s)->name;
}

enum tls_fault tls_fault_of(const struct stream *s)
{
    return tls_of(s)->fault;
}

const char *tls_failure(const struct stream *s)
{
    return tls_of(s)->failure;
}
