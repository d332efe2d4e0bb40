#pragma once
/* Heads of HTTP/1.1 messages (RFC 9112): request line or status line and the fields, parsed in
 * place. Pure; any thread. Every view points into the caller's bytes, which must be contiguous, and
 * lives as long as they do. Bounded by struct http1_limits.
 *
 *     struct http1_field lines[HEAD_FIELDS_MAX];
 *     struct http1_head head;
 *     http1_head_init(&head, lines, HEAD_FIELDS_MAX);
 *     int used = http1_parse_request(front, &limits, &head);     again with more bytes on ERR_AGAIN
 *     int r = http1_request_framing(&head, &framing);            codec/http1_framing.h
 *
 * Stricter than RFC 9112 allows, because a proxy that guesses is a proxy that is smuggled through:
 * lines end with CRLF alone, no line folding, no space before a colon, no control characters, no
 * bytes above 0x7e and no fragment in a target, HTTP/1.0 and 1.1 alone. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/slice.h"
#include "codec/http1_names.h"

#define HTTP1_METHOD_BYTES_MAX 32 /* the longest registered one has 17 (RFC 9110 §16.1.1) */

struct http1_limits {
    size_t head_bytes_max; /* start line, fields and the empty line; at most INT_MAX */
    size_t target_bytes_max;
};

#define HTTP1_LIMITS                                                                               \
    ((struct http1_limits){ .head_bytes_max = HEAD_BYTES_MAX,                                      \
                            .target_bytes_max = TARGET_BYTES_MAX })

/* clang-format off
 * Why a message was refused: for logs, metrics and tests.
 *   name, status that a server answers with, text */
#define HTTP1_WHY_TABLE(X)                                                                         \
    X(NONE, 200, "not refused")                                                                    \
    X(HEAD_SIZE, 431, "the head is too large")                                                     \
    X(FIELD_COUNT, 431, "too many field lines")                                                    \
    X(TARGET_SIZE, 414, "the request target is too long")                                          \
    X(LINE_END, 400, "a line does not end with CRLF")                                              \
    X(START_LINE, 400, "malformed start line")                                                     \
    X(METHOD, 400, "malformed method")                                                             \
    X(METHOD_SIZE, 501, "the method is too long")                                                  \
    X(TARGET, 400, "malformed request target")                                                     \
    X(VERSION, 505, "the HTTP version is not supported")                                           \
    X(STATUS, 400, "malformed status code")                                                        \
    X(FOLD, 400, "a field line is folded")                                                         \
    X(NAME, 400, "malformed field name")                                                           \
    X(NAME_SPACE, 400, "space before the colon of a field")                                        \
    X(VALUE, 400, "control character in a field value")                                            \
    X(LENGTH, 400, "malformed Content-Length")                                                     \
    X(LENGTH_TWICE, 400, "more than one Content-Length")                                           \
    X(LENGTH_AND_CODING, 400, "Content-Length together with Transfer-Encoding")                    \
    X(CODING, 400, "malformed Transfer-Encoding, or chunked is not its one last coding")           \
    X(CODING_UNKNOWN, 501, "unknown transfer coding")                                              \
    X(CODING_VERSION, 400, "Transfer-Encoding in HTTP/1.0")                                        \
    X(HOST_MISSING, 400, "no Host")                                                                \
    X(HOST_TWICE, 400, "more than one Host")                                                       \
    X(HOST, 400, "malformed Host or authority")                                                    \
    X(HOST_CONFLICT, 400, "Host is not the authority of the target")                               \
    X(CONNECTION, 400, "malformed Connection")                                                     \
    X(EXPECT, 417, "unknown expectation")                                                          \
    X(CONNECT_BODY, 400, "body in a CONNECT request")                                              \
    X(SWITCHED, 400, "101 to a request that did not ask for it")                                   \
    X(CHUNK_SIZE, 400, "malformed chunk size")                                                     \
    X(CHUNK_EXTENSION, 400, "malformed chunk extension")                                           \
    X(CHUNK_LINE_SIZE, 400, "the line of a chunk's size is too long")                              \
    X(CHUNK_END, 400, "a chunk does not end with CRLF")                                            \
    X(TRAILER_SIZE, 431, "the trailer section is too large")
/* clang-format on */

enum http1_why {
#define X(name, ...) HTTP1_WHY_##name,
    HTTP1_WHY_TABLE(X)
#undef X
};

/* Static storage. */
const char *http1_why_text(enum http1_why why);
/* What a server answers to a request refused thus; a client treats a response as 502. */
unsigned http1_why_status(enum http1_why why);

/* One field line; the value has no white space around it. */
struct http1_field {
    struct slice name, value;
    enum http1_name known; /* HTTP1_OTHER when the codec gives it no meaning */
};

/* Forms of a request target (RFC 9112 §3.2). */
enum http1_form { HTTP1_ORIGIN, HTTP1_ABSOLUTE, HTTP1_AUTHORITY, HTTP1_ASTERISK };

/* How far the search for the end of the head went: what came before is not looked at again. */
struct http1_scan {
    size_t at;      /* searched so far */
    size_t line_at; /* start of the line being searched */
    size_t start;   /* bytes of an empty line before the start line */
    size_t lines;   /* ended so far, start line included */
};

struct http1_head {
    struct http1_field *fields; /* the caller's array */
    size_t fields_max, fields_count;
    struct http1_scan scan;
    enum http1_why why; /* set with every failure but ERR_AGAIN */
    uint8_t minor;      /* of the version: 0 or 1 */

    /* Request. */
    struct slice method;
    struct slice target; /* as it came */
    enum http1_form form;
    struct slice scheme;    /* HTTP1_ABSOLUTE: as it came, "http" or "https" in any case */
    struct slice authority; /* HTTP1_ABSOLUTE, HTTP1_AUTHORITY */
    struct slice path;      /* path and query: of HTTP1_ORIGIN and HTTP1_ABSOLUTE ("/" when that has
                             * none); "*" of HTTP1_ASTERISK */

    /* Response. */
    unsigned status;     /* 100 to 999 */
    struct slice reason; /* may be empty */
};

/* Once for each message: forgets everything but the array. */
void http1_head_init(struct http1_head *head, struct http1_field *fields, size_t fields_max);

/* `bytes` starts at the same place on every call for one message. Returns the bytes that the head
 * takes with its empty line (and one empty line before a request, RFC 9112 §2.2), or ERR_AGAIN:
 * call again with more; or, with head->why set: ERR_PARSE, ERR_TOOLARGE (the head or its target),
 * ERR_LIMIT (too many fields), ERR_UNSUPPORTED (version, a method of no known length). Only `scan`
 * and `why` mean anything after a failure. */
int http1_parse_request(struct slice bytes, const struct http1_limits *limits,
                        struct http1_head *head) __attribute__((warn_unused_result));
int http1_parse_response(struct slice bytes, const struct http1_limits *limits,
                         struct http1_head *head) __attribute__((warn_unused_result));

/* First line of that name, or NULL. */
const struct http1_field *http1_field_of(const struct http1_head *head, enum http1_name name);

/* Field lines alone, up to and with the empty line (trailers). Fills fields[0 .. *ret_count). 0,
 * ERR_PARSE or ERR_LIMIT with *ret_why. */
int http1_parse_fields(struct slice bytes, struct http1_field *fields, size_t fields_max,
                       size_t *ret_count, enum http1_why *ret_why)
    __attribute__((warn_unused_result));
