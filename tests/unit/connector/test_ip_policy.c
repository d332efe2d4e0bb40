/* Which addresses ipRules allow, and where a bastion is sent. */
#include "connector/byte_service.h"
#include "connector/ip_policy.h"
#include "test.h"

static bool allows(const char *yaml, const char *dest)
{
    struct arena arena;
    struct yaml_node *rules = NULL;
    struct addr a;
    arena_init(&arena, 65536);
    assert_int_equal(yaml_parse(slice_str(yaml), "rules", &arena, &rules, NULL), 0);
    assert_int_equal(addr_parse(slice_str(dest), &a), 0);
    bool is = ip_policy_allows(rules, &a);
    arena_done(&arena);
    return is;
}

TEST(no_rule_that_matches_means_no)
{
    CHECK(!ip_policy_allows(NULL, &(struct addr){ 0 }));
    CHECK(!allows("[]", "127.0.0.1:80"));
    CHECK(!allows("[{prefix: 10.0.0.0/8, allow: true}]", "11.0.0.1:80"));
    CHECK(!allows("[{prefix: 10.0.0.0/8}]", "10.0.0.1:80"));
    CHECK(!allows("[{prefix: 10.0.0.0/8, allow: maybe}]", "10.0.0.1:80"));
}

TEST(the_first_rule_that_matches_decides)
{
    static const char RULES[] = "[{prefix: 10.1.0.0/16, allow: false}, {prefix: 10.0.0.0/8, ports: "
                                "[80, 443], allow: true}, {prefix: 0.0.0.0/0, ports: [22], allow: "
                                "true}]";
    CHECK(allows(RULES, "10.2.0.1:80") && allows(RULES, "10.2.0.1:443"));
    CHECK(!allows(RULES, "10.1.0.1:80") && !allows(RULES, "10.1.255.255:22"));
    CHECK(allows(RULES, "10.2.0.1:22") && allows(RULES, "192.0.2.7:22"));
    CHECK(!allows(RULES, "10.2.0.1:81"));
}

TEST(a_prefix_is_cut_at_its_last_bit)
{
    CHECK(allows("[{prefix: 192.168.4.0/22, allow: true}]", "192.168.7.255:1"));
    CHECK(!allows("[{prefix: 192.168.4.0/22, allow: true}]", "192.168.8.0:1"));
    CHECK(allows("[{prefix: 192.168.4.77/22, allow: true}]", "192.168.4.1:1")); /* host bits */
    CHECK(allows("[{prefix: 192.0.2.1/32, allow: true}]", "192.0.2.1:1"));
    CHECK(!allows("[{prefix: 192.0.2.1/32, allow: true}]", "192.0.2.0:1"));
    CHECK(allows("[{prefix: '2001:db8:8000::/33', allow: true}]", "[2001:db8:ffff::1]:1"));
    CHECK(!allows("[{prefix: '2001:db8:8000::/33', allow: true}]", "[2001:db8:7fff::1]:1"));
    CHECK(allows("[{prefix: '::1/128', allow: true}]", "[::1]:1"));
}

TEST(a_mapped_address_is_an_ipv4_address)
{
    static const char DENIES[] = "[{prefix: 127.0.0.0/8, allow: false}, {prefix: '::/0', allow: "
                                 "true}]";
    CHECK(!allows(DENIES, "[::ffff:127.0.0.1]:80"));
    CHECK(!allows(DENIES, "[::ffff:10.0.0.1]:80")); /* nor is it among those of IPv6 */
    CHECK(allows(DENIES, "[2001:db8::1]:80"));
    CHECK(allows("[{prefix: '::ffff:10.0.0.0/104', allow: true}]", "10.9.9.9:1"));
    CHECK(!allows("[{prefix: '::ffff:10.0.0.0/104', allow: true}]", "11.9.9.9:1"));
}

static void check_jump(const char *text, const char *host, unsigned port)
{
    struct slice got;
    uint16_t got_port = 0;
    void **state_ = NULL;
    CHECK_OK(jump_destination(slice_str(text), &got, &got_port));
    CHECK_SLICE(got, slice_str(host));
    CHECK(got_port == port);
}

TEST(a_bastions_destination_is_a_host_and_a_port)
{
    struct slice host;
    uint16_t port;
    (void)state_;
    check_jump("10.0.0.1:22", "10.0.0.1", 22);
    check_jump("db.internal:5432/path", "db.internal", 5432);
    check_jump("ssh://user:pass@host:2222/a?b#c", "host", 2222);
    check_jump("ssh://host:2222?b", "host", 2222);
    check_jump("tcp://[2001:db8::1]:443", "2001:db8::1", 443);
    check_jump("[::1]:80", "::1", 80);
    static const char *const BAD[] = { "",           "host",     ":22",    "host:",  "host:0",
                                       "host:99999", "/host:22", "ssh://", "a b:22", "u@h:22" };
    for (size_t i = 0; i < sizeof BAD / sizeof BAD[0]; i++)
        CHECK_ERR(ERR_INVALID, jump_destination(slice_str(BAD[i]), &host, &port));
}

TESTS(RUN(no_rule_that_matches_means_no), RUN(the_first_rule_that_matches_decides),
      RUN(a_prefix_is_cut_at_its_last_bit), RUN(a_mapped_address_is_an_ipv4_address),
      RUN(a_bastions_destination_is_a_host_and_a_port))
