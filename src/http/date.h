#pragma once
/* Date fields (RFC 9110 §5.6.7, §6.6.1). Any thread. */
#include <stdint.h>

#include "http/exchange.h"

#define HTTP_DATE_BYTES 30 /* NUL included */

/* "Sun, 06 Nov 1994 08:49:37 GMT"; seconds since 1970. Returns text. */
char *http_date(int64_t seconds, char text[static HTTP_DATE_BYTES]);
/* The present, as above. Static storage of this thread, until the next call. */
const char *http_date_now(void);
/* Says in the final response when it came, where its origin did not: whoever forwards it owes that.
 * 0, ERR_LIMIT, ERR_NOMEM. */
int http_date_complete(struct exchange *ex) __attribute__((warn_unused_result));
/* Likewise, as the h1_head of whoever changes nothing else; a head that is full goes out as it is.
 */
void http_date_head(void *ctx, struct exchange *ex);
