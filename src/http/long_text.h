#pragma once
/* Answers that are larger than what an exchange holds at once: a right side that gives its text as
 * the left takes it. Loop thread. */
#include "http/exchange.h"

/* Answers 200 with the text, from malloc, which is taken over in any case. The exchange must have
 * no answer and no right side yet. ERR_NOMEM. */
int long_text_respond(struct exchange *ex, const char *media_type, char *text, size_t n)
    __attribute__((warn_unused_result));
