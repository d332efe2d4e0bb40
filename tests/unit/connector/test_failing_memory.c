/* Configurations when memory is short: nothing is put in force by halves, and nobody is left
 * without a reason. */
#include "connector/configuration.h"
#include "connector/ingress_check.h"
#include "failing.h"

#define LONG 9000 /* of a text that has no room in what an arena has at hand */

/* Without TLS and access: small allocations of credentials end the program by design. */
static struct slice sent(void)
{
    static char text[8 * LONG], filling[LONG + 1];
    memset(filling, 'x', LONG);
    int n = snprintf(
        text, sizeof text,
        "{\"originRequest\":{\"connectTimeout\":3,\"httpHostHeader\":\"g%s\",\"ipRules\":[{"
        "\"prefix\":"
        "\"10.0.0.0/"
        "8\",\"ports\":[80],\"allow\":true}]},\"ingress\":[{\"hostname\":\"a%s\",\"path\":"
        "\"^/%.4000s\",\"service\":\"ssh://"
        "h%s\"},{\"hostname\":\"b.example\",\"method\":\"GET\",\"service\":"
        "\"http://localhost:1\",\"pathPrefixStrip\":\"/a\"},{\"service\":\"socks-proxy\"}],"
        "\"warp-routing\":{\"maxActiveFlows\":7}}",
        filling, filling, filling, filling);
    return slice_of(text, (size_t)n);
}

static int apply_one(void)
{
    struct ingress *in = NULL;
    struct warp_routing w;
    struct configuration c;
    struct fault f = { 0 };
    warp_routing_defaults(&w);
    int r = ingress_without_rules(NULL, "", &in, &f);
    if (r < 0) {
        assert_null(in);
        return r;
    }
    configuration_init(&c, in, &w);
    bool is_new = configuration_apply(&c, 1, sent(), &f);
    if (is_new) {
        assert_int_equal(c.version, 1);
        assert_int_equal(ingress_count(c.ingress), 3);
        assert_int_equal(c.warp.max_flows, 7);
        assert_int_equal(ingress_global(c.ingress)->host_header.n, LONG + 1);
        const struct rule *first = ingress_rule(c.ingress, 0);
        assert_true(first->hostname.n == LONG + 1 && first->path.n == 4002);
        assert_int_equal(first->service.host.n, LONG + 1);
    } else {
        assert_true(c.version == -1 && c.ingress == in && c.warp.max_flows == 0);
        assert_true(f.code < 0 && f.text[0] != 0);
    }
    configuration_done(&c);
    ingress_unref(in);
    return is_new ? 0 : f.code;
}

TEST(a_configuration_is_put_in_force_whole_or_not_at_all)
{
    CHECK(sweep("a configuration", apply_one) > 10);
}

static const char *option(void *ctx, size_t index)
{
    (void)ctx;
    (void)index;
    return NULL;
}

/* What cannot be told for want of memory is left out, and the want of memory told besides; what is
 * told is whole. */
static int check_one(void)
{
    static const struct ingress_check_conf CONF = { .where = "x", .option = option };
    static const char TEXT[] =
        "nope: 1\ningress:\n- hostname: a:1\n  path: '('\n  service: x\n"
        "- hostname: '*.B'\n  service: http://a\n- service: http_status:404\n";
    struct arena a;
    struct yaml_node *root = NULL;
    struct ingress_report report;
    struct fault f = { 0 };
    arena_init(&a, 1 << 20);
    int r = yaml_parse(slice_str(TEXT), "x", &a, &root, &f);
    if (r == 0) {
        ingress_check(root, &CONF, &a, &report);
        assert_true(report.mistakes > 0 && report.count <= 9);
        for (size_t i = 0; i < report.count; i++)
            assert_non_null(report.list[i].text);
    }
    arena_done(&a);
    return r;
}

TEST(a_check_survives_failing_memory)
{
    CHECK(sweep("a check", check_one) > 3);
}

TESTS(RUN(a_configuration_is_put_in_force_whole_or_not_at_all),
      RUN(a_check_survives_failing_memory))
