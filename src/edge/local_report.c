/* What a connector serves by rules of its own (updateLocalConfiguration), on its way to the control
 * plane. */
#include "base/err.h"
#include "edge/edge_int.h"

static void report_drop(struct mail *m)
{
    local_report_free(container_of(m, struct local_report, mail));
}

/* It was taken. The session may be gone by now. */
static void report_deliver(struct mail *m)
{
    struct local_report *r = container_of(m, struct local_report, mail);
    struct session *s = session_find(r->answer_ctx, r->link);
    if (s != NULL)
        session_reported(s);
    local_report_free(r);
}

int local_report_send(struct edge_worker *w, uint64_t link, struct slice json)
{
    struct plane *plane = &w->edge->conf.plane;
    struct local_report *r = local_report_new(w->mailbox, json);
    if (r == NULL)
        return ERR_NOMEM;
    r->answer_deliver = report_deliver;
    r->answer_drop = report_drop;
    r->answer_ctx = w;
    r->link = link;
    plane->reported(plane->ctx, r);
    return 0;
}
