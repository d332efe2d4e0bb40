#pragma once
/* Field names and values of the tunnel over HTTP/2 (docs/protocol.md §10), and what a request is by
 * them. */
#include "mux/h2.h"

#define H2_UPGRADE_FIELD "cf-cloudflared-proxy-connection-upgrade"
#define H2_SOURCE_FIELD  "cf-cloudflared-proxy-src" /* not empty: a stream of bytes */
#define H2_BLOCK_FIELD   "cf-cloudflared-response-headers"
/* An edge of ours joins several lines of it, which no single one could hold. */
#define H2_BLOCK_PIECE (H2_FIELD_BYTES_MAX - 1)
#define H2_META_FIELD  "cf-cloudflared-response-meta"
/* Of ours, with EXTENSION_DIAG: the failure's word and its text, in base64. */
#define H2_FAILURE_FIELD "cf-cloudflared-adit-failure"
#define H2_TEXT_FIELD    "cf-cloudflared-adit-text"

#define H2_CONTROL_VALUE       "control-stream"
#define H2_CONFIGURATION_VALUE "update-configuration"
#define H2_WEBSOCKET_VALUE     "websocket"

#define H2_META_ORIGIN    "{\"src\":\"origin\"}"
#define H2_META_CONNECTOR "{\"src\":\"cloudflared\"}"
#define H2_META_LIMITED   "{\"src\":\"cloudflared\",\"flow_rate_limited\":true}"

enum h2_kind { H2_HTTP, H2_WEBSOCKET, H2_TCP, H2_CONTROL, H2_CONFIGURATION };

/* What the edge asks for with this head. */
enum h2_kind h2_kind_of(const struct h2_head *h);
/* The first line of this name (in lower case), or empty. */
struct slice h2_head_field(const struct h2_head *h, struct slice name);
