#include "net/udp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "net/udp_relay.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

#define BATCH                8 /* messages of one recvmmsg; each may be a GRO batch */
#define MESSAGE_BYTES        65536
#define CONTROL_BYTES        256
#define BUFFER_BYTES_DEFAULT (4 * 1024 * 1024)

struct message {
    struct addr from, to;
    size_t n, segment, at; /* bytes, GRO segment size, how far it was split */
    uint8_t ecn;
};

struct udp {
    struct loop *loop;
    struct watch *watch;
    struct watch *relay; /* packets come by it, once is_relayed */
    struct task *owner;
    bool is_relayed;
    struct addr local;
    bool has_gso;
    uint64_t dropped;
    struct message messages[BATCH];
    size_t count, next; /* of the last recvmmsg: how many, which is split now */
    uint8_t *data;      /* the loop's: BATCH × MESSAGE_BYTES */
};

/* ---- opening ---- */

static bool set_option(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) == 0;
}

static void set_options(int fd, const struct addr *bind, const struct udp_opts *opts)
{
    int bytes = (int)(opts->buffer_bytes > 0 ? opts->buffer_bytes : BUFFER_BYTES_DEFAULT);
    (void)set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
    (void)set_option(fd, IPPROTO_UDP, UDP_GRO, 1);
    if (!set_option(fd, SOL_SOCKET, SO_RCVBUFFORCE, bytes))
        (void)set_option(fd, SOL_SOCKET, SO_RCVBUF, bytes);
    if (!set_option(fd, SOL_SOCKET, SO_SNDBUFFORCE, bytes))
        (void)set_option(fd, SOL_SOCKET, SO_SNDBUF, bytes);
    if (bind->sa.ss_family == AF_INET6) {
        (void)set_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
        (void)set_option(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, 1);
        (void)set_option(fd, IPPROTO_IPV6, IPV6_RECVERR, 1);
        (void)set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_PROBE);
    }
    (void)set_option(fd, IPPROTO_IP, IP_PKTINFO, 1);
    (void)set_option(fd, IPPROTO_IP, IP_RECVTOS, 1);
    (void)set_option(fd, IPPROTO_IP, IP_RECVERR, 1);
    (void)set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_PROBE);
}

