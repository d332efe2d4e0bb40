#pragma once
/* Services that the connector answers itself: http_status:N and hello_world. Loop thread. */
#include "http/exchange.h"

/* That status, no fields, no body. */
void builtin_status(struct exchange *ex, unsigned status);
/* A page that shows that the tunnel works, and the request as it arrived. */
void builtin_hello(struct exchange *ex);
