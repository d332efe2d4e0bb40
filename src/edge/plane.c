#include "edge/plane.h"

#include <stdlib.h>
#include <string.h>

struct registration *registration_new(struct mailbox *reply)
{
    struct registration *r = calloc(1, sizeof *r);
    if (r != NULL)
        r->reply = mailbox_ref(reply);
    return r;
}

void registration_free(struct registration *r)
{
    if (r == NULL)
        return;
    explicit_bzero(r->secret, sizeof r->secret);
    link_gauge_unref(r->gauge);
    mailbox_unref(r->reply);
    free(r);
}

/* ---- what has a text behind it ---- */

static struct slice copy_behind(void *end, struct slice text)
{
    if (text.n > 0)
        memcpy(end, text.p, text.n);
    return slice_of(end, text.n);
}

struct config_push *config_push_new(struct slice json)
{
    struct config_push *p = calloc(1, sizeof *p + json.n);
    if (p != NULL)
        p->json = copy_behind(p + 1, json);
    return p;
}

void config_push_free(struct config_push *p)
{
    free(p);
}

struct local_report *local_report_new(struct mailbox *reply, struct slice json)
{
    struct local_report *r = calloc(1, sizeof *r + json.n);
    if (r == NULL)
        return NULL;
    r->json = copy_behind(r + 1, json);
    r->reply = mailbox_ref(reply);
    return r;
}

void local_report_free(struct local_report *r)
{
    if (r == NULL)
        return;
    mailbox_unref(r->reply);
    free(r);
}