static int open_socket(const struct addr *bind_to, const struct udp_opts *opts, int *ret)
{
    int fd = opts->fd;
    if (fd < 0)
        fd = socket(bind_to->sa.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_from_errno(errno);
    if (bind_to->sa.ss_family == AF_INET6)
        (void)set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    if (opts->reuse_port)
        (void)set_option(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    set_options(fd, bind_to, opts);
    if (opts->fd < 0 && bind(fd, (const struct sockaddr *)&bind_to->sa, bind_to->size) < 0) {
        int r = err_from_errno(errno);
        (void)close(fd);
        return r;
    }
    *ret = fd;
    return 0;
}

int udp_open(struct loop *loop, const struct addr *bind_to, const struct udp_opts *opts,
             struct task *owner, struct udp **ret, struct addr *ret_addr)
{
    int fd = -1;
    int r = open_socket(bind_to, opts, &fd);
    if (r < 0)
        return r;
    struct udp *u = calloc(1, sizeof *u);
    if (u != NULL)
        u->data = loop_scratch(loop, SCRATCH_IN, (size_t)BATCH * MESSAGE_BYTES);
    if (u == NULL || u->data == NULL)
        r = ERR_NOMEM;
    if (r == 0)
        r = watch_open(loop, fd, owner, &u->watch);
    if (r < 0) {
        (void)close(fd);
        free(u);
        return r;
    }
    int probe = 0;
    socklen_t size = sizeof probe;
    u->loop = loop;
    u->owner = owner;
    u->has_gso = getsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &probe, &size) == 0;
    u->local.size = sizeof u->local.sa;
    (void)getsockname(fd, (struct sockaddr *)&u->local.sa, &u->local.size);
    if (!opts->is_paused)
        udp_begin(u);
    *ret = u;
    *ret_addr = u->local;
    return 0;
}

void udp_begin(struct udp *u)
{
    watch_wait(u->watch, WATCH_READ);
}

int udp_hand_over(struct udp *u, int in)
{
    int r = watch_open(u->loop, in, u->owner, &u->relay);
    if (r < 0)
        return r;
    u->is_relayed = true;
    watch_ignore(u->watch, WATCH_READ);
    watch_wait(u->relay, WATCH_READ);
    return 0;
}

int udp_fd(const struct udp *u)
{
    return watch_fd(u->watch);
}

void udp_close(struct udp *u)
{
    if (u == NULL)
        return;
    watch_close(u->watch);
    watch_close(u->relay);
    free(u);
}

void udp_local_addr(const struct udp *u, struct addr *ret)
{
    *ret = u->local;
}

uint64_t udp_dropped(const struct udp *u)
{
    return u->dropped;
}

/* ---- receiving ---- */

static void take_destination(struct udp *u, struct message *m, const struct cmsghdr *c)
{
    m->to = u->local;
    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        struct sockaddr_in *sin = (struct sockaddr_in *)(void *)&m->to.sa;
        if (u->local.sa.ss_family == AF_INET) {
            sin->sin_addr = info.ipi_addr;
        } else {
            struct sockaddr_in6 *sin6 = (struct sockaddr_in6 *)(void *)&m->to.sa;
            memset(&sin6->sin6_addr, 0, 16);
            sin6->sin6_addr.s6_addr[10] = sin6->sin6_addr.s6_addr[11] = 0xff;
            memcpy(&sin6->sin6_addr.s6_addr[12], &info.ipi_addr, 4);
        }
    } else {
        struct in6_pktinfo info;
        memcpy(&info, CMSG_DATA(c), sizeof info);
        ((struct sockaddr_in6 *)(void *)&m->to.sa)->sin6_addr = info.ipi6_addr;
    }
}

static void take_control(struct udp *u, struct message *m, struct msghdr *h)
{
    m->segment = m->n;
    m->ecn = 0;
    m->to = u->local;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c != NULL; c = CMSG_NXTHDR(h, c)) {
        if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) ||
            (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)) {
            take_destination(u, m, c);
        } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS) {
            m->ecn = *(const uint8_t *)CMSG_DATA(c) & 3;
        } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS) {
            int tclass;
            memcpy(&tclass, CMSG_DATA(c), sizeof tclass);
            m->ecn = (uint8_t)(tclass & 3);
        } else if (c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO) {
            int size;
            memcpy(&size, CMSG_DATA(c), sizeof size);
            if (size > 0)
                m->segment = (size_t)size;
        } else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
            uint32_t total;
            memcpy(&total, CMSG_DATA(c), sizeof total);
            u->dropped = total;
        }
    }
}

/* What another process read for us; what it should not have sent becomes an empty packet. */
static void take_relayed(struct udp *u, struct message *m, const struct msghdr *h)
{
    const uint8_t *data = u->data + (size_t)(m - u->messages) * MESSAGE_BYTES;
    struct udp_relayed head;
    bool is_good =
        (h->msg_flags & MSG_TRUNC) == 0 && udp_relay_read(slice_of(data, m->n), &head) == 0;
    m->at = is_good ? UDP_RELAY_HEAD_BYTES : 0;
    m->n = is_good ? m->n : 0;
    m->segment = m->n;
    if (!is_good)
        return;
    m->from = head.from;
    m->to = head.to;
    m->ecn = head.ecn;
}

