#pragma once
/* One HTTP request of the command line to the edge's API, start to end, on a loop of its own:
 * straight or through the proxy that the environment names. Blocks. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/fault.h"

struct http_answer {
    unsigned status;
    struct slice content_type, body; /* in the arena */
};

/* `url`: http or https, host, port, path, query. `bearer`: for Authorization, empty = none. `body`
 * is JSON, .p NULL = none. `ca_pem`: trusted beside the system's roots, of the API and of a proxy
 * over TLS; or empty. The fault says what could not be reached and why. */
int http_call(const char *method, struct slice url, struct slice bearer, struct slice body,
              struct slice ca_pem, nsec timeout, struct arena *arena, struct http_answer *ret,
              struct fault *fault) __attribute__((warn_unused_result));
