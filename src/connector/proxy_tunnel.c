#include "connector/proxy_tunnel.h"

#include <stdio.h>

#include "base/err.h"

#define REQUEST_BYTES_MAX 4096

int proxy_tunnel_ask(struct stream *s, struct chunk_pool *chunks, const struct origin_proxy *proxy,
                     struct slice host, uint16_t port)
{
    char place[300], text[REQUEST_BYTES_MAX];
    struct buf out;
    bool is_ipv6 = slice_find(host, ':')<host.n, is_named = proxy->authorization.n> 0;
    int n = snprintf(place, sizeof place, "%s%.*s%s:%u", is_ipv6 ? "[" : "", SLICE_FMT(host),
                     is_ipv6 ? "]" : "", port);
    if (n >= (int)sizeof place)
        return ERR_LIMIT;
    n = snprintf(text, sizeof text, "CONNECT %s HTTP/1.1\r\nHost: %s\r\n%s%.*s%s\r\n", place, place,
                 is_named ? "Proxy-Authorization: " : "", SLICE_FMT(proxy->authorization),
                 is_named ? "\r\n" : "");
    if (n >= (int)sizeof text)
        return ERR_LIMIT;
    buf_init(&out, chunks, sizeof text);
    int r = buf_put(&out, slice_of(text, (size_t)n));
    if (r == 0)
        r = stream_write(s, &out);
    bool is_whole = buf_is_empty(&out);
    buf_done(&out);
    return is_whole ? 0 : r < 0 ? r : ERR_LIMIT;
}

/* "HTTP/1.1 200 …". 0 = no status line. */
static unsigned status_of(struct slice head)
{
    uint64_t status = 0;
    bool is_http = slice_starts(head, SLICE("HTTP/1.1 ")) || slice_starts(head, SLICE("HTTP/1.0 "));
    if (!is_http || slice_u64(slice_sub(head, 9, 3), 599, &status) < 0 || head.n < 13 ||
        (head.p[12] != ' ' && head.p[12] != '\r'))
        return 0;
    return (unsigned)status;
}

int proxy_tunnel_answer(struct stream *s, struct buf *in, unsigned *ret_status)
{
    uint8_t bytes[PROXY_ANSWER_BYTES_MAX];
    int r = stream_read(s, in, buf_room(in));
    if (r < 0 && r != ERR_AGAIN)
        return r == ERR_EOF ? ERR_CUT : r;
    size_t n = buf_copy(in, 0, bytes, sizeof bytes);
    const uint8_t *end = memmem(bytes, n, "\r\n\r\n", 4);
    if (end == NULL)
        return n < sizeof bytes ? ERR_AGAIN : ERR_PROTO;
    *ret_status = status_of(slice_of(bytes, n));
    if (*ret_status < 200)
        return ERR_PROTO; /* none at all, or one that is not the answer */
    if (*ret_status > 299)
        return ERR_DENIED;
    /* An origin with TLS does not speak first: whatever follows is not from it. */
    return (size_t)(end - bytes) + 4 == n ? 0 : ERR_PROTO;
}
