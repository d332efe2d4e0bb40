#pragma once
/* Field names that decide over framing or belong to one connection, and the characters that names,
 * values and hosts may have (RFC 9110 §5). Pure; any thread. */
#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* clang-format off
 * identifier, name, marks */
#define HTTP1_NAME_TABLE(X)                                                                        \
    X(TE, "te", HTTP1_HOP | HTTP1_NO_TRAILER)                                                      \
    X(AGE, "age", HTTP1_NO_TRAILER)                                                                \
    X(DATE, "date", HTTP1_NO_TRAILER)                                                              \
    X(HOST, "host", HTTP1_END | HTTP1_NO_TRAILER)                                                  \
    X(VARY, "vary", HTTP1_NO_TRAILER)                                                              \
    X(ALLOW, "allow", HTTP1_NO_TRAILER)                                                            \
    X(RANGE, "range", HTTP1_END | HTTP1_NO_TRAILER)                                                \
    X(COOKIE, "cookie", HTTP1_END | HTTP1_NO_TRAILER)                                              \
    X(EXPECT, "expect", HTTP1_NO_TRAILER)                                                          \
    X(PRAGMA, "pragma", HTTP1_END | HTTP1_NO_TRAILER)                                              \
    X(EXPIRES, "expires", HTTP1_NO_TRAILER)                                                        \
    X(TRAILER, "trailer", HTTP1_NO_TRAILER)                                                        \
    X(UPGRADE, "upgrade", HTTP1_HOP | HTTP1_NO_TRAILER)                                            \
    X(IF_MATCH, "if-match", HTTP1_END | HTTP1_NO_TRAILER)                                          \
    X(IF_RANGE, "if-range", HTTP1_END | HTTP1_NO_TRAILER)                                          \
    X(LOCATION, "location", HTTP1_NO_TRAILER)                                                      \
    X(CONNECTION, "connection", HTTP1_HOP | HTTP1_NO_TRAILER)                                      \
    X(KEEP_ALIVE, "keep-alive", HTTP1_HOP | HTTP1_NO_TRAILER)                                      \
    X(SET_COOKIE, "set-cookie", HTTP1_END | HTTP1_NO_TRAILER)                                      \
    X(RETRY_AFTER, "retry-after", HTTP1_NO_TRAILER)                                                \
    X(CONTENT_TYPE, "content-type", HTTP1_END | HTTP1_NO_TRAILER)                                  \
    X(MAX_FORWARDS, "max-forwards", HTTP1_NO_TRAILER)                                              \
    X(AUTHORIZATION, "authorization", HTTP1_END | HTTP1_NO_TRAILER)                                \
    X(CACHE_CONTROL, "cache-control", HTTP1_END | HTTP1_NO_TRAILER)                                \
    X(CONTENT_RANGE, "content-range", HTTP1_END | HTTP1_NO_TRAILER)                                \
    X(IF_NONE_MATCH, "if-none-match", HTTP1_END | HTTP1_NO_TRAILER)                                \
    X(CONTENT_LENGTH, "content-length", HTTP1_END | HTTP1_NO_TRAILER)                              \
    X(CONTENT_ENCODING, "content-encoding", HTTP1_END | HTTP1_NO_TRAILER)                          \
    X(PROXY_CONNECTION, "proxy-connection", HTTP1_HOP | HTTP1_NO_TRAILER)                          \
    X(WWW_AUTHENTICATE, "www-authenticate", HTTP1_END | HTTP1_NO_TRAILER)                          \
    X(IF_MODIFIED_SINCE, "if-modified-since", HTTP1_END | HTTP1_NO_TRAILER)                        \
    X(SEC_WEBSOCKET_KEY, "sec-websocket-key", HTTP1_NO_TRAILER)                                    \
    X(TRANSFER_ENCODING, "transfer-encoding", HTTP1_HOP | HTTP1_NO_TRAILER)                        \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", HTTP1_HOP | HTTP1_NO_TRAILER)                      \
    X(IF_UNMODIFIED_SINCE, "if-unmodified-since", HTTP1_END | HTTP1_NO_TRAILER)                    \
    X(PROXY_AUTHORIZATION, "proxy-authorization", HTTP1_HOP | HTTP1_NO_TRAILER)                    \
    X(SEC_WEBSOCKET_ACCEPT, "sec-websocket-accept", HTTP1_NO_TRAILER)                              \
    X(SEC_WEBSOCKET_VERSION, "sec-websocket-version", HTTP1_NO_TRAILER)
/* clang-format on */

enum http1_name {
    HTTP1_OTHER,
#define X(id, ...) HTTP1_##id,
    HTTP1_NAME_TABLE(X)
#undef X
};

/* Marks of a name. */
#define HTTP1_HOP 1u /* means this connection alone: never forwarded (RFC 9110 §7.6.1) */
#define HTTP1_END 2u /* meant for the far end: naming it in Connection must not strip it */
#define HTTP1_NO_TRAILER                                                                           \
    4u /* decides over framing, routing or the response as a whole: too late at the end (§6.5.1)  \
        */

/* HTTP1_OTHER when the name is none of the table. Case does not matter. */
enum http1_name http1_name_of(struct slice name);
unsigned http1_name_marks(enum http1_name name);

/* Not empty and token characters alone (RFC 9110 §5.6.2): methods, field names. */
bool http1_is_token(struct slice s);
/* No control characters but tab (RFC 9110 §5.5); may be empty. */
bool http1_is_value(struct slice s);
/* host[:port] as a Host field may have it: letters, digits and "-._~", or an IPv6 address in
 * brackets; port 1 to 65535. Narrower than RFC 3986 §3.2.2: escapes and sub-delimiters have no use
 * in a DNS name but to make two readers disagree. */
bool http1_is_host(struct slice s);

/* X-Foo-Bar: the case that the tunnel's reference gives to names. In place. */
void http1_name_canonicalise(uint8_t *name, size_t n);
/* Next member of a comma separated list (RFC 9110 §5.6.1), trimmed; empty members are passed over.
 * Start with the whole value; false at the end. */
bool http1_list_next(struct slice *rest, struct slice *ret);
