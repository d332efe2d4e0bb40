#include "connector/failover.h"

#include "base/err.h"
#include "base/log.h"

static void is_back(struct serve *s, const struct upstream_turn *t)
{
    metric_add(s->metrics, SERVE_services_up, 1);
    log_info("service is back", LSLICE("service", t->at->service.text));
}

static void is_down(struct serve *s, struct slice service, const char *why, nsec wait)
{
    metric_add(s->metrics, SERVE_services_down, 1);
    log_warn("service is down", LSLICE("service", service), LSTR("why", why),
             LU64("again_ms", wait / NSEC_PER_MSEC));
}

const struct service *failover_next(struct serve *s, struct upstream_turn *t)
{
    nsec now = loop_now(s->loop);
    const struct upstream *silent;
    if (t->of == NULL)
        return NULL;
    while ((silent = upstream_fell_silent(t->of, now)) != NULL)
        is_down(s, silent->service.text, "it takes requests and answers none",
                atomic_load_explicit(&silent->retry_at, memory_order_relaxed) - now);
    return upstream_next(t, now);
}

void failover_reached(struct serve *s, struct upstream_turn *t)
{
    if (upstream_reached(t))
        is_back(s, t);
}

bool failover_missed(struct serve *s, struct upstream_turn *t, int err, const char *why)
{
    nsec wait;
    if (t->at == NULL || err == ERR_NOMEM || err == ERR_LIMIT || err == ERR_UNSUPPORTED)
        return false;
    struct slice service = t->at->service.text;
    if (upstream_missed(t, loop_now(s->loop), loop_rng(s->loop), &wait))
        is_down(s, service, why, wait);
    if (!upstream_has_more(t))
        return false;
    metric_add(s->metrics, SERVE_moves, 1);
    return true;
}

void failover_asked(struct serve *s, struct upstream_turn *t)
{
    upstream_asked(t, loop_now(s->loop));
}

void failover_answered(struct serve *s, struct upstream_turn *t)
{
    if (upstream_answered(t, loop_now(s->loop)))
        is_back(s, t);
}

void failover_silent(struct serve *s, struct upstream_turn *t, const char *why)
{
    nsec wait;
    struct slice service = t->at != NULL ? t->at->service.text : (struct slice){ 0 };
    if (upstream_was_silent(t, loop_now(s->loop), loop_rng(s->loop), &wait))
        is_down(s, service, why, wait);
}
