#include "connector/leaver.h"

#include <stdlib.h>

#include "connector/race.h"

#define LINGER_NSEC (NSEC_PER_SEC / 4) /* requests that were on their way when the edge heard */

struct leaver {
    struct task task;
    struct deadline deadline;
    struct transport *transport;
    struct control_client control;
    struct serve *serve;
    unsigned index;
    nsec end;
    bool has_lingered;
    struct task *owner;
    struct reaper reaper;
};

static void close_now(struct leaver *l)
{
    deadline_clear(&l->deadline);
    control_client_done(&l->control);
    race_let_go(l->serve->metrics, l->transport);
    l->control = (struct control_client){ 0 };
    l->transport = NULL;
}

static void run(struct task *t)
{
    struct leaver *l = container_of(t, struct leaver, task);
    if (l->transport == NULL)
        return;
    bool is_due = deadline_take(&l->deadline);
    (void)control_client_run(&l->control);
    if (transport_state(l->transport) == TRANSPORT_OPEN)
        l->transport->ops->serve(l->transport, l->serve, l->index, l->control.extensions);
    if (is_due && !l->has_lingered) {
        l->has_lingered = true;
        is_due = false;
        deadline_set(&l->deadline, &l->task, l->end);
    }
    bool is_idle = l->has_lingered && l->transport->ops->is_idle(l->transport);
    if (!is_due && !is_idle && transport_state(l->transport) == TRANSPORT_OPEN)
        return;
    close_now(l);
    task_wake(l->owner);
}

struct leaver *leaver_new(struct transport *t, struct control_client *control, struct serve *serve,
                          unsigned index, nsec grace, struct task *owner)
{
    struct leaver *l = calloc(1, sizeof *l);
    if (l == NULL)
        return NULL;
    nsec now = loop_now_fresh(t->loop);
    l->transport = t;
    l->serve = serve;
    l->index = index;
    l->owner = owner;
    l->end = now + grace;
    task_init(&l->task, t->loop, run);
    control_client_move(control, &l->control, t->loop, &l->task);
    control_client_finish(&l->control);
    t->ops->set_owner(t, &l->task);
    t->ops->drain(t);
    deadline_set(&l->deadline, &l->task, now + (grace < LINGER_NSEC ? grace : LINGER_NSEC));
    task_wake(&l->task);
    return l;
}

bool leaver_is_over(const struct leaver *l)
{
    return l->transport == NULL;
}

static void reap(struct reaper *r)
{
    free(container_of(r, struct leaver, reaper));
}

void leaver_free(struct leaver *l)
{
    if (l == NULL)
        return;
    struct loop *loop = l->serve->loop;
    if (l->transport != NULL)
        close_now(l);
    task_done(&l->task);
    loop_reap(loop, &l->reaper, reap);
}
