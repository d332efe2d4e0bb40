#include "prog/edge_upgrade.h"

#include "base/log.h"

/* The order of both enumerations is that of what is said between edges. */
_Static_assert((int)SOCKET_TUNNEL_UDP == (int)EDGE_TUNNEL_UDP &&
                   (int)SOCKET_TUNNEL == (int)EDGE_TUNNEL && (int)SOCKET_HTTP == (int)EDGE_HTTP &&
                   (int)SOCKET_HTTPS == (int)EDGE_HTTPS && SOCKET_LOCAL == TAKEOVER_LOCAL,
               "sockets have one number");

static bool is_wanted(const struct addr *got, const struct addr *wanted)
{
    struct addr same = *got;
    if (wanted->size == 0)
        return false;
    if (addr_port(wanted) == 0)
        addr_set_port(&same, 0);
    return addr_eq(&same, wanted);
}

static void match(struct takeover_heir *h, enum edge_socket which, struct addr *wanted)
{
    static const char *const NAMES[] = { "tunnel", "tunnel", "http", "https", "local" };
    char text[ADDR_TEXT_BYTES];
    struct addr got;
    if (!takeover_has(h, which, &got))
        return;
    if ((h->given & 1U << which) != 0 || is_wanted(&got, wanted)) {
        *wanted = got;
        return;
    }
    log_info("no longer listened to", LSTR("what", NAMES[which]),
             LSTR("address", addr_text(&got, text)));
    takeover_leave(h, which);
}

void edge_upgrade_match(struct takeover_heir *h, struct edge_addrs *addrs, struct addr *local)
{
    struct addr udp = addrs->tunnel, got;
    match(h, SOCKET_TUNNEL, &addrs->tunnel);
    match(h, SOCKET_TUNNEL_UDP, &udp);
    /* Both transports of connectors are on one port. */
    if (takeover_has(h, SOCKET_TUNNEL, &got) != takeover_has(h, SOCKET_TUNNEL_UDP, &got)) {
        takeover_leave(h, SOCKET_TUNNEL);
        takeover_leave(h, SOCKET_TUNNEL_UDP);
    }
    match(h, SOCKET_HTTP, &addrs->http);
    match(h, SOCKET_HTTPS, &addrs->https);
    match(h, SOCKET_LOCAL, local);
}

unsigned edge_upgrade_workers(const struct takeover_heir *h, unsigned wanted)
{
    unsigned had = h->edge.workers;
    if (wanted >= had)
        return wanted;
    log_info("as many workers as the edge before this one: each has sockets of its own",
             LU64("workers", had), LU64("wanted", wanted));
    return had;
}

unsigned edge_upgrade_given(const struct edge_sockets *s)
{
    unsigned given = 0;
    for (unsigned i = 0; i < EDGE_SOCKETS; i++)
        given |= edge_sockets_has(s, (enum edge_socket)i) ? 1U << i : 0;
    return given;
}
