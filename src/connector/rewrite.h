#pragma once
/* What a rule's extras change in a request on its way to the origin, and in the response on its way
 * back. Loop thread; all that is made lives in the exchange's arena. */
#include "connector/rule_extras.h"

struct addr;

#define REWRITE_FAILED "the response's fields cannot be changed as the rule says"

/* Path and fields, in that order. Without effect for NULL. `host` is the request's, as it came.
 * ERR_PARSE: what came cannot be rewritten; ERR_LIMIT: the result is too large;
 * ERR_NOMEM. */
int rewrite_request(struct exchange *ex, const struct rule_extras *x, struct slice host)
    __attribute__((warn_unused_result));
/* The final response's fields, once it is there and before the left side sees it. The same
 * errors. */
int rewrite_response(struct exchange *ex, const struct rule_extras *x, struct slice host)
    __attribute__((warn_unused_result));

/* The text with all its variables; the text itself when it has none. .p is NULL when memory is
 * short. */
struct slice rewrite_value(struct exchange *ex, struct slice text, struct slice host);
/* Whether rewrite_value knows all that a text names; else *ret_unknown is where it does not. */
bool rewrite_variables_are_known(struct slice text, struct slice *ret_unknown);
/* The visitor's address as the edge tells it (Cf-Connecting-Ip). False when it tells none, several,
 * or what is no address. */
bool rewrite_visitor_addr(const struct exchange *ex, struct addr *ret);
