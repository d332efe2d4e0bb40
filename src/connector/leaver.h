#pragma once
/* A transport that another one has replaced: unregistered already, it serves what is under way, for
 * a grace period at most. Loop thread. */
#include "connector/control_client.h"
#include "connector/transport.h"

struct leaver;

/* Takes over the transport and its control client, which is moved (the caller's is zeroed). `owner`
 * is woken when it is over. NULL when memory is short: then nothing was taken. */
struct leaver *leaver_new(struct transport *t, struct control_client *control, struct serve *serve,
                          unsigned index, nsec grace, struct task *owner);
bool leaver_is_over(const struct leaver *l);
/* Closes what is left. NULL is accepted. */
void leaver_free(struct leaver *l);
