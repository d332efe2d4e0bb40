#include "connector/socks_ask.h"

#include <netinet/in.h>

#include "base/err.h"

#define VERSION      5
#define NO_PASSWORD  0
#define PASSWORD     2
#define NO_METHOD    0xff
#define IPV4         1
#define IPV6         4
#define NAME         3
#define ASK_BYTES    (3 + 2 * 256) /* name and password, each with its length */
#define CONNECT_HEAD 4

static int say(struct stream *s, struct chunk_pool *chunks, const uint8_t *bytes, size_t n)
{
    struct buf out;
    buf_init(&out, chunks, ASK_BYTES);
    int r = buf_put(&out, slice_of(bytes, n));
    if (r == 0)
        r = stream_write(s, &out);
    bool is_whole = buf_is_empty(&out);
    buf_done(&out);
    return is_whole ? 0 : r < 0 && r != ERR_AGAIN ? r : ERR_LIMIT;
}

static bool has_password(const struct origin_proxy *p)
{
    return p->user.n > 0 && p->user.n < 256 && p->password.n < 256;
}

int socks_ask_begin(struct socks_ask *a, struct stream *s, struct chunk_pool *chunks,
                    const struct origin_proxy *proxy, struct slice host, uint16_t port)
{
    const uint8_t greeting[] = { VERSION, has_password(proxy) ? 2 : 1, NO_PASSWORD, PASSWORD };
    *a = (struct socks_ask){ .proxy = proxy, .host = host, .port = port };
    return say(s, chunks, greeting, has_password(proxy) ? 4 : 3);
}

static int say_password(const struct socks_ask *a, struct stream *s, struct chunk_pool *chunks)
{
    const struct origin_proxy *p = a->proxy;
    uint8_t bytes[ASK_BYTES];
    size_t n = 0;
    bytes[n++] = 1; /* the version of this negotiation */
    bytes[n++] = (uint8_t)p->user.n;
    memcpy(bytes + n, p->user.p, p->user.n);
    n += p->user.n;
    bytes[n++] = (uint8_t)p->password.n;
    if (p->password.n > 0)
        memcpy(bytes + n, p->password.p, p->password.n);
    int r = say(s, chunks, bytes, n + p->password.n);
    explicit_bzero(bytes, sizeof bytes);
    return r;
}

static int say_connect(const struct socks_ask *a, struct stream *s, struct chunk_pool *chunks)
{
    uint8_t bytes[ASK_BYTES] = { VERSION, 1, 0, IPV4 };
    size_t n = CONNECT_HEAD;
    struct addr to;
    if (addr_parse_ip(a->host, a->port, &to) < 0) {
        if (a->host.n == 0 || a->host.n > UINT8_MAX)
            return ERR_LIMIT;
        bytes[3] = NAME;
        bytes[n++] = (uint8_t)a->host.n;
        memcpy(bytes + n, a->host.p, a->host.n);
        n += a->host.n;
    } else if (to.sa.ss_family == AF_INET6) {
        bytes[3] = IPV6;
        memcpy(bytes + n, &((const struct sockaddr_in6 *)(const void *)&to.sa)->sin6_addr, 16);
        n += 16;
    } else {
        memcpy(bytes + n, &((const struct sockaddr_in *)(const void *)&to.sa)->sin_addr, 4);
        n += 4;
    }
    bytes[n++] = (uint8_t)(a->port >> 8);
    bytes[n++] = (uint8_t)a->port;
    return say(s, chunks, bytes, n);
}

/* ---- answers ---- */

static int take_method(struct socks_ask *a, struct stream *s, struct chunk_pool *chunks,
                       const uint8_t *b)
{
    if (b[0] != VERSION)
        return ERR_PROTO;
    if (b[1] == NO_PASSWORD) {
        a->step = SOCKS_ASK_CONNECT;
        return say_connect(a, s, chunks);
    }
    if (b[1] == PASSWORD && has_password(a->proxy)) {
        a->step = SOCKS_ASK_PASSWORD;
        return say_password(a, s, chunks);
    }
    a->text =
        b[1] == NO_METHOD ? "it wants another kind of credentials" : "it wants what we have not";
    return ERR_DENIED;
}

static int take_password(struct socks_ask *a, struct stream *s, struct chunk_pool *chunks,
                         const uint8_t *b)
{
    if (b[1] != 0) {
        a->text = "it refuses the name or the password";
        return ERR_DENIED;
    }
    a->step = SOCKS_ASK_CONNECT;
    return say_connect(a, s, chunks);
}

static const char *reply_text(uint8_t reply)
{
    static const char *const TEXTS[] = {
        [1] = "it failed",
        [2] = "its rules do not allow this address",
        [3] = "it cannot reach the network",
        [4] = "it cannot reach the address",
        [5] = "the address refused its connection",
        [6] = "the way is too long",
        [7] = "it does not know the command",
        [8] = "it does not know this kind of address",
    };
    return reply < sizeof TEXTS / sizeof TEXTS[0] ? TEXTS[reply] : "it says no";
}

/* Bytes of a whole reply, from its first five; 0 = no known form. */
static size_t reply_bytes(const uint8_t *b)
{
    return b[3] == IPV4   ? CONNECT_HEAD + 4 + 2
           : b[3] == IPV6 ? CONNECT_HEAD + 16 + 2
           : b[3] == NAME ? CONNECT_HEAD + 1 + (size_t)b[4] + 2
                          : 0;
}

static int take_reply(struct socks_ask *a, struct buf *in)
{
    uint8_t b[5];
    if (buf_copy(in, 0, b, sizeof b) < sizeof b)
        return ERR_AGAIN;
    if (b[0] != VERSION || reply_bytes(b) == 0)
        return ERR_PROTO;
    if (b[1] != 0) {
        a->text = reply_text(b[1]);
        return ERR_DENIED;
    }
    if (buf_len(in) < reply_bytes(b))
        return ERR_AGAIN;
    /* The edge waits for our ClientHello: whatever follows is not from it. */
    return buf_len(in) == reply_bytes(b) ? 0 : ERR_PROTO;
}

int socks_ask_run(struct socks_ask *a, struct stream *s, struct chunk_pool *chunks, struct buf *in)
{
    int r = stream_read(s, in, buf_room(in));
    if (r < 0 && r != ERR_AGAIN)
        return r == ERR_EOF ? ERR_CUT : r;
    while (a->step != SOCKS_ASK_CONNECT) {
        uint8_t b[2];
        if (buf_copy(in, 0, b, sizeof b) < sizeof b)
            return ERR_AGAIN;
        buf_drop(in, sizeof b);
        r = a->step == SOCKS_ASK_METHOD ? take_method(a, s, chunks, b)
                                        : take_password(a, s, chunks, b);
        if (r < 0)
            return r;
    }
    return take_reply(a, in);
}
