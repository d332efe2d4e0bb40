#include "connector/warp.h"

#include "base/clock.h"
#include "base/err.h"
#include "conf/duration.h"

void warp_routing_defaults(struct warp_routing *w)
{
    *w = (struct warp_routing){
        .connect_timeout = 5 * (int64_t)NSEC_PER_SEC,
        .tcp_keepalive = 30 * (int64_t)NSEC_PER_SEC,
    };
}

static int take_time(const struct yaml_node *map, const char *key, const char *where, int64_t *ret,
                     bool *ret_has, struct fault *f)
{
    const struct yaml_node *n = yaml_get(map, key);
    if (n == NULL || yaml_is_null(n))
        return 0;
    if (n->kind != YAML_SCALAR || slice_eq(n->text, SLICE("0")) || duration_parse(n->text, ret) < 0)
        return yaml_fault(f, ERR_PARSE, where, n, "a duration is wanted, such as 5s");
    *ret_has = true;
    return 0;
}

int warp_routing_from_yaml(const struct yaml_node *root, const char *where, struct warp_routing *w,
                           struct fault *f)
{
    const struct yaml_node *map = yaml_get(root, "warp-routing"),
                           *flows = yaml_get(map, "maxActiveFlows");
    if (map == NULL || yaml_is_null(map))
        return 0;
    if (map->kind != YAML_MAP)
        return yaml_fault(f, ERR_PARSE, where, map, "warp-routing must be a map");
    int r =
        take_time(map, "connectTimeout", where, &w->connect_timeout, &w->has_connect_timeout, f);
    if (r == 0)
        r = take_time(map, "tcpKeepAlive", where, &w->tcp_keepalive, &w->has_tcp_keepalive, f);
    if (r == 0 && flows != NULL && !yaml_is_null(flows) &&
        (flows->kind != YAML_SCALAR || !flows->is_plain ||
         slice_u64(flows->text, INT64_MAX, &w->max_flows) < 0))
        r = yaml_fault(f, ERR_PARSE, where, flows, "a whole number is wanted");
    return r;
}

bool flow_limit_take(struct flow_limit *l)
{
    uint64_t before = atomic_fetch_add_explicit(&l->active, 1, memory_order_relaxed);
    uint64_t max = atomic_load_explicit(&l->max, memory_order_relaxed);
    if (max == 0 || before < max)
        return true;
    flow_limit_give(l);
    return false;
}

void flow_limit_give(struct flow_limit *l)
{
    (void)atomic_fetch_sub_explicit(&l->active, 1, memory_order_relaxed);
}
