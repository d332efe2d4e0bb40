#pragma once
/* A rule's client certificate as it is now: when its files are others than those that were read,
 * credentials are made of them for the connections that begin from then on. They are looked at when
 * a request is on its way, once a second at most; what cannot be read, or is half of a new pair, is
 * told and left for the next second, and the old ones serve on. Counted; any thread (a lock is held
 * for as long as a pointer is copied). */
#include "base/clock.h"
#include "connector/ingress.h"

struct client_identity;

/* Before the rule's files are read for the first time. NULL when memory is short. */
struct client_identity *client_identity_new(const struct rule *r);
struct client_identity *client_identity_ref(struct client_identity *i);
void client_identity_unref(struct client_identity *i); /* NULL is accepted */

/* What the rule's next connection is made with: counted. Of a rule without a client certificate
 * that is what the rule was made with. */
struct tls_creds *rule_creds(const struct rule *r, bool offers_h2, nsec now);
