#include "edge/attempt.h"

#include "base/err.h"
#include "edge/edge_int.h"
#include "tunnel/metadata.h"

/* Between workers a stream goes in the form of QUIC's, with all that we can. */
static int start_across(struct attempt *a, struct edge_worker *w, struct exchange *ex,
                        struct task *task)
{
    struct stream *s;
    struct edge_worker *far = &w->edge->workers[a->link->worker];
    struct bridge_request *request = bridge_request_new(far, a->link->session);
    if (request == NULL)
        return ERR_NOMEM;
    metric_add(w->metrics, EDGE_crossed, 1);
    int r = cross_open(w->loop, task, a->link->mailbox, far->loop, bridge_accept, bridge_drop,
                       request, &s);
    if (r < 0) {
        bridge_drop(request);
        return r;
    }
    unsigned extensions = a->link->is_h2 ? EXTENSIONS_ALL : a->link->extensions;
    a->kind = ATTEMPT_STREAM;
    return tunnel_client_init(&a->stream, ex, s, extensions);
}

static int start_here(struct attempt *a, struct edge_worker *w, struct exchange *ex,
                      struct task *task)
{
    struct carrier *carrier;
    struct stream *s;
    struct session *session = session_find(w, a->link->session);
    int r = session != NULL ? session_carrier(session, &carrier) : ERR_CLOSED;
    if (r < 0)
        return r;
    if (carrier->h2 != NULL) {
        ex->extensions = a->link->extensions;
        a->kind = ATTEMPT_H2;
        return h2_client_init(&a->h2, ex, carrier->h2, task, &TUNNEL_H2_CLIENT);
    }
    r = quic_conn_open(carrier->quic, task, &s);
    if (r < 0)
        return r;
    a->kind = ATTEMPT_STREAM;
    return tunnel_client_init(&a->stream, ex, s, a->link->extensions);
}

int attempt_start(struct attempt *a, struct edge_worker *w, struct link *l, struct exchange *ex,
                  struct task *task)
{
    *a = (struct attempt){ .link = link_ref(l), .is_counted = true };
    atomic_fetch_add_explicit(&l->in_flight, 1, memory_order_relaxed);
    int r = l->worker == w->index ? start_here(a, w, ex, task) : start_across(a, w, ex, task);
    if (r < 0)
        attempt_end(a);
    return r;
}

int attempt_carry(struct attempt *a, struct edge_worker *w, struct link *l, struct exchange *ex,
                  struct task *task)
{
    *a = (struct attempt){ .link = link_ref(l) };
    int r = start_here(a, w, ex, task);
    if (r < 0)
        attempt_end(a);
    return r;
}

int attempt_run(struct attempt *a)
{
    return a->kind == ATTEMPT_H2 ? h2_client_run(&a->h2) : tunnel_client_run(&a->stream);
}

bool attempt_is_unanswered(const struct attempt *a)
{
    return a->kind == ATTEMPT_H2 ? !a->h2.got_any : tunnel_client_is_unanswered(&a->stream);
}

bool attempt_took_body(const struct attempt *a)
{
    return a->kind == ATTEMPT_H2 ? a->h2.body_taken : a->stream.body_taken;
}

bool attempt_has_sent_head(const struct attempt *a)
{
    return a->kind == ATTEMPT_H2 || a->stream.state != TC_HEAD;
}

const char *attempt_cause(const struct attempt *a)
{
    const char *cause = a->kind == ATTEMPT_H2 ? a->h2.text : a->stream.cause;
    bool has_preface = slice_starts(slice_str(cause), SLICE(TUNNEL_UNREACHABLE));
    return has_preface ? cause + strlen(TUNNEL_UNREACHABLE) : cause;
}

enum failure attempt_failure(const struct attempt *a)
{
    return a->kind == ATTEMPT_H2 ? a->h2.failure : a->stream.failure;
}

void attempt_note_lent(struct attempt *a)
{
    a->is_lent = true;
    atomic_fetch_add_explicit(&a->link->lent, 1, memory_order_relaxed);
}

void attempt_end(struct attempt *a)
{
    if (a->is_lent)
        atomic_fetch_sub_explicit(&a->link->lent, 1, memory_order_relaxed);
    a->is_lent = false;
    if (a->kind == ATTEMPT_H2)
        h2_client_done(&a->h2);
    else if (a->kind == ATTEMPT_STREAM)
        tunnel_client_done(&a->stream);
    if (a->is_counted)
        atomic_fetch_sub_explicit(&a->link->in_flight, 1, memory_order_relaxed);
    a->is_counted = false;
    link_unref(a->link);
    a->link = NULL;
    a->kind = ATTEMPT_NONE;
}
