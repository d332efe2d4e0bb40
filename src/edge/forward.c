#include "edge/forward.h"

#include <stdio.h>

#include "base/err.h"

char *forward_ray(const struct exchange *ex, char text[static RAY_BYTES])
{
    (void)snprintf(text, RAY_BYTES, "%.16s-ADT", ex->id);
    return text;
}

/* X-Forwarded-For keeps what earlier proxies wrote and ends with the address that we saw. */
static int add_forwarded_for(struct exchange *ex, const char *ip)
{
    static const struct slice NAME = { (const uint8_t *)"X-Forwarded-For", 15 };
    const struct field *before = fields_get(&ex->request.fields, NAME);
    if (before == NULL)
        return fields_add(&ex->request.fields, NAME, slice_str(ip));
    const char *both = arena_fmt(&ex->arena, "%.*s,%s", SLICE_FMT(before->value), ip);
    return both != NULL ? fields_set(&ex->request.fields, NAME, slice_str(both)) : ERR_NOMEM;
}

int forward_request(struct exchange *ex, const struct addr *visitor, const char *scheme)
{
    struct fields *f = &ex->request.fields;
    char ip_text[ADDR_TEXT_BYTES], ray_text[RAY_BYTES];
    const char *ip = arena_str(&ex->arena, slice_str(addr_ip_text(visitor, ip_text)));
    const char *ray = arena_str(&ex->arena, slice_str(forward_ray(ex, ray_text)));
    bool is_https = slice_eq(slice_str(scheme), SLICE("https"));
    if (ip == NULL || ray == NULL)
        return ERR_NOMEM;
    const struct {
        struct slice name, value;
    } SET[] = {
        { SLICE("Cf-Ray"), slice_str(ray) },
        { SLICE("Cf-Connecting-Ip"), slice_str(ip) },
        { SLICE("Cf-Visitor"),
          is_https ? SLICE("{\"scheme\":\"https\"}") : SLICE("{\"scheme\":\"http\"}") },
        { SLICE("X-Forwarded-Proto"), slice_str(scheme) },
        { SLICE("Cdn-Loop"), SLICE("adit; loops=1") },
    };
    int r = add_forwarded_for(ex, ip);
    for (size_t i = 0; i < sizeof SET / sizeof SET[0] && r == 0; i++)
        r = fields_set(f, SET[i].name, SET[i].value);
    if (r == 0 && fields_get(f, SLICE("accept-encoding")) == NULL)
        r = fields_add(f, SLICE("Accept-Encoding"), SLICE("identity"));
    return r;
}
