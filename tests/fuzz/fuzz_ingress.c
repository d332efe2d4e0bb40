/* Configurations: YAML of a file, and the JSON of an edge. What is accepted can be matched and
 * told, and what is told is JSON; the check finds a mistake where there is one, and only there. */
#include <stdlib.h>

#include "codec/json.h"
#include "connector/effective_config.h"
#include "connector/ingress_check.h"
#include "connector/local_config.h"
#include "connector/remote_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
    if (!condition)
        abort();
}

static const char *option(void *ctx, size_t index)
{
    (void)ctx;
    return index == 0 ? "protocol" : NULL;
}

static void is_json(struct strb *s)
{
    json_t *value = s->err == 0 ? json_loadb(s->p, s->n, JSON_ALLOW_NUL, NULL) : NULL;
    must(value != NULL);
    json_decref(value);
    strb_done(s);
}

static void use(const struct ingress *i, const struct warp_routing *w)
{
    static const char *const NONE[] = { NULL };
    struct strb s;
    must(ingress_match(i, SLICE("a.example.com:80"), SLICE("/some/path.jpg")) < ingress_count(i));
    strb_init(&s, 256 << 20);
    effective_config_write(&s, 1, i, w);
    is_json(&s);
    strb_init(&s, 256 << 20);
    local_configuration_write(&s, i, w, NONE);
    is_json(&s);
}

static void try_yaml(struct slice text)
{
    static const struct ingress_check_conf CONF = { .where = "fuzz", .option = option };
    struct arena arena;
    struct yaml_node *root = NULL;
    struct ingress *i = NULL;
    struct ingress_report report;
    struct warp_routing w;
    struct fault fault;
    arena_init(&arena, 64 * 1024 * 1024);
    if (yaml_parse(text, "fuzz", &arena, &root, &fault) == 0) {
        int r = ingress_from_yaml(root, "fuzz", &i, &fault);
        warp_routing_defaults(&w);
        if (r == 0)
            use(i, &w);
        ingress_check(root, &CONF, &arena, &report);
        must(r == 0 || (report.mistakes > 0 && report.count > 0));
        must(report.count <= report.mistakes + report.warnings);
    }
    ingress_unref(i);
    arena_done(&arena);
}

static void try_json(struct slice text)
{
    struct ingress *i = NULL;
    struct warp_routing w;
    struct fault fault = { 0 };
    int r = remote_config_parse(text, &i, &w, &fault);
    must(r == 0 ? i != NULL : i == NULL && fault.code == r && fault.text[0] != 0);
    if (r == 0)
        use(i, &w);
    ingress_unref(i);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_yaml(slice_of(data, size));
    try_json(slice_of(data, size));
    return 0;
}
