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
    mailbox_unref(r->reply);
    free(r);
}
