#pragma once
/* What a parsed head means for its connection: where the body ends (RFC 9112 §6), whether the
 * connection goes on (§9), whose host it is for, and what it asks to become. Whatever two readers
 * could take in two ways is refused: the caller answers 400 (or http1_why_status) and closes. Pure;
 * any thread; views into the head's bytes. */
#include "codec/http1.h"

enum http1_body {
    HTTP1_BODY_NONE,
    HTTP1_BODY_LENGTH,  /* `length` bytes */
    HTTP1_BODY_CHUNKED, /* codec/http1_chunked.h */
    HTTP1_BODY_CLOSE,   /* response: until the end of the stream */
    HTTP1_BODY_TUNNEL,  /* response: 101, or 2xx to CONNECT: no longer HTTP */
};

enum http1_upgrade {
    HTTP1_UPGRADE_NONE,
    HTTP1_UPGRADE_WEBSOCKET, /* a sound opening handshake (RFC 6455 §4.2.1) */
    HTTP1_UPGRADE_OTHER, /* another protocol, or a broken websocket handshake: a plain request when
                          * Upgrade is dropped, as RFC 9110 §7.8 permits */
};

struct http1_framing {
    enum http1_body body;
    bool has_length; /* Content-Length was there: in `length`, also where no body follows (HEAD) */
    uint64_t length; /* at most 2^63 - 1 */
    bool is_persistent; /* another message may follow on the connection */
    bool has_options;   /* Connection names fields to drop: ask http1_field_is_hop */

    /* Request. */
    struct slice host;     /* host[:port]; empty only in HTTP/1.0 */
    bool expects_continue; /* Expect: 100-continue */
    enum http1_upgrade upgrade;
    struct slice websocket_key; /* as it came, of HTTP1_UPGRADE_WEBSOCKET */
};

/* What a response answers. */
struct http1_asked {
    bool head;    /* method HEAD */
    bool connect; /* method CONNECT */
    bool upgrade; /* the request carried Upgrade: 101 is allowed */
};

/* 0, or ERR_PARSE or ERR_UNSUPPORTED with head->why set and *ret untouched. */
int http1_request_framing(struct http1_head *head, struct http1_framing *ret)
    __attribute__((warn_unused_result));
int http1_response_framing(struct http1_head *head, struct http1_asked asked,
                           struct http1_framing *ret) __attribute__((warn_unused_result));

/* Whether a field must not be forwarded: it belongs to the connection by its name, or because
 * Connection names it. Fields that RFC 9110 means for the far end stay whatever Connection names:
 * to name Cookie or Authorization there is an attack on what stands behind a proxy. Content-Length
 * and Trailer are not hop fields here: who writes the next head decides on them. */
bool http1_field_is_hop(const struct http1_head *head, const struct http1_framing *framing,
                        const struct http1_field *field);