static int fill(struct udp *u)
{
    struct watch *in = u->is_relayed ? u->relay : u->watch;
    struct mmsghdr headers[BATCH];
    struct iovec iov[BATCH];
    _Alignas(struct cmsghdr) char control[BATCH][CONTROL_BYTES];
    if ((watch_ready(in) & WATCH_READ) == 0)
        return ERR_AGAIN;
    for (size_t i = 0; i < BATCH; i++) {
        iov[i] =
            (struct iovec){ .iov_base = u->data + i * MESSAGE_BYTES, .iov_len = MESSAGE_BYTES };
        headers[i].msg_hdr = (struct msghdr){
            .msg_name = &u->messages[i].from.sa,
            .msg_namelen = sizeof u->messages[i].from.sa,
            .msg_iov = &iov[i],
            .msg_iovlen = 1,
            .msg_control = control[i],
            .msg_controllen = CONTROL_BYTES,
        };
    }
    int count = recvmmsg(watch_fd(in), headers, BATCH, MSG_DONTWAIT, NULL);
    if (count < 0) {
        int r = err_from_errno(errno);
        /* An ICMP error of an earlier datagram is told here too: the error queue has its address.
         */
        if (r != ERR_AGAIN)
            return errno == EINTR ? ERR_AGAIN : r;
        watch_wait(in, WATCH_READ);
        return ERR_AGAIN;
    }
    u->count = (size_t)count;
    u->next = 0;
    for (size_t i = 0; i < u->count; i++) {
        struct message *m = &u->messages[i];
        m->n = headers[i].msg_len;
        m->at = 0;
        m->from.size = headers[i].msg_hdr.msg_namelen;
        if (u->is_relayed)
            take_relayed(u, m, &headers[i].msg_hdr);
        else
            take_control(u, m, &headers[i].msg_hdr);
    }
    if (u->is_relayed && u->count > 0 && headers[u->count - 1].msg_len == 0) {
        watch_close(u->relay); /* the end: whoever read for us is gone, and nobody else does */
        u->relay = NULL;
        u->is_relayed = false;
        watch_wait(u->watch, WATCH_READ);
    } else if (u->count < BATCH)
        watch_wait(in, WATCH_READ); /* the queue is empty: the poll tells of more */
    return 0;
}

int udp_receive(struct udp *u, struct udp_packet *packets, size_t max, size_t *ret_count)
{
    size_t n = 0;
    if (u->next >= u->count) {
        int r = fill(u);
        for (int tries = 0; r < 0 && r != ERR_AGAIN && tries < BATCH; tries++)
            r = fill(u);
        if (r < 0)
            return ERR_AGAIN;
    }
    while (n < max && u->next < u->count) {
        struct message *m = &u->messages[u->next];
        size_t left = m->n - m->at, size = m->segment < left ? m->segment : left;
        packets[n++] = (struct udp_packet){
            .data = slice_of(u->data + u->next * MESSAGE_BYTES + m->at, size),
            .from = &m->from,
            .to = &m->to,
            .ecn = m->ecn,
        };
        m->at += size;
        if (m->at >= m->n)
            u->next++;
    }
    *ret_count = n;
    return n > 0 ? 0 : ERR_AGAIN;
}

bool udp_has_more(const struct udp *u)
{
    return u->next < u->count;
}

