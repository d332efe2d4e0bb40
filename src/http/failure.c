#include "http/failure.h"

#include "base/err.h"

static const struct failure_row ROWS[] = {
    { .word = "", .title = "", .next = NULL },
#define FAILURE(id, word_, status_, code_, hop_, title_, next_)                                    \
    { .word = (word_),                                                                             \
      .status = (status_),                                                                         \
      .code = (code_),                                                                             \
      .hop = HOP_##hop_,                                                                           \
      .title = (title_),                                                                           \
      .next = (next_) },
#include "http/failure.def"
#undef FAILURE
};

const char *hop_name(enum hop hop)
{
    static const char *const NAMES[] = {
        "none", "visitor", "edge", "tunnel", "connector", "origin"
    };
    return NAMES[hop];
}

const struct failure_row *failure_row(enum failure f)
{
    return &ROWS[(unsigned)f < FAILURE_COUNT ? f : FAILURE_UNKNOWN];
}

enum failure failure_of_word(struct slice word)
{
    for (unsigned i = 1; i < FAILURE_COUNT; i++)
        if (slice_eq(word, slice_str(ROWS[i].word)))
            return (enum failure)i;
    return FAILURE_NONE;
}

static enum failure of_visitor(int err)
{
    switch (err) {
    case ERR_CANCELED:
    case ERR_RESET:
    case ERR_CLOSED:
    case ERR_IO:
        return FAILURE_VISITOR_GONE;
    case ERR_TIMEOUT:
        return FAILURE_VISITOR_SLOW;
    case ERR_CUT:
    case ERR_EOF:
        return FAILURE_REQUEST_CUT;
    case ERR_LIMIT:
    case ERR_TOOLARGE:
        return FAILURE_HEAD_TOO_LARGE;
    default:
        return FAILURE_BAD_REQUEST;
    }
}

static enum failure of_tunnel(int err)
{
    switch (err) {
    case ERR_CANCELED:
        return FAILURE_VISITOR_GONE;
    case ERR_TIMEOUT:
        return FAILURE_LINK_TIMEOUT;
    case ERR_NOLINK:
        return FAILURE_NO_LINK;
    case ERR_PROTO:
    case ERR_PARSE:
    case ERR_INVALID:
        return FAILURE_TUNNEL_PROTOCOL;
    default:
        return FAILURE_LINK_LOST;
    }
}

static enum failure of_origin(int err)
{
    switch (err) {
    case ERR_REFUSED:
        return FAILURE_ORIGIN_REFUSED;
    case ERR_RESOLVE:
        return FAILURE_ORIGIN_UNRESOLVED;
    case ERR_UNREACH:
        return FAILURE_ORIGIN_UNREACHABLE;
    case ERR_TIMEOUT:
        return FAILURE_ORIGIN_CONNECT_TIMEOUT;
    case ERR_NOTFOUND:
        return FAILURE_ORIGIN_NO_SOCKET;
    case ERR_DENIED:
        return FAILURE_ORIGIN_DENIED;
    case ERR_TLS:
        return FAILURE_ORIGIN_TLS;
    case ERR_CERT:
        return FAILURE_ORIGIN_CERT;
    case ERR_PARSE:
    case ERR_PROTO:
        return FAILURE_ORIGIN_MALFORMED;
    case ERR_RESET:
    case ERR_CLOSED:
        return FAILURE_ORIGIN_RESET;
    case ERR_CUT:
        return FAILURE_ORIGIN_CUT;
    default:
        return FAILURE_ORIGIN;
    }
}

enum failure failure_of_err(int err, enum hop hop)
{
    bool is_short = err == ERR_NOMEM || err == ERR_LIMIT;
    if (err == 0)
        return FAILURE_NONE;
    if (hop == HOP_VISITOR)
        return of_visitor(err);
    if (hop == HOP_TUNNEL)
        return of_tunnel(err);
    if (hop == HOP_ORIGIN)
        return of_origin(err);
    if (err == ERR_BUSY && hop == HOP_CONNECTOR)
        return FAILURE_FLOW_LIMIT;
    if (err == ERR_UNSUPPORTED)
        return FAILURE_NOT_OFFERED;
    if (is_short)
        return hop == HOP_CONNECTOR ? FAILURE_CONNECTOR_BUSY : FAILURE_EDGE_BUSY;
    return hop == HOP_CONNECTOR ? FAILURE_ORIGIN : FAILURE_UNKNOWN;
}

