#include "net/udp_relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/err.h"

#define BUFFER_BYTES (4 * 1024 * 1024)
#define ADDR_BYTES   (1 + 2 + 16 + 4)

static void write_addr(const struct addr *a, uint8_t *to)
{
    memset(to, 0, ADDR_BYTES);
    if (a->sa.ss_family == AF_INET) {
        const struct sockaddr_in *sin = (const struct sockaddr_in *)(const void *)&a->sa;
        to[0] = 4;
        memcpy(to + 1, &sin->sin_port, 2);
        memcpy(to + 3, &sin->sin_addr, 4);
    } else if (a->sa.ss_family == AF_INET6) {
        const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)(const void *)&a->sa;
        uint32_t scope = htonl(sin6->sin6_scope_id);
        to[0] = 6;
        memcpy(to + 1, &sin6->sin6_port, 2);
        memcpy(to + 3, &sin6->sin6_addr, 16);
        memcpy(to + 19, &scope, 4);
    }
}

static int read_addr(const uint8_t *from, struct addr *ret)
{
    *ret = (struct addr){ 0 };
    if (from[0] == 4) {
        struct sockaddr_in *sin = (struct sockaddr_in *)(void *)&ret->sa;
        sin->sin_family = AF_INET;
        memcpy(&sin->sin_port, from + 1, 2);
        memcpy(&sin->sin_addr, from + 3, 4);
        ret->size = sizeof *sin;
        return 0;
    }
    if (from[0] != 6)
        return ERR_PARSE;
    struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)(void *)&ret->sa;
    uint32_t scope;
    sin6->sin6_family = AF_INET6;
    memcpy(&sin6->sin6_port, from + 1, 2);
    memcpy(&sin6->sin6_addr, from + 3, 16);
    memcpy(&scope, from + 19, 4);
    sin6->sin6_scope_id = ntohl(scope);
    ret->size = sizeof *sin6;
    return 0;
}

void udp_relay_write(const struct udp_packet *p, uint8_t to[static UDP_RELAY_HEAD_BYTES])
{
    write_addr(p->from, to);
    write_addr(p->to, to + ADDR_BYTES);
    to[2 * ADDR_BYTES] = p->ecn;
}

int udp_relay_read(struct slice message, struct udp_relayed *ret)
{
    struct udp_relayed got;
    if (message.n < UDP_RELAY_HEAD_BYTES || message.p[2 * ADDR_BYTES] > 3 ||
        read_addr(message.p, &got.from) < 0 || read_addr(message.p + ADDR_BYTES, &got.to) < 0)
        return ERR_PARSE;
    got.ecn = message.p[2 * ADDR_BYTES];
    *ret = got;
    return 0;
}

int udp_relay_open(int *ret_in, int *ret_out)
{
    int pair[2], bytes = BUFFER_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return err_from_errno(errno);
    /* The sender's buffer is what bounds the queue of such a pair. */
    if (setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        (void)setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    *ret_in = pair[0];
    *ret_out = pair[1];
    return 0;
}

int udp_relay_send(int out, const struct udp_packet *p)
{
    uint8_t head[UDP_RELAY_HEAD_BYTES];
    struct iovec iov[2] = {
        { .iov_base = head, .iov_len = sizeof head },
        { .iov_base = (void *)(uintptr_t)p->data.p, .iov_len = p->data.n },
    };
    struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
    udp_relay_write(p, head);
    for (;;) {
        if (sendmsg(out, &h, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return 0;
        if (errno != EINTR)
            return err_from_errno(errno);
    }
}
