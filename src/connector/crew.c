#include "connector/crew.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"

struct member {
    struct worker *thread;
    struct loop *loop;
    struct list guests;
};

struct crew {
    unsigned count; /* that have started */
    struct member members[];
};

static int member_init(void *ctx, struct loop *loop)
{
    struct member *m = ctx;
    m->loop = loop;
    return 0;
}

static void member_done(void *ctx)
{
    struct member *m = ctx;
    while (!list_is_empty(&m->guests)) {
        struct crew_guest *guest = container_of(m->guests.next, struct crew_guest, node);
        list_remove(&guest->node);
        guest->done(guest);
    }
}

int crew_start(unsigned count, struct crew **ret)
{
    struct crew *c = calloc(1, sizeof *c + count * sizeof c->members[0]);
    int r = c != NULL ? 0 : ERR_NOMEM;
    for (unsigned i = 0; i < count && r == 0; i++) {
        char name[16];
        (void)snprintf(name, sizeof name, "connector-%u", i & 0xfff);
        list_init(&c->members[i].guests);
        r = worker_start(name, member_init, member_done, &c->members[i], &c->members[i].thread);
        c->count += r == 0;
    }
    if (r < 0)
        crew_stop(c);
    else
        *ret = c;
    return r;
}

unsigned crew_count(const struct crew *c)
{
    return c->count;
}

struct mailbox *crew_mailbox(struct crew *c, unsigned index)
{
    return worker_mailbox(c->members[index].thread);
}

struct loop *crew_loop(struct crew *c, unsigned index)
{
    return c->members[index].loop;
}

void crew_join(struct crew *c, unsigned index, struct crew_guest *guest)
{
    list_push_back(&c->members[index].guests, &guest->node);
}

void crew_stop(struct crew *c)
{
    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->count; i++) {
        worker_stop(c->members[i].thread);
        worker_join(c->members[i].thread);
    }
    free(c);
}
