#pragma once
/* From a rule to what its origin is reached by: the effects of originRequest and of the rule's
 * extras that concern the connection. Views of the rule and of the exchange. Loop thread. */
#include "connector/ingress.h"
#include "connector/origin.h"
#include "http/h1_head.h"

/* Times, keep-alive and how to dial, for HTTP origins and streams of bytes alike. Durations of 0
 * and less mean what they mean to the reference. */
void origin_target_tune(struct origin_target *t, const struct origin_request *o);
/* Where it goes, and with what TLS. `service` is the rule's or one of its further ones. Once the
 * exchange's host is what the origin is to see. */
void origin_target_aim(struct origin_target *t, const struct exchange *ex, const struct rule *rule,
                       const struct service *service);
/* Lets go of what aiming took hold of. */
void origin_target_done(struct origin_target *t);
/* The PROXY header that the rule asks for, if any, with the visitor as the edge tells it. While the
 * request is as it came. ERR_NOMEM. */
int origin_target_announce(struct origin_target *t, struct exchange *ex,
                           const struct rule_extras *x) __attribute__((warn_unused_result));
/* Once it is aimed: the proxy to it, if there is one. What begins with a PROXY header goes
 * directly, since the header would end at the proxy. */
void origin_target_route(struct origin_target *t, const struct origin_proxies *proxies);
/* How a request must be addressed for the proxy of an origin without TLS. ERR_NOMEM. */
int origin_target_address(const struct origin_target *t, struct exchange *ex,
                          struct h1_request_opts *ret) __attribute__((warn_unused_result));
