#include "prog/edge_sockets.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

#define FD_FIRST 3 /* SD_LISTEN_FDS_START */
#define FDS_MAX  16

/* What a name and a kind of socket stand for. */
static const struct {
    const char *name;
    int type;
    enum edge_socket which;
} KNOWN[] = {
    { "tunnel", SOCK_DGRAM, SOCKET_TUNNEL_UDP }, { "tunnel", SOCK_STREAM, SOCKET_TUNNEL },
    { "http", SOCK_STREAM, SOCKET_HTTP },        { "https", SOCK_STREAM, SOCKET_HTTPS },
    { "local", SOCK_STREAM, SOCKET_LOCAL },
};

static int option_of(int fd, int name)
{
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

static int refuse(struct slice name, const char *why, struct fault *fault)
{
    return fault_set(fault, ERR_INVALID, "the socket \"%.*s\" that was handed over %s",
                     SLICE_FMT(name), why);
}

static int take(struct edge_sockets *s, int fd, struct slice name, struct fault *fault)
{
    int type = option_of(fd, SO_TYPE), flags = fcntl(fd, F_GETFL);
    struct addr addr = { .size = sizeof addr.sa };
    size_t i = 0;
    if (type < 0 || flags < 0 || getsockname(fd, (struct sockaddr *)&addr.sa, &addr.size) < 0)
        return refuse(name, "is none", fault);
    while (i < sizeof KNOWN / sizeof KNOWN[0] &&
           !(slice_eq(name, slice_str(KNOWN[i].name)) && type == KNOWN[i].type))
        i++;
    if (i == sizeof KNOWN / sizeof KNOWN[0])
        return refuse(
            name,
            "has no use here: FileDescriptorName= is tunnel (TCP and UDP), http, https or "
            "local (TCP)",
            fault);
    if (addr.sa.ss_family != AF_INET && addr.sa.ss_family != AF_INET6)
        return refuse(name, "is not one of IP", fault);
    if (type == SOCK_STREAM && option_of(fd, SO_ACCEPTCONN) != 1)
        return refuse(name, "does not listen", fault);
    if (s->fds[KNOWN[i].which] >= 0)
        return refuse(name, "is there twice: one address for each can be served", fault);
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
        return refuse(name, "cannot be used", fault);
    s->fds[KNOWN[i].which] = fd;
    s->addrs[KNOWN[i].which] = addr;
    return 0;
}

/* Both transports of connectors are on one port, which tokens name. */
static int check_pair(const struct edge_sockets *s, struct fault *fault)
{
    const struct addr *udp = &s->addrs[SOCKET_TUNNEL_UDP], *tcp = &s->addrs[SOCKET_TUNNEL];
    if (edge_sockets_has(s, SOCKET_TUNNEL_UDP) != edge_sockets_has(s, SOCKET_TUNNEL))
        return refuse(SLICE("tunnel"),
                      "lacks the other one: both ListenDatagram= and ListenStream= "
                      "are wanted",
                      fault);
    if (edge_sockets_has(s, SOCKET_TUNNEL) && addr_port(udp) != addr_port(tcp))
        return refuse(SLICE("tunnel"), "has another port for UDP than for TCP", fault);
    return 0;
}

static uint64_t number_of(const char *variable)
{
    const char *text = getenv(variable);
    uint64_t n = 0;
    return text != NULL && slice_u64(slice_str(text), INT32_MAX, &n) == 0 ? n : 0;
}

int edge_sockets_take(struct edge_sockets *ret, struct fault *fault)
{
    const char *text = getenv("LISTEN_FDNAMES");
    struct slice names = slice_str(text != NULL ? text : ""), name;
    bool is_ours = number_of("LISTEN_PID") == (uint64_t)getpid();
    uint64_t count = is_ours ? number_of("LISTEN_FDS") : 0;
    int r = 0;
    for (size_t i = 0; i < EDGE_SOCKETS; i++)
        ret->fds[i] = -1;
    if (count > FDS_MAX)
        return fault_set(fault, ERR_LIMIT, "LISTEN_FDS: %d sockets at most", FDS_MAX);
    for (int i = 0; i < (int)count && r == 0; i++) {
        name = SLICE("");
        (void)slice_split(&names, ':', &name);
        r = take(ret, FD_FIRST + i, name, fault);
    }
    if (r == 0)
        r = check_pair(ret, fault);
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return r;
}

bool edge_sockets_are_any(const struct edge_sockets *s)
{
    for (size_t i = 0; i < EDGE_SOCKETS; i++)
        if (s->fds[i] >= 0)
            return true;
    return false;
}

void edge_sockets_close(struct edge_sockets *s)
{
    for (size_t i = 0; i < EDGE_SOCKETS; i++) {
        if (s->fds[i] >= 0)
            (void)close(s->fds[i]);
        s->fds[i] = -1;
    }
}
