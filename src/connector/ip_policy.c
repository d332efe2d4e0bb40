#include "connector/ip_policy.h"

#include <netinet/in.h>
#include <string.h>

#include "base/err.h"

#define MAPPED_BITS 96

static const uint8_t MAPPED[MAPPED_BITS / 8] = { [10] = 0xff, [11] = 0xff };

struct slice ip_bytes(const struct addr *a)
{
    if (a->size > 0 && a->sa.ss_family == AF_INET)
        return slice_of(&((const struct sockaddr_in *)(const void *)&a->sa)->sin_addr, 4);
    if (a->size == 0 || a->sa.ss_family != AF_INET6)
        return (struct slice){ 0 };
    struct slice ip = slice_of(&((const struct sockaddr_in6 *)(const void *)&a->sa)->sin6_addr, 16);
    bool is_mapped = memcmp(ip.p, MAPPED, sizeof MAPPED) == 0;
    return is_mapped ? slice_sub(ip, sizeof MAPPED, 4) : ip;
}

int ip_prefix_parse(struct slice text, struct ip_prefix *ret)
{
    struct addr a;
    uint64_t bits;
    size_t slash = slice_find(text, '/');
    if (slash == text.n || addr_parse_ip(slice_sub(text, 0, slash), 0, &a) < 0)
        return ERR_PARSE;
    unsigned most = a.sa.ss_family == AF_INET ? 32 : 128;
    if (slice_u64(slice_sub(text, slash + 1, SIZE_MAX), most, &bits) < 0)
        return ERR_PARSE;
    struct slice ip = ip_bytes(&a);
    bool was_mapped = most == 128 && ip.n == 4;
    if (was_mapped && bits >= MAPPED_BITS)
        bits -= MAPPED_BITS;
    else if (was_mapped) /* a network of IPv6 that happens to be written so */
        ip = slice_of(&((struct sockaddr_in6 *)(void *)&a.sa)->sin6_addr, 16);
    memcpy(ret->bytes, ip.p, ip.n);
    ret->ip = slice_of(ret->bytes, ip.n);
    ret->bits = (unsigned)bits;
    return 0;
}

bool ip_prefix_has(const struct ip_prefix *p, const struct addr *a)
{
    struct slice ip = ip_bytes(a);
    size_t whole = p->bits / 8;
    unsigned rest = p->bits % 8;
    if (p->ip.n != ip.n || memcmp(p->ip.p, ip.p, whole) != 0)
        return false;
    return rest == 0 || (p->ip.p[whole] ^ ip.p[whole]) >> (8 - rest) == 0;
}

static bool ports_have(const struct yaml_node *ports, uint16_t port)
{
    uint64_t one;
    if (ports == NULL || ports->first == NULL)
        return true;
    for (const struct yaml_node *p = ports->first; p != NULL; p = p->next)
        if (slice_u64(p->text, UINT16_MAX, &one) == 0 && one == port)
            return true;
    return false;
}

bool ip_policy_allows(const struct yaml_node *rules, const struct addr *dest)
{
    for (const struct yaml_node *rule = rules != NULL ? rules->first : NULL; rule != NULL;
         rule = rule->next) {
        const struct yaml_node *prefix = yaml_get(rule, "prefix"), *allow = yaml_get(rule, "allow");
        struct ip_prefix p;
        bool allows = false;
        if (prefix == NULL || ip_prefix_parse(prefix->text, &p) < 0)
            return false; /* what cannot be read might be what would deny */
        if (!ip_prefix_has(&p, dest) || !ports_have(yaml_get(rule, "ports"), addr_port(dest)))
            continue;
        return allow != NULL && yaml_bool(allow, &allows) == 0 && allows;
    }
    return false;
}
