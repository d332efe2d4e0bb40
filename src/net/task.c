#include "net/loop_int.h"

void task_init(struct task *t, struct loop *loop, void (*run)(struct task *))
{
    *t = (struct task){ .run = run, .loop = loop };
    list_init(&t->node);
}

void task_init_late(struct task *t, struct loop *loop, void (*run)(struct task *))
{
    task_init(t, loop, run);
    t->late = true;
}

void task_wake(struct task *t)
{
    if (t == NULL || list_has_neighbours(&t->node))
        return;
    list_push_back(t->late ? &t->loop->late : &t->loop->tasks, &t->node);
    loop_stir(t->loop);
}

void task_done(struct task *t)
{
    if (t->loop != NULL)
        list_remove(&t->node);
}
