#pragma once
/* Regular expressions of ingress rules (PCRE2 with limits), and hostnames in their ASCII form
 * (libidn2). The syntax is Go's RE2 and means what it means there: what RE2 does not have is
 * refused, though PCRE2 would take it, and so is \p{C}, which the two see differently. One
 * difference is left: without case, Go's \w has U+017F and U+212A too. A compiled pattern may be
 * used by all threads. */
#include "base/arena.h"
#include "base/fault.h"

struct regex;

/* The fault's text names what is wrong with the pattern. */
int regex_new(struct slice pattern, struct regex **ret, struct fault *fault)
    __attribute__((warn_unused_result));
void regex_free(struct regex *r); /* NULL is accepted */
/* Whether it is found anywhere in the text; bytes that are no UTF-8 count as U+FFFD. A search that
 * would take too long finds nothing. */
bool regex_matches(const struct regex *r, struct slice text);
/* Where it is found first: groups[0] is the whole of it, the others what its groups took (.p is
 * NULL when one took no part), up to `max`. ERR_NOTFOUND; ERR_PARSE when the text is no UTF-8;
 * ERR_LIMIT when the search would take too long; ERR_NOMEM. */
int regex_find(const struct regex *r, struct slice text, struct slice *groups, size_t max)
    __attribute__((warn_unused_result));
/* Number of its groups, the whole not counted. */
size_t regex_groups(const struct regex *r);

/* The ASCII form of a hostname by IDNA 2008 look-up with UTS 46 mapping, non-transitional; NULL
 * when it has none or it is the same. In the arena. */
char *idna_ascii(struct slice hostname, struct arena *arena);
