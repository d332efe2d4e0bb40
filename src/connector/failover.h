#pragma once
/* What a call to an origin does with a rule's several services (upstreams.h): the same for HTTP and
 * for streams of bytes, with the counts and the lines of the log. Loop thread. */
#include "connector/serve.h"
#include "connector/upstreams.h"

/* Whom to ask next (upstream_next), after a look at who answers at all. NULL also when the rule has
 * one service alone. */
const struct service *failover_next(struct serve *s, struct upstream_turn *t);
/* A new connection to the service stands. */
void failover_reached(struct serve *s, struct upstream_turn *t);
/* The service could not be reached, and nothing was sent to it. True when another is to be asked in
 * its place; what is short here says nothing of it. Without effect when no service was chosen. */
bool failover_missed(struct serve *s, struct upstream_turn *t, int err, const char *why);
/* The service has the whole request; it answered; it did not in its time, and is left. */
void failover_asked(struct serve *s, struct upstream_turn *t);
void failover_answered(struct serve *s, struct upstream_turn *t);
void failover_silent(struct serve *s, struct upstream_turn *t, const char *why);
