#pragma once
/* A configuration as it stands on the wire towards a connector over HTTP/2 (docs/protocol.md
 * §12.4), and the connector's answer over either transport as a value. Pure. */
#include "base/strb.h"
#include "codec/json.h"
#include "edge/plane.h"
#include "tunnel/registration.h"

/* The body of the request: {"version":…,"config":…}; `json` is a JSON text. */
void config_body_write(struct strb *to, int32_t version, struct slice json);

/* Fill `applied` and `text`. 0, ERR_PARSE, ERR_NOMEM. */
int config_body_read(struct slice body, struct config_push *ret)
    __attribute__((warn_unused_result));
int config_result_read(const struct capnp_struct *results, struct config_push *ret)
    __attribute__((warn_unused_result));

/* A text of the connector's, cut to what there is room for: UTF-8 without control characters. */
void config_text_put(struct config_push *p, struct slice text);
