#include "net/addr.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/un.h>

#include "base/err.h"
#include "base/text.h"

static struct sockaddr_in *v4(const struct addr *a)
{
    return (struct sockaddr_in *)(void *)&a->sa;
}

static struct sockaddr_in6 *v6(const struct addr *a)
{
    return (struct sockaddr_in6 *)(void *)&a->sa;
}

int addr_parse_ip(struct slice text, uint16_t port, struct addr *ret)
{
    char ip[INET6_ADDRSTRLEN];
    struct addr a = { 0 };
    if (text.n == 0 || text.n >= sizeof ip)
        return ERR_PARSE;
    memcpy(ip, text.p, text.n);
    ip[text.n] = 0;
    if (strlen(ip) != text.n)
        return ERR_PARSE;
    if (inet_pton(AF_INET, ip, &v4(&a)->sin_addr) == 1) {
        a.size = sizeof(struct sockaddr_in);
        a.sa.ss_family = AF_INET;
    } else if (inet_pton(AF_INET6, ip, &v6(&a)->sin6_addr) == 1) {
        a.size = sizeof(struct sockaddr_in6);
        a.sa.ss_family = AF_INET6;
    } else {
        return ERR_PARSE;
    }
    addr_set_port(&a, port);
    *ret = a;
    return 0;
}

int addr_parse(struct slice text, struct addr *ret)
{
    uint64_t port;
    size_t colon = slice_find_last(text, ':');
    if (colon == text.n || slice_u64(slice_sub(text, colon + 1, SIZE_MAX), 65535, &port) < 0)
        return ERR_PARSE;
    struct slice host = slice_sub(text, 0, colon);
    if (host.n == 0)
        return addr_parse_ip(SLICE("::"), (uint16_t)port, ret);
    bool is_bracketed = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (is_bracketed)
        host = slice_sub(host, 1, host.n - 2);
    struct addr a;
    int r = addr_parse_ip(host, (uint16_t)port, &a);
    if (r < 0 || (a.sa.ss_family == AF_INET6) != is_bracketed)
        return ERR_PARSE;
    *ret = a;
    return 0;
}

int addr_unix(struct slice path, struct addr *ret)
{
    struct addr a = { .size = sizeof(struct sockaddr_un) };
    struct sockaddr_un *un = (struct sockaddr_un *)(void *)&a.sa;
    if (path.n == 0)
        return ERR_PARSE;
    if (path.n >= sizeof un->sun_path)
        return ERR_TOOLARGE;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.p, path.n);
    *ret = a;
    return 0;
}

static bool is_mapped(const struct addr *a)
{
    return a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&v6(a)->sin6_addr);
}

static void v4_text(const uint8_t *ip, char *text)
{
    for (int i = 0; i < 4; i++) {
        text += u64_text(ip[i], text);
        *text++ = i < 3 ? '.' : 0;
    }
}

char *addr_ip_text(const struct addr *a, char text[static ADDR_TEXT_BYTES])
{
    text[0] = 0;
    if (a->sa.ss_family == AF_INET)
        v4_text((const uint8_t *)&v4(a)->sin_addr, text);
    else if (is_mapped(a))
        v4_text(&v6(a)->sin6_addr.s6_addr[12], text);
    else if (a->sa.ss_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &v6(a)->sin6_addr, text, ADDR_TEXT_BYTES);
    return text;
}

char *addr_text(const struct addr *a, char text[static ADDR_TEXT_BYTES])
{
    char ip[ADDR_TEXT_BYTES];
    if (a->size == 0) {
        (void)snprintf(text, ADDR_TEXT_BYTES, "-");
        return text;
    }
    if (a->sa.ss_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)(const void *)&a->sa;
        (void)snprintf(text, ADDR_TEXT_BYTES, "unix:%.108s", un->sun_path);
        return text;
    }
    (void)addr_ip_text(a, ip);
    bool brackets = a->sa.ss_family == AF_INET6 && !is_mapped(a);
    (void)snprintf(text, ADDR_TEXT_BYTES, brackets ? "[%.64s]:%u" : "%.64s:%u", ip, addr_port(a));
    return text;
}

uint16_t addr_port(const struct addr *a)
{
    if (a->sa.ss_family == AF_INET)
        return ntohs(v4(a)->sin_port);
    return a->sa.ss_family == AF_INET6 ? ntohs(v6(a)->sin6_port) : 0;
}

void addr_set_port(struct addr *a, uint16_t port)
{
    if (a->sa.ss_family == AF_INET)
        v4(a)->sin_port = htons(port);
    else if (a->sa.ss_family == AF_INET6)
        v6(a)->sin6_port = htons(port);
}

bool addr_eq(const struct addr *a, const struct addr *b)
{
    if (a->sa.ss_family != b->sa.ss_family || addr_port(a) != addr_port(b))
        return false;
    if (a->sa.ss_family == AF_INET)
        return v4(a)->sin_addr.s_addr == v4(b)->sin_addr.s_addr;
    if (a->sa.ss_family == AF_INET6)
        return memcmp(&v6(a)->sin6_addr, &v6(b)->sin6_addr, 16) == 0 &&
               v6(a)->sin6_scope_id == v6(b)->sin6_scope_id;
    return a->size == b->size && memcmp(&a->sa, &b->sa, a->size) == 0;
}

bool addr_is_any(const struct addr *a)
{
    if (a->sa.ss_family == AF_INET)
        return v4(a)->sin_addr.s_addr == htonl(INADDR_ANY);
    if (is_mapped(a)) {
        static const uint8_t NONE[4];
        return memcmp(&v6(a)->sin6_addr.s6_addr[12], NONE, sizeof NONE) == 0;
    }
    return a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&v6(a)->sin6_addr);
}

bool addr_is_loopback(const struct addr *a)
{
    if (a->sa.ss_family == AF_INET)
        return ntohl(v4(a)->sin_addr.s_addr) >> 24 == 127;
    if (is_mapped(a))
        return v6(a)->sin6_addr.s6_addr[12] == 127;
    return a->sa.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&v6(a)->sin6_addr);
}
