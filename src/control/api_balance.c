/* How the requests of a hostname are shared among replicas: a path of our own beside the routes
 * (docs/replicas.md). */
#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/log.h"
#include "codec/uri.h"
#include "control/api_int.h"

/* Text of ours from the store. ERR_INVALID when it is none of ours. */
static int read_stored(const char *text, struct balance *ret)
{
    json_t *object;
    int r = json_parse(slice_str(text), &object, NULL);
    if (r < 0)
        return r == ERR_NOMEM ? r : ERR_INVALID;
    r = balance_read(object, ret, NULL);
    json_decref(object);
    return r;
}

int balance_publish(struct snapshot *s, const struct dns_route *route)
{
    struct balance b;
    int r = read_stored(route->balance, &b);
    if (r == ERR_INVALID) {
        log_warn("how a hostname is shared among replicas is not understood: least-requests",
                 LSTR("host", route->hostname));
        return 0;
    }
    struct balance_rule *rule = r == 0 ? balance_rule_new(&b) : NULL;
    if (rule == NULL)
        return ERR_NOMEM;
    snapshot_balance(s, slice_str(route->hostname), rule);
    balance_rule_unref(rule);
    return 0;
}

/* ---- the calls ---- */

static void answer_balance(struct call *c, const struct dns_route *route, const struct balance *b)
{
    char id[UUID_TEXT_BYTES];
    json_t *o = json_pack("{s:s,s:s,s:b}", "hostname", route->hostname, "tunnel_id",
                          uuid_text(&route->tunnel, id), "is_default", balance_is_preset(b));
    json_t *more = balance_json(b);
    (void)json_object_update(o, more);
    json_decref(more);
    answer(c, o);
}

static void show(struct call *c, const struct dns_route *route, const char *stored)
{
    struct balance b = balance_preset();
    if (stored != NULL && read_stored(stored, &b) < 0)
        b = balance_preset(); /* as it is served */
    answer_balance(c, route, &b);
}

static void put(struct call *c, const struct dns_route *route, const struct balance *b)
{
    char *text = NULL;
    if (!balance_is_preset(b)) {
        json_t *object = balance_json(b);
        text = object != NULL ? json_dumps(object, JSON_COMPACT) : NULL;
        json_decref(object);
        if (text == NULL) {
            answer_error(c, 500, 1000, "The edge is out of memory");
            return;
        }
    }
    int r = store_route_balance(c->api->store, route->hostname, text);
    free(text);
    if (r < 0) {
        answer_error(c, 500, 1000, "The database could not be written");
        return;
    }
    c->api->routes_changed = true;
    audit(c, "route.balance", route->hostname);
    answer_balance(c, route, b);
}

static void put_body(struct call *c, const struct dns_route *route)
{
    struct balance b;
    struct fault fault = { 0 };
    char text[FAULT_TEXT_BYTES + 8];
    json_t *body = take_body(c);
    if (body == NULL)
        return;
    int r = balance_read(body, &b, &fault);
    json_decref(body);
    if (r < 0) {
        (void)snprintf(text, sizeof text, "%s", fault.text);
        answer_error(c, 400, 1002, text);
        return;
    }
    put(c, route, &b);
}

static bool take_route_name(struct call *c, char ret[static 256])
{
    uint8_t plain[256];
    size_t n;
    if (c->parts[4].n < sizeof plain && uri_unescape(c->parts[4], plain, &n) == 0 &&
        take_hostname(c, slice_of(plain, n), ret) != NULL)
        return true;
    answer_error(c, 400, 1002, "The path has no hostname");
    return false;
}

void routes_balance(struct call *c)
{
    char name[256];
    struct dns_route route;
    char *stored = NULL;
    struct slice method = c->q->method;
    if (!take_route_name(c, name))
        return;
    int r = store_route_get(c->api->store, name, &route, &stored);
    struct balance preset = balance_preset();
    if (r == ERR_NOTFOUND)
        answer_error(c, 404, 1003, "There is no route of that hostname; make it with route dns");
    else if (r < 0)
        answer_error(c, 500, 1000, "The database could not be read");
    else if (slice_eq(method, SLICE("GET")) || slice_eq(method, SLICE("HEAD")))
        show(c, &route, stored);
    else if (slice_eq(method, SLICE("PUT")))
        put_body(c, &route);
    else if (slice_eq(method, SLICE("DELETE")))
        put(c, &route, &preset);
    else
        answer_no_method(c);
    free(stored);
}
