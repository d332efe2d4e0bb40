#include "prog/edge_rollout.h"

#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "prog/edge_control.h"

/* ---- telling ---- */

/* A link of this connector that takes calls, and another than the last one where there is one; 0
 * when there is none. */
static uint64_t link_of(const struct live *live, const struct rollout_job *job)
{
    uint64_t found = 0;
    for (const struct live_conn *conn = live_first(live, &job->tunnel); conn != NULL;
         conn = live_next(live, conn))
        if (uuid_eq(&conn->connector, &job->connector) && !conn->is_draining &&
            (found == 0 || found == job->last_link))
            found = conn->link;
    return found;
}

static int load(struct edge_control *c, const struct rollout_job *job, struct config_push **ret)
{
    struct store_config found;
    int r = store_config_get(c->api.store, &job->tunnel, &found);
    if (r < 0)
        return r;
    struct config_push *p = config_push_new(slice_str(found.json));
    free(found.json);
    if (p == NULL)
        return ERR_NOMEM;
    p->plane_ctx = c;
    p->tunnel = job->tunnel;
    p->connector = job->connector;
    p->version = found.version;
    *ret = p;
    return 0;
}

static void tell(struct edge_control *c, const struct rollout_job *job)
{
    struct config_push *p;
    char tunnel[UUID_TEXT_BYTES], connector[UUID_TEXT_BYTES];
    uint64_t link = link_of(c->api.live, job);
    if (link == 0) {
        rollout_pass(c->api.rollout, job);
        return;
    }
    int r = load(c, job, &p);
    rollout_began(c->api.rollout, job, link, r == 0 ? p->version : 0);
    if (r < 0) {
        log_error("a configuration cannot be read", LSTR("tunnel", uuid_text(&job->tunnel, tunnel)),
                  LERR(r));
        (void)rollout_failed(c->api.rollout, &job->tunnel, &job->connector, link, loop_now(c->loop),
                             rng_next(loop_rng(c->loop)));
        return;
    }
    log_debug("configuration is sent", LSTR("tunnel", uuid_text(&job->tunnel, tunnel)),
              LSTR("connector", uuid_text(&job->connector, connector)),
              LI64("version", p->version));
    p->link = link;
    edge_configure(c->edge, p);
}

static void run(struct task *t)
{
    struct edge_control *c = container_of(t, struct edge_control, rollout);
    struct rollout_job job;
    nsec due, now = loop_now(c->loop);
    (void)deadline_take(&c->rollout_due);
    if (c->edge == NULL)
        return;
    while (rollout_next(c->api.rollout, now, &job, &due))
        tell(c, &job);
    if (due != 0)
        deadline_set(&c->rollout_due, &c->rollout, due);
}

void edge_rollout_open(struct edge_control *c)
{
    task_init(&c->rollout, c->loop, run);
}

void edge_rollout_close(struct edge_control *c)
{
    deadline_clear(&c->rollout_due);
    task_done(&c->rollout);
}

void edge_rollout_wake(struct edge_control *c)
{
    task_wake(&c->rollout);
}

/* ---- what came of it ---- */

static void log_outcome(const struct config_push *p, enum rollout_outcome outcome)
{
    char tunnel[UUID_TEXT_BYTES], connector[UUID_TEXT_BYTES];
    (void)uuid_text(&p->tunnel, tunnel);
    (void)uuid_text(&p->connector, connector);
    switch (outcome) {
    case ROLLOUT_APPLIED:
        log_info("configuration applied", LSTR("tunnel", tunnel), LSTR("connector", connector),
                 LI64("version", p->version), LI64("in_force", p->applied));
        break;
    case ROLLOUT_REFUSED:
        log_warn("configuration refused by its connector", LSTR("tunnel", tunnel),
                 LSTR("connector", connector), LI64("version", p->version),
                 LI64("in_force", p->applied), LSTR("why", p->text));
        break;
    case ROLLOUT_AGAIN:
        log_warn("configuration not taken: it will be sent again", LSTR("tunnel", tunnel),
                 LSTR("connector", connector), LI64("version", p->version),
                 LSTR("why", p->text[0] != 0 ? p->text
                             : p->err < 0    ? err_text(p->err)
                                             : "the connector has an older one in force"));
        break;
    case ROLLOUT_PAST:
        break;
    }
}

static void configured_drop(struct mail *m)
{
    config_push_free(container_of(m, struct config_push, mail));
}

static void configured_deliver(struct mail *m)
{
    struct config_push *p = container_of(m, struct config_push, mail);
    struct edge_control *c = p->plane_ctx;
    nsec now = loop_now(c->loop);
    uint64_t chance = rng_next(loop_rng(c->loop));
    enum rollout_outcome outcome =
        p->err < 0 ? rollout_failed(c->api.rollout, &p->tunnel, &p->connector, p->link, now, chance)
                   : rollout_answered(c->api.rollout, &p->tunnel, &p->connector, p->link,
                                      p->applied, p->text, now, chance);
    log_outcome(p, outcome);
    config_push_free(p);
    edge_rollout_wake(c);
}

void edge_rollout_configured(void *ctx, struct config_push *p)
{
    struct edge_control *c = ctx;
    p->mail = (struct mail){ .deliver = configured_deliver, .drop = configured_drop };
    mailbox_post(c->mailbox, &p->mail);
}

/* ---- rules of their own ---- */

static void keep_report(struct edge_control *c, const struct local_report *r)
{
    char tunnel[UUID_TEXT_BYTES];
    const struct live_conn *conn = live_find(c->api.live, r->link);
    json_t *value = NULL;
    if (conn == NULL)
        return;
    int e = json_parse_last_wins(r->json, &value, NULL);
    if (e == 0 && !json_is_object(value))
        e = ERR_PARSE;
    json_decref(value);
    if (e == 0)
        e = live_report(c->api.live, &conn->tunnel, r->json);
    if (e < 0)
        log_warn("the rules that a connector told of are not kept",
                 LSTR("tunnel", uuid_text(&conn->tunnel, tunnel)), LERR(e));
}

static void reported_drop(struct mail *m)
{
    local_report_free(container_of(m, struct local_report, mail));
}

static void reported_deliver(struct mail *m)
{
    struct local_report *r = container_of(m, struct local_report, mail);
    keep_report(r->plane_ctx, r);
    r->mail = (struct mail){ .deliver = r->answer_deliver, .drop = r->answer_drop };
    mailbox_post(r->reply, &r->mail);
}

void edge_rollout_reported(void *ctx, struct local_report *r)
{
    struct edge_control *c = ctx;
    r->plane_ctx = c;
    r->mail = (struct mail){ .deliver = reported_deliver, .drop = reported_drop };
    mailbox_post(c->mailbox, &r->mail);
}
