#include "connector/configuration.h"

#include "base/err.h"
#include "connector/remote_config.h"

void configuration_init(struct configuration *c, struct ingress *ingress,
                        const struct warp_routing *warp)
{
    *c = (struct configuration){ .version = -1, .ingress = ingress_ref(ingress), .warp = *warp };
}

void configuration_done(struct configuration *c)
{
    ingress_unref(c->ingress);
    c->ingress = NULL;
}

void configuration_replace(struct configuration *c, struct ingress *ingress,
                           const struct warp_routing *warp)
{
    ingress_unref(c->ingress);
    c->ingress = ingress_ref(ingress);
    c->warp = *warp;
}

/* The flag is the one thing of the process that stands above what the edge says. */
static int merge_flag(const struct configuration *c, struct warp_routing *warp, struct fault *f)
{
    if (c->max_flows == NULL)
        return 0;
    int e = slice_u64(slice_str(c->max_flows), INT64_MAX, &warp->max_flows);
    return e == 0
               ? 0
               : fault_set(f, ERR_PARSE,
                           "failed to merge local overrides into warp routing configuration: "
                           "failed to parse max-active-flows: strconv.ParseUint: parsing "
                           "\"%s\": %s",
                           c->max_flows, e == ERR_RANGE ? "value out of range" : "invalid syntax");
}

bool configuration_apply(struct configuration *c, int32_t version, struct slice json,
                         struct fault *fault)
{
    struct ingress *ingress = NULL;
    struct warp_routing warp;
    *fault = (struct fault){ 0 };
    if (version <= c->version)
        return false;
    int e = c->is_local_only
                ? fault_set(fault, ERR_DENIED,
                            "this connector takes no configuration from the edge: it runs with "
                            "--no-remote-config")
                : remote_config_parse(json, &ingress, &warp, fault);
    if (e == 0)
        e = merge_flag(c, &warp, fault);
    if (e == 0)
        e = ingress_load_tls(ingress, fault);
    if (e < 0) {
        ingress_unref(ingress);
        if (fault->code == 0)
            (void)fault_set(fault, e, "%s", err_text(e));
        return false;
    }
    ingress_unref(c->ingress);
    c->ingress = ingress;
    c->warp = warp;
    c->version = version;
    return true;
}
