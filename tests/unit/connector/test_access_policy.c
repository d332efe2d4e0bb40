#include "connector/access_policy.h"

#include "connector/ingress.h"
#include "test.h"

/* The first rule's policy; the rules in *ret_ingress. */
static int make(const char *yaml, struct ingress **ret, const struct access_policy **policy,
                struct fault *f)
{
    struct arena a;
    struct yaml_node *root;
    *f = (struct fault){ 0 };
    arena_init(&a, 1 << 20);
    if (yaml_parse(slice_str(yaml), "t.yml", &a, &root, f) < 0)
        fail_msg("%s", f->text);
    int r = ingress_from_yaml(root, "t.yml", ret, f);
    arena_done(&a); /* the rules stand by themselves */
    if (r == 0)
        *policy = ingress_rule(*ret, 0)->access;
    return r;
}

#define RULE(access) "ingress: [{service: http://x, originRequest: {access: " access "}}]\n"

static void check(const char *access, const char *issuer, const char *host, unsigned port,
                  const char *authority, const char *target)
{
    char yaml[2048];
    struct ingress *i;
    const struct access_policy *p;
    struct fault f;
    (void)snprintf(yaml, sizeof yaml, RULE("%s"), access);
    if (make(yaml, &i, &p, &f) < 0)
        fail_msg("%s: %s", access, f.text);
    assert_non_null(p);
    assert_true(slice_eq(p->issuer, slice_str(issuer)));
    assert_true(slice_eq(p->host, slice_str(host)));
    assert_true(slice_eq(p->authority, slice_str(authority)));
    assert_true(slice_eq(p->target, slice_str(target)));
    assert_int_equal(p->port, port);
    ingress_unref(i);
}

TEST(issuer_and_key_url_follow_from_the_team_or_are_named)
{
    check("{required: true, teamName: acme, audTag: [a]}", "https://acme.cloudflareaccess.com",
          "acme.cloudflareaccess.com", 443, "acme.cloudflareaccess.com", "/cdn-cgi/access/certs");
    check("{required: true, teamName: acme, environment: fed}",
          "https://acme.fed.cloudflareaccess.com", "acme.fed.cloudflareaccess.com", 443,
          "acme.fed.cloudflareaccess.com", "/cdn-cgi/access/certs");
    check("{required: true, teamName: acme, issuer: \"https://id.example:8443/x/\"}",
          "https://id.example:8443/x/", "id.example", 8443, "id.example:8443",
          "/x/cdn-cgi/access/certs");
    check("{required: true, issuer: \"https://id.example\", certsUrl: \"https://[::1]/k?a=b\"}",
          "https://id.example", "::1", 443, "[::1]", "/k?a=b");
    check("{required: true, issuer: \"https://id.example\", certsUrl: \"https://k.example\"}",
          "https://id.example", "k.example", 443, "k.example", "/");
    CHECK(true);
}

TEST(a_rule_without_required_wants_no_token)
{
    struct ingress *i;
    const struct access_policy *p;
    struct fault f;
    CHECK_OK(make(RULE("{required: false, teamName: acme, audTag: [a]}"), &i, &p, &f));
    CHECK(p == NULL);
    ingress_unref(i);
    CHECK_OK(make(RULE("{required: true}"), &i, &p, &f)); /* nobody's token is good */
    CHECK(p != NULL && p->issuer.n == 0 && p->audience_count == 0);
    ingress_unref(i);
}

TEST(access_above_the_rules_holds_for_those_without_their_own)
{
    struct ingress *i;
    const struct access_policy *p;
    struct fault f;
    CHECK_OK(make("originRequest: {access: {required: true, teamName: acme, audTag: [a, b]}}\n"
                  "ingress: [{hostname: a, service: http://x}, {hostname: b, service: http://x, "
                  "originRequest: {access: {required: false}}}, {service: http://x, "
                  "originRequest: {access: {required: true, teamName: else}}}]\n",
                  &i, &p, &f));
    CHECK(p != NULL && p->audience_count == 2 && ingress_rule(i, 0)->request.access_is_global);
    CHECK_SLICE(p->audiences[1], SLICE("b"));
    CHECK(ingress_rule(i, 1)->access == NULL);
    CHECK_SLICE(ingress_rule(i, 2)->access->issuer, SLICE("https://else.cloudflareaccess.com"));
    CHECK(!ingress_rule(i, 2)->request.access_is_global);
    ingress_unref(i);
}

TEST(what_cannot_be_enforced_is_refused_when_it_is_read)
{
    static const char *const BAD[][2] = {
        { "{required: true, audTag: [a]}", "access.TeamName cannot be blank" },
        { "{required: true, teamName: \"evil.example/x\"}", "access.teamName" },
        { "{required: true, teamName: \"a@b\"}", "access.teamName" },
        { "{required: true, teamName: \"-a\"}", "access.teamName" },
        { "{required: true, issuer: \"http://id.example\"}", "access.issuer" },
        { "{required: true, issuer: \"id.example\"}", "access.issuer" },
        { "{required: true, issuer: \"https://u:p@id.example\"}", "access.issuer" },
        { "{required: true, issuer: \"https://id.example\", certsUrl: \"http://k\"}",
          "access.certsUrl" },
        { "{required: true, teamName: a, audTag: b}", "access.audTag" },
        { "{required: true, teamName: a, audTag: [[b]]}", "access.audTag" },
    };
    for (size_t n = 0; n < sizeof BAD / sizeof BAD[0]; n++) {
        char yaml[2048];
        struct ingress *i;
        const struct access_policy *p;
        struct fault f;
        (void)snprintf(yaml, sizeof yaml, RULE("%s"), BAD[n][0]);
        int r = make(yaml, &i, &p, &f);
        if (r != ERR_PARSE || strncmp(f.text, BAD[n][1], strlen(BAD[n][1])) != 0)
            fail_msg("%s: %d %s", BAD[n][0], r, f.text);
    }
    CHECK(true);
}

TESTS(RUN(issuer_and_key_url_follow_from_the_team_or_are_named),
      RUN(a_rule_without_required_wants_no_token),
      RUN(access_above_the_rules_holds_for_those_without_their_own),
      RUN(what_cannot_be_enforced_is_refused_when_it_is_read))