/* ---- texts of the reference ---- */

/* A piece of a text that the reference's HTTP client, resolver or TLS writes, in the order in which
 * they are looked for: the more special one first. */
static const struct {
    struct slice piece;
    enum failure failure;
} TEXTS[] = {
#define TEXT(text, id) { { (const uint8_t *)(text), sizeof(text) - 1 }, FAILURE_##id },
    /* clang-format off */
    TEXT("AccessJWTValidator", ACCESS_UNVERIFIED)
    TEXT("too many active flows", FLOW_LIMIT)
    TEXT("server gave HTTP response to HTTPS client", ORIGIN_NOT_TLS)
    TEXT("first record does not look like a TLS handshake", ORIGIN_NOT_TLS)
    TEXT("TLS handshake timeout", ORIGIN_TLS_TIMEOUT)
    TEXT("certificate has expired or is not yet valid: current time", ORIGIN_CERT_EXPIRED)
    TEXT("certificate is valid for", ORIGIN_CERT_NAME)
    TEXT("certificate is not valid for any names", ORIGIN_CERT_NAME)
    TEXT("doesn't contain any IP SANs", ORIGIN_CERT_NAME)
    TEXT("certificate relies on legacy Common Name", ORIGIN_CERT_NAME)
    TEXT("certificate signed by unknown authority", ORIGIN_CERT_ISSUER)
    TEXT("insecure algorithm", ORIGIN_CERT_WEAK)
    TEXT("certificate required", ORIGIN_TLS_WANTED)
    TEXT("x509:", ORIGIN_CERT)
    TEXT("tls:", ORIGIN_TLS)
    TEXT("no such host", ORIGIN_UNRESOLVED)
    TEXT("server misbehaving", ORIGIN_UNRESOLVED)
    TEXT("connection refused", ORIGIN_REFUSED)
    TEXT("no such file or directory", ORIGIN_NO_SOCKET)
    TEXT("permission denied", ORIGIN_DENIED)
    TEXT("operation not permitted", ORIGIN_DENIED)
    TEXT("no route to host", ORIGIN_UNREACHABLE)
    TEXT("network is unreachable", ORIGIN_UNREACHABLE)
    TEXT("i/o timeout", ORIGIN_CONNECT_TIMEOUT)
    TEXT("context deadline exceeded", ORIGIN_CONNECT_TIMEOUT)
    TEXT("timeout awaiting response headers", ORIGIN_HEADERS_TIMEOUT)
    TEXT("unexpected EOF", ORIGIN_RESET)
    TEXT("EOF", ORIGIN_RESET)
    TEXT("connection reset by peer", ORIGIN_RESET)
    TEXT("server closed idle connection", ORIGIN_RESET)
    TEXT("context canceled", VISITOR_GONE)
/* clang-format on */
#undef TEXT
};

/* Its HTTP client says so of every answer that it could not read to the end of its head. What
 * follows may quote the origin, whose words are not to be looked through. */
static enum failure of_broken(struct slice why)
{
    if (slice_starts(why, SLICE("unexpected EOF")) || slice_starts(why, SLICE("read ")))
        return FAILURE_ORIGIN_CUT;
    if (slice_starts(why, SLICE("EOF")) || slice_starts(why, SLICE("write ")))
        return FAILURE_ORIGIN_RESET;
    if (slice_starts(why, SLICE("http: ContentLength=")))
        return FAILURE_REQUEST_CUT;
    if (slice_starts(why, SLICE("context canceled")))
        return FAILURE_VISITOR_GONE;
    return FAILURE_ORIGIN_MALFORMED;
}

enum failure failure_of_text(struct slice text)
{
    static const char BROKEN[] = "HTTP/1.x transport connection broken: ";
    const uint8_t *broken = text.n > 0 ? memmem(text.p, text.n, BROKEN, sizeof BROKEN - 1) : NULL;
    if (broken != NULL)
        return of_broken(slice_sub(text, (size_t)(broken - text.p) + sizeof BROKEN - 1, SIZE_MAX));
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++)
        if (text.n >= TEXTS[i].piece.n &&
            memmem(text.p, text.n, TEXTS[i].piece.p, TEXTS[i].piece.n) != NULL)
            return TEXTS[i].failure;
    return FAILURE_ORIGIN;
}
