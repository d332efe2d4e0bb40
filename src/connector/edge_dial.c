#include "connector/edge_dial.h"

#include <stdio.h>

#include "base/err.h"
#include "connector/proxy_tunnel.h"

#define PROBE_NSEC (150 * NSEC_PER_SEC) /* of idle time: TCP's own, behind the PINGs above */

static int fail(struct edge_dial *d, int err, const char *why)
{
    if (d->goal.proxy != NULL)
        (void)snprintf(d->text, sizeof d->text, "the proxy %.*s: %s",
                       SLICE_FMT(d->goal.proxy->text), why);
    else
        (void)snprintf(d->text, sizeof d->text, "TCP: %s", why);
    return err;
}

static void dial_addrs(struct edge_dial *d, const struct addr *addrs, size_t count)
{
    const struct dial_opts opts = { .keepalive = PROBE_NSEC };
    dial_init(&d->dial, d->loop, addrs, count, &opts, d->task);
    d->step = DIAL_TCP;
}

int edge_dial_start(struct edge_dial *d, struct loop *loop, const struct edge_goal *goal,
                    struct task *task)
{
    const struct origin_proxy *proxy = goal->proxy;
    *d = (struct edge_dial){ .loop = loop, .task = task, .goal = *goal };
    buf_init(&d->in, loop_chunks(loop), PROXY_ANSWER_BYTES_MAX);
    if (proxy != NULL && proxy->scheme == PROXY_OTHER)
        return fail(d, ERR_UNSUPPORTED, "http, https or socks5 with a host is wanted");
    if (proxy != NULL && proxy->scheme == PROXY_HTTPS)
        d->proxy_tls = tls_creds_ref(goal->proxy_tls);
    if (proxy == NULL && goal->address.size > 0) {
        dial_addrs(d, &goal->address, 1);
        return 0;
    }
    int r = resolve_start(loop, proxy != NULL ? proxy->host : goal->host,
                          proxy != NULL ? proxy->port : goal->port, task, &d->resolve);
    return r < 0 ? fail(d, r, err_text(r)) : 0;
}

static int step_name(struct edge_dial *d)
{
    struct addr found[RESOLVE_ADDRS_MAX];
    size_t count = 0;
    int r = resolve_result(d->resolve, found, RESOLVE_ADDRS_MAX, &count);
    if (r < 0)
        return r == ERR_AGAIN ? r : fail(d, r, err_text(r));
    resolve_free(d->resolve);
    d->resolve = NULL;
    dial_addrs(d, found, count);
    return 0;
}

static int step_tcp(struct edge_dial *d)
{
    int r = dial_run(&d->dial, &d->under);
    if (r < 0)
        return r == ERR_AGAIN ? r : fail(d, r, err_text(r));
    tcp_local_addr(d->under, &d->local);
    d->step = d->proxy_tls != NULL ? DIAL_PROXY_TLS : DIAL_ASK;
    return 0;
}

static int step_proxy_tls(struct edge_dial *d)
{
    struct buf none;
    struct stream *tls;
    if (d->proxy_tls != NULL) {
        int r = tls_connect(d->loop, d->proxy_tls, d->goal.proxy->host, d->under, d->task, &tls);
        if (r < 0)
            return fail(d, r, err_text(r));
        d->under = tls;
        tls_creds_unref(d->proxy_tls);
        d->proxy_tls = NULL;
    }
    if (tls_is_ready(d->under)) {
        d->step = DIAL_ASK;
        return 0;
    }
    buf_init(&none, loop_chunks(d->loop), 0);
    int r = stream_read(d->under, &none, 0);
    buf_done(&none);
    if (r == 0 || r == ERR_AGAIN)
        return ERR_AGAIN;
    return fail(d, r, tls_failure(d->under)[0] != 0 ? tls_failure(d->under) : err_text(r));
}

static int ask(struct edge_dial *d)
{
    struct chunk_pool *chunks = loop_chunks(d->loop);
    const struct edge_goal *g = &d->goal;
    d->has_asked = true;
    if (g->proxy->scheme == PROXY_SOCKS5)
        return socks_ask_begin(&d->socks, d->under, chunks, g->proxy, g->host, g->port);
    return proxy_tunnel_ask(d->under, chunks, g->proxy, g->host, g->port);
}

static int hear(struct edge_dial *d)
{
    unsigned status = 0;
    char text[64];
    if (d->goal.proxy->scheme == PROXY_SOCKS5) {
        int r = socks_ask_run(&d->socks, d->under, loop_chunks(d->loop), &d->in);
        return r == ERR_DENIED ? fail(d, r, d->socks.text) : r;
    }
    int r = proxy_tunnel_answer(d->under, &d->in, &status);
    if (r != ERR_DENIED)
        return r;
    (void)snprintf(text, sizeof text, "it answers CONNECT with status %u%s", status,
                   status == 407 ? ", which asks for credentials" : "");
    return fail(d, r, text);
}

static int step_ask(struct edge_dial *d)
{
    int r = d->has_asked ? 0 : ask(d);
    if (r == 0)
        r = hear(d);
    if (r < 0 && r != ERR_AGAIN && d->text[0] == 0)
        (void)fail(d, r, r == ERR_PROTO ? "it answers with something else" : err_text(r));
    return r;
}

int edge_dial_run(struct edge_dial *d, struct stream **ret)
{
    static int (*const STEPS[])(struct edge_dial *) = {
        [DIAL_NAME] = step_name,
        [DIAL_TCP] = step_tcp,
        [DIAL_PROXY_TLS] = step_proxy_tls,
        [DIAL_ASK] = step_ask,
    };
    for (;;) {
        bool is_asked = d->goal.proxy != NULL &&
                        (!d->goal.is_forwarded || d->goal.proxy->scheme == PROXY_SOCKS5);
        bool is_through = d->step == DIAL_ASK && !is_asked;
        enum edge_dial_step step = d->step;
        int r = is_through ? 0 : STEPS[step](d);
        if (r < 0)
            return r;
        if (step != DIAL_ASK)
            continue;
        *ret = d->under;
        d->under = NULL;
        return 0;
    }
}

void edge_dial_done(struct edge_dial *d)
{
    if (d->loop == NULL)
        return;
    resolve_free(d->resolve);
    dial_done(&d->dial);
    stream_release(d->under);
    tls_creds_unref(d->proxy_tls);
    buf_done(&d->in);
    *d = (struct edge_dial){ 0 };
}
