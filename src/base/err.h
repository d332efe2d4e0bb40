#pragma once
/* The one enumeration of failures. Functions return 0 or a negative `enum err`; ERR_AGAIN and
 * ERR_EOF are outcomes of reading and writing, not failures. Outside codes (ngtcp2, GnuTLS, libuv,
 * SQLite) are translated in the folder that owns the library. Any thread. */

/* clang-format off
 *   name         number  text                                               status h2   repeat
 *   status: what a visitor sees when an exchange ends thus before any response (RFC 9110 §15).
 *   h2:     RST_STREAM code (RFC 9113 §7).
 *   repeat: 1 when the same request may succeed on another link. */
#define ERR_TABLE(X)                                                                               \
    X(AGAIN, 1, "not ready yet", 500, 0x2, 1)                                                      \
    X(EOF, 2, "end of stream", 502, 0x2, 1)                                                        \
    X(NOMEM, 3, "out of memory", 503, 0xb, 1)                                                      \
    X(LIMIT, 4, "a limit was exceeded", 503, 0xb, 0)                                               \
    X(PROTO, 5, "the peer broke the protocol", 502, 0x1, 0)                                        \
    X(PARSE, 6, "malformed input", 400, 0x1, 0)                                                    \
    X(INVALID, 7, "invalid argument", 400, 0x2, 0)                                                 \
    X(RANGE, 8, "value out of range", 400, 0x2, 0)                                                 \
    X(NOTFOUND, 9, "not found", 404, 0x2, 0)                                                       \
    X(EXISTS, 10, "already exists", 409, 0x2, 0)                                                   \
    X(DENIED, 11, "permission denied", 403, 0x2, 0)                                                \
    X(BUSY, 12, "in use", 503, 0x7, 1)                                                             \
    X(IO, 13, "input or output error", 502, 0x2, 1)                                                \
    X(REFUSED, 14, "connection refused", 502, 0xa, 1)                                              \
    X(RESET, 15, "connection reset", 502, 0x8, 1)                                                  \
    X(UNREACH, 16, "network or host unreachable", 502, 0xa, 1)                                     \
    X(RESOLVE, 17, "the name could not be resolved", 502, 0xa, 1)                                  \
    X(TIMEOUT, 18, "timed out", 504, 0x8, 1)                                                       \
    X(TLS, 19, "TLS failed", 502, 0xa, 0)                                                          \
    X(CERT, 20, "the certificate was not accepted", 502, 0xa, 0)                                   \
    X(CLOSED, 21, "closed", 502, 0x8, 1)                                                           \
    X(CANCELED, 22, "canceled", 499, 0x8, 0)                                                       \
    X(UNSUPPORTED, 23, "not supported", 501, 0x2, 0)                                               \
    X(TOOLARGE, 24, "too large", 413, 0x2, 0)                                                      \
    X(NOROUTE, 25, "no tunnel serves this hostname", 404, 0x2, 0)                                  \
    X(NOLINK, 26, "the tunnel has no connector", 530, 0x2, 0)                                      \
    X(ORIGIN, 27, "the origin failed", 502, 0x2, 0)                                                \
    X(AUTH, 28, "authentication failed", 401, 0x2, 0)                                              \
    X(CUT, 29, "the message was cut off", 502, 0x2, 0)
/* clang-format on */

enum err {
#define X(name, number, ...) ERR_##name = -(number),
    ERR_TABLE(X)
#undef X
};

/* The text of a code; "ok" for 0, "unknown error" for a number outside the table. Static storage.
 */
const char *err_text(int code);

/* The code's short name in lower case ("timeout"), for logs and metric labels. Static storage. */
const char *err_name(int code);

/* HTTP status that a visitor sees; 500 for unknown codes. */
unsigned err_status(int code);

/* RST_STREAM code. */
unsigned err_h2_code(int code);

/* Whether the request may be repeated on another link. */
_Bool err_repeats(int code);

/* Translates an errno value. EAGAIN gives ERR_AGAIN, ECONNREFUSED gives ERR_REFUSED and so on;
 * ERR_IO otherwise. */
int err_from_errno(int errnum);
