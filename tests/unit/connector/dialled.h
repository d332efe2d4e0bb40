#pragma once
/* Transports that the test makes: what a dial would bring is laid down beforehand, and what is done
 * with them is noted. A program that includes this is linked with transport_dial_quic and
 * transport_dial_h2 wrapped. */
#include "connector/race.h"
#include "net/turn.h"

struct dialled {
    struct transport base;
    enum transport_state state;
    bool has_heard, is_idle;
    unsigned closed, served, drained;
    struct task *owner;
    int dial_err; /* what dialling itself says */
    unsigned dialled;
};

static struct dialled by_kind[TRANSPORT_KINDS];

static struct dialled *dialled_of(const struct transport *t)
{
    return container_of((struct transport *)(uintptr_t)t, struct dialled, base);
}

static enum transport_state dialled_state(struct transport *t)
{
    return dialled_of(t)->state;
}

static bool dialled_has_heard(const struct transport *t)
{
    return dialled_of(t)->has_heard;
}

static int dialled_why(struct transport *t, const char **ret_text)
{
    *ret_text = t->ops->kind == TRANSPORT_QUIC ? "nobody there" : "no TLS";
    return t->ops->kind == TRANSPORT_QUIC ? ERR_TIMEOUT : ERR_TLS;
}

static void dialled_serve(struct transport *t, struct serve *s, unsigned index, unsigned extensions)
{
    (void)s;
    (void)index;
    (void)extensions;
    dialled_of(t)->served++;
}

static void dialled_drain(struct transport *t)
{
    dialled_of(t)->drained++;
}

static bool dialled_is_idle(const struct transport *t)
{
    return dialled_of(t)->is_idle;
}

static void dialled_set_owner(struct transport *t, struct task *owner)
{
    dialled_of(t)->owner = owner;
}

static void dialled_close(struct transport *t)
{
    dialled_of(t)->closed++;
}

#define DIALLED_OPS(which)                                                                         \
    {                                                                                              \
        .kind = which, .state = dialled_state, .has_heard = dialled_has_heard, .why = dialled_why, \
        .serve = dialled_serve, .drain = dialled_drain, .is_idle = dialled_is_idle,                \
        .set_owner = dialled_set_owner, .close = dialled_close,                                    \
    }

static const struct transport_ops DIALLED[] = { DIALLED_OPS(TRANSPORT_QUIC),
                                                DIALLED_OPS(TRANSPORT_H2) };

static int dial(enum transport_kind kind, const struct transport_dial *d, struct transport **ret)
{
    struct dialled *t = &by_kind[kind];
    t->dialled++;
    t->base = (struct transport){ .ops = &DIALLED[kind], .loop = d->loop };
    if (t->dial_err == 0)
        *ret = &t->base;
    return t->dial_err;
}

int __wrap_transport_dial_quic(const struct transport_dial *d, struct transport **ret);
int __wrap_transport_dial_quic(const struct transport_dial *d, struct transport **ret)
{
    return dial(TRANSPORT_QUIC, d, ret);
}

int __wrap_transport_dial_h2(const struct transport_dial *d, struct transport **ret);
int __wrap_transport_dial_h2(const struct transport_dial *d, struct transport **ret)
{
    return dial(TRANSPORT_H2, d, ret);
}