int udp_take_error(struct udp *u, struct addr *ret_to, int *ret_errno)
{
    struct addr to = { .size = sizeof to.sa };
    uint8_t byte;
    struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
    struct msghdr h = {
        .msg_name = &to.sa,
        .msg_namelen = sizeof to.sa,
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof control,
    };
    if ((watch_ready(u->watch) & WATCH_ERROR) == 0)
        return ERR_AGAIN;
    if (recvmsg(watch_fd(u->watch), &h, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
        watch_wait(u->watch, WATCH_ERROR);
        return ERR_AGAIN;
    }
    to.size = h.msg_namelen;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c != NULL; c = CMSG_NXTHDR(&h, c)) {
        bool is_error = (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
                        (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR);
        if (!is_error)
            continue;
        struct sock_extended_err e;
        memcpy(&e, CMSG_DATA(c), sizeof e);
        *ret_to = to;
        *ret_errno = (int)e.ee_errno;
        return 0;
    }
    return ERR_AGAIN;
}

/* ---- sending ---- */

static void add_control(struct msghdr *h, int level, int type, const void *data, size_t n,
                        size_t *at)
{
    struct cmsghdr *c = (struct cmsghdr *)(void *)((char *)h->msg_control + *at);
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(n);
    memcpy(CMSG_DATA(c), data, n);
    *at += CMSG_SPACE(n);
}

static void add_source(struct msghdr *h, const struct addr *from, size_t *at)
{
    if (from->sa.ss_family == AF_INET) {
        struct in_pktinfo info = {
            .ipi_spec_dst = ((const struct sockaddr_in *)(const void *)&from->sa)->sin_addr
        };
        if (info.ipi_spec_dst.s_addr != INADDR_ANY)
            add_control(h, IPPROTO_IP, IP_PKTINFO, &info, sizeof info, at);
        return;
    }
    const struct sockaddr_in6 *sin6 = (const struct sockaddr_in6 *)(const void *)&from->sa;
    if (IN6_IS_ADDR_UNSPECIFIED(&sin6->sin6_addr))
        return;
    struct in6_pktinfo info = { .ipi6_addr = sin6->sin6_addr };
    add_control(h, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info, at);
}

static int send_one(struct udp *u, const struct addr *from, const struct addr *to, uint8_t ecn,
                    struct slice data, size_t segment)
{
    _Alignas(struct cmsghdr) char control[CONTROL_BYTES];
    struct iovec iov = { .iov_base = (void *)(uintptr_t)data.p, .iov_len = data.n };
    struct msghdr h = {
        .msg_name = (void *)(uintptr_t)&to->sa,
        .msg_namelen = to->size,
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control,
    };
    size_t at = 0;
    memset(control, 0, sizeof control);
    if (from != NULL && from->size > 0)
        add_source(&h, from, &at);
    if (data.n > segment) {
        uint16_t size = (uint16_t)segment;
        add_control(&h, IPPROTO_UDP, UDP_SEGMENT, &size, sizeof size, &at);
    }
    if (ecn != 0) {
        int tos = ecn;
        bool is_v4 = to->sa.ss_family == AF_INET;
        add_control(&h, is_v4 ? IPPROTO_IP : IPPROTO_IPV6, is_v4 ? IP_TOS : IPV6_TCLASS, &tos,
                    sizeof tos, &at);
    }
    h.msg_controllen = at;
    if (at == 0)
        h.msg_control = NULL;
    for (int tries = 0; tries < 4; tries++) {
        if (sendmsg(watch_fd(u->watch), &h, MSG_DONTWAIT) >= 0)
            return 0;
        /* A pending ICMP error is reported once by whatever call comes next: the datagram itself
         * was not tried. */
        if (errno != EINTR && errno != ECONNREFUSED)
            break;
    }
    if (errno == ENOBUFS)
        return ERR_AGAIN;
    if (data.n > segment && (errno == EIO || errno == EINVAL || errno == EOPNOTSUPP))
        return ERR_UNSUPPORTED;
    return err_from_errno(errno);
}

int udp_send(struct udp *u, const struct addr *from, const struct addr *to, uint8_t ecn,
             struct slice data, size_t segment, size_t *ret_sent)
{
    size_t sent = 0;
    while (sent < data.n) {
        size_t n = data.n - sent;
        if (!u->has_gso && n > segment)
            n = segment;
        int r = send_one(u, from, to, ecn, slice_of(data.p + sent, n), segment);
        if (r == ERR_UNSUPPORTED && u->has_gso) {
            u->has_gso = false; /* a device below refuses: one by one from now on */
            continue;
        }
        if (r < 0) {
            *ret_sent = sent;
            if (r == ERR_AGAIN)
                watch_wait(u->watch, WATCH_WRITE);
            return r;
        }
        sent += n;
    }
    *ret_sent = sent;
    return 0;
}

int udp_source_addr(const struct addr *to, struct addr *ret)
{
    struct addr a = { .size = sizeof a.sa };
    int fd = socket(to->sa.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_from_errno(errno);
    int r = 0;
    if (connect(fd, (const struct sockaddr *)&to->sa, to->size) < 0 ||
        getsockname(fd, (struct sockaddr *)&a.sa, &a.size) < 0)
        r = err_from_errno(errno);
    (void)close(fd);
    if (r == 0)
        *ret = a;
    return r;
}
