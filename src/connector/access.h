#pragma once
/* The guard of a rule with `access.required`: who comes without a token of its issuer for its
 * audience does not reach the service (docs/configuration.md). Loop thread. */
#include "connector/serve.h"

/* True: the exchange may go on now. False: it has its answer, or serve_admitted will be called for
 * it once the issuer's keys are there. */
bool access_admit(struct serve *s, struct exchange *ex, const struct rule *rule);

/* serve.c: takes a rule's exchange to its service; the rule is one of `rules`. */
void serve_admitted(struct serve *s, struct exchange *ex, const struct rule *rule,
                    struct ingress *rules);
