#include "edge/forward.h"

#include <stdio.h>

#include "base/err.h"

char *forward_ray(const struct exchange *ex, char text[static RAY_BYTES])
{
    (void)snprintf(text, RAY_BYTES, "%.16s-ADT", ex->id);
    return text;
}

/* X-Forwarded-For keeps what earlier proxies wrote, on however many lines, and ends with the
 * address that we saw. */
static int add_forwarded_for(struct exchange *ex, const char *ip)
{
    static const struct slice NAME = { (const uint8_t *)"X-Forwarded-For", 15 };
    struct fields *f = &ex->request.fields;
    const char *all = NULL;
    for (size_t i = 0; i < f->count; i++) {
        if (!slice_eq_nocase(f->lines[i].name, NAME))
            continue;
        struct slice value = f->lines[i].value;
        all = all == NULL ? arena_str(&ex->arena, value)
                          : arena_fmt(&ex->arena, "%s,%.*s", all, SLICE_FMT(value));
        if (all == NULL)
            return ERR_NOMEM;
    }
    if (all == NULL)
        return fields_add(f, NAME, slice_str(ip));
    all = arena_fmt(&ex->arena, "%s,%s", all, ip);
    return all != NULL ? fields_set(f, NAME, slice_str(all)) : ERR_NOMEM;
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
