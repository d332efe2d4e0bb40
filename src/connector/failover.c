#include "connector/failover.h"

#include "base/err.h"
#include "base/log.h"

void failover_reached(struct serve *s, struct upstream_turn *t)
{
    if (!upstream_reached(t))
        return;
    metric_add(s->metrics, SERVE_services_up, 1);
    log_info("service is back", LSLICE("service", t->at->service.text));
}

bool failover_missed(struct serve *s, struct upstream_turn *t, int err, const char *why)
{
    nsec wait;
    if (t->at == NULL || err == ERR_NOMEM || err == ERR_LIMIT || err == ERR_UNSUPPORTED)
        return false;
    struct slice service = t->at->service.text;
    if (upstream_missed(t, loop_now(s->loop), loop_rng(s->loop), &wait)) {
        metric_add(s->metrics, SERVE_services_down, 1);
        log_warn("service is down", LSLICE("service", service), LSTR("why", why),
                 LU64("again_ms", wait / NSEC_PER_MSEC));
    }
    if (!upstream_has_more(t))
        return false;
    metric_add(s->metrics, SERVE_moves, 1);
    return true;
}
