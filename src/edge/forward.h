#pragma once
/* The filter that tells the origin who asks: forwarded headers as the reference's edge sets them.
 * Loop thread. */
#include "http/exchange.h"
#include "net/addr.h"

#define RAY_BYTES 24
#define FORWARD_LOOPS_MAX                                                                          \
    8 /* edges behind each other; more is an origin that leads back to itself */

#define RAY_SUFFIX "-ADT"
/* "<16 hex digits>-ADT": the request id in the shape of Cf-Ray. Returns text. */
char *forward_ray(const struct exchange *ex, char text[static RAY_BYTES]);
/* How many times an edge of Adit has forwarded this request already, by its Cdn-Loop (RFC 8586). */
unsigned forward_loops(const struct exchange *ex);
/* Replaces what a visitor might have forged and adds Cf-Ray, Cf-Connecting-IP, Cf-Visitor,
 * X-Forwarded-For, X-Forwarded-Proto, Cdn-Loop; and Accept-Encoding where there is none, because
 * the reference's connector would add gzip. ERR_LIMIT, ERR_NOMEM. */
int forward_request(struct exchange *ex, const struct addr *visitor, const char *scheme)
    __attribute__((warn_unused_result));
/* Takes out of the request's trailers, when they have come, what only the edge may say: a program
 * that merges trailers into the head must not be told another address. */
void forward_trailers(struct exchange *ex);
/* Says the request's id in the response, and its time when nobody has. ERR_LIMIT, ERR_NOMEM. */
int forward_response(struct exchange *ex) __attribute__((warn_unused_result));
