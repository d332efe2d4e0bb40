#include "model/balance.h"

#include "model/link_gauge.h"
#include "model/snapshot.h"
#include "test.h"

static json_t *parsed(const char *text)
{
    json_t *value;
    assert_int_equal(json_parse(slice_str(text), &value, NULL), 0);
    return value;
}

static int read_text(const char *text, struct balance *ret, struct fault *fault)
{
    json_t *value = parsed(text);
    int r = balance_read(value, ret, fault);
    json_decref(value);
    return r;
}

TEST(what_is_not_said_is_preset)
{
    struct balance b;
    CHECK_OK(read_text("{}", &b, NULL));
    CHECK(balance_is_preset(&b) && b.policy == BALANCE_LEAST_REQUESTS && b.affinity_ttl == 86400);
    CHECK_OK(read_text("{\"weights\":{},\"affinity\":\"none\"}", &b, NULL));
    CHECK(balance_is_preset(&b));
    CHECK_OK(read_text("{\"policy\":\"hash\"}", &b, NULL));
    CHECK(!balance_is_preset(&b));
}

TEST(every_member_is_read_and_written_again)
{
    static const char *const TEXTS[] = {
        "{\"policy\":\"least-requests\",\"weights\":{},\"affinity\":\"none\"}",
        "{\"policy\":\"round-robin\",\"weights\":{\"canary\":5,\"stable\":0,\"*\":7},"
        "\"affinity\":\"cookie\",\"affinity_ttl\":3600}",
        "{\"policy\":\"random\",\"weights\":{\"11111111-2222-4333-8444-555555555555\":1000,\"*\":0}"
        ","
        "\"affinity\":\"address\"}",
        "{\"policy\":\"hash\",\"weights\":{\"b\xc3\xbcro = 1\":1,\"*\":99},\"affinity\":\"none\"}",
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
        struct balance b;
        struct strb text;
        CHECK_OK(read_text(TEXTS[i], &b, NULL));
        json_t *value = balance_json(&b);
        strb_init(&text, BALANCE_TEXT_BYTES);
        json_write(&text, value);
        CHECK_SLICE(strb_slice(&text), slice_str(TEXTS[i]));
        strb_done(&text);
        json_decref(value);
        CHECK(b.weight_count == (i == 1 ? 2 : i == 0 ? 0 : 1));
        CHECK(i != 2 || b.weights[0].is_connector);
    }
}

TEST(replicas_that_nobody_names_share_what_is_missing_to_100)
{
    struct balance b;
    CHECK_OK(read_text("{\"weights\":{\"canary\":5}}", &b, NULL));
    CHECK(b.rest == 95);
    CHECK_OK(read_text("{\"weights\":{\"canary\":5,\"stable\":95}}", &b, NULL));
    CHECK(b.rest == 0);
    CHECK_OK(read_text("{\"weights\":{\"a\":200}}", &b, NULL));
    CHECK(b.rest == 0);
    CHECK_OK(read_text("{\"weights\":{\"a\":1,\"*\":3}}", &b, NULL));
    CHECK(b.rest == 3);
}

TEST(what_cannot_be_meant_is_refused_with_what_may_be)
{
    static const struct {
        const char *text, *words;
    } TABLE[] = {
        { "[]", "a JSON object" },
        { "{\"policy\":\"fastest\"}",
          "policy must be least-requests, round-robin, random or hash" },
        { "{\"policy\":1}", "policy must be" },
        { "{\"policy\":null}", "policy must be" },
        { "{\"Policy\":\"hash\"}", "no member Policy" },
        { "{\"\\u0007\":1}", "no member of that name" },
        { "{\"affinity\":\"ip\"}", "affinity must be none, cookie or address" },
        { "{\"weights\":[]}", "weights must be an object" },
        { "{\"weights\":{\"a\":-1}}", "a must be a whole number from 0 to 1000" },
        { "{\"weights\":{\"a\":1001}}", "whole number" },
        { "{\"weights\":{\"a\":1.5}}", "whole number" },
        { "{\"weights\":{\"a\":\"5\"}}", "whole number" },
        { "{\"weights\":{\"\":5}}", "named by its label" },
        { "{\"weights\":{\"a\\u001b[2J\":5}}", "named by its label" },
        { "{\"weights\":{\"*\":5}}", "there is no other" },
        { "{\"affinity_ttl\":60}", "wants affinity to be cookie" },
        { "{\"affinity\":\"cookie\",\"affinity_ttl\":0}", "seconds from 1" },
        { "{\"affinity\":\"cookie\",\"affinity_ttl\":2592001}", "seconds from 1" },
        { "{\"affinity\":\"cookie\",\"affinity_ttl\":\"1h\"}", "seconds from 1" },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        struct balance b = { .rest = 77 };
        struct fault fault = { 0 };
        CHECK_ERR(ERR_INVALID, read_text(TABLE[i].text, &b, &fault));
        if (strstr(fault.text, TABLE[i].words) == NULL)
            fail_msg("%s: %s", TABLE[i].text, fault.text);
        CHECK(b.rest == 77); /* untouched */
    }
}

TEST(no_more_weights_are_taken_than_a_choice_may_cost)
{
    for (int n = BALANCE_WEIGHTS_MAX; n <= BALANCE_WEIGHTS_MAX + 1; n++) {
        struct balance b;
        struct fault fault = { 0 };
        json_t *weights = json_object(), *body = json_pack("{s:o}", "weights", weights);
        for (int i = 0; i < n; i++) {
            char name[16];
            (void)snprintf(name, sizeof name, "r%d", i);
            (void)json_object_set_new(weights, name, json_integer(1));
        }
        CHECK_ERR(n > BALANCE_WEIGHTS_MAX ? ERR_INVALID : 0, balance_read(body, &b, &fault));
        json_decref(body);
    }
}

TEST(a_label_is_found_among_the_features_when_it_may_be_shown)
{
    static const struct {
        const char *feature, *label;
    } TABLE[] = {
        { "label:canary", "canary" },
        { "label:b\xc3\xbcro 7", "b\xc3\xbcro 7" },
        { "label:", "" },
        { "labels:x", "" },
        { "label:a\nb", "" },
        { "label:\xff", "" },
        { "label:\xc2\x9b", "" }, /* a terminal's control sequence in one character */
        { "label:12345678901234567890123456789012345678901234567890123456",
          "12345678901234567890123456789012345678901234567890123456" },
        { "label:123456789012345678901234567890123456789012345678901234567", "" },
    };
    for (size_t i = 0; i < sizeof TABLE / sizeof TABLE[0]; i++) {
        char label[REPLICA_LABEL_BYTES] = "x";
        struct slice features[2] = { SLICE("serialized_headers"), slice_str(TABLE[i].feature) };
        replica_label_of(features, 2, label);
        CHECK_SLICE(slice_str(label), slice_str(TABLE[i].label));
    }
}

TEST(a_route_carries_its_rule_and_whoever_uses_it_may_keep_it)
{
    struct uuid id = { { 1 } };
    struct balance b = balance_preset();
    struct snapshot_match found;
    b.policy = BALANCE_RANDOM;
    struct snapshot *s = snapshot_new();
    struct balance_rule *rule = balance_rule_new(&b);
    CHECK_OK(snapshot_add(s, SLICE("*.b.example"), &id));
    CHECK_OK(snapshot_add(s, SLICE("b.example"), &id));
    snapshot_balance(s, SLICE("*.b.example"), rule);
    snapshot_balance(s, SLICE("*.b.example"), rule); /* twice is accepted */
    snapshot_balance(s, SLICE("nowhere.example"), rule);
    balance_rule_unref(rule);
    CHECK(snapshot_match(s, SLICE("b.example"), &found) && found.rule == NULL);
    CHECK(snapshot_match(s, SLICE("a.b.example"), &found) && found.rule == rule);
    CHECK_SLICE(found.name, SLICE("*.b.example"));
    struct balance_rule *kept = balance_rule_ref(found.rule);
    snapshot_unref(s);
    CHECK(kept->balance.policy == BALANCE_RANDOM);
    balance_rule_unref(kept);
    balance_rule_unref(balance_rule_ref(NULL));
}

TEST(a_gauge_keeps_the_last_time_that_was_measured)
{
    struct link_gauge *g = link_gauge_new();
    CHECK(link_gauge_rtt(g) == 0 && link_gauge_rtt(NULL) == 0);
    link_gauge_set_rtt(g, 7000);
    link_gauge_set_rtt(g, 0); /* not measured now */
    link_gauge_set_rtt(NULL, 5);
    struct link_gauge *same = link_gauge_ref(g);
    link_gauge_unref(g);
    CHECK(link_gauge_rtt(same) == 7000);
    link_gauge_unref(same);
    link_gauge_unref(link_gauge_ref(NULL));
}

TESTS(RUN(what_is_not_said_is_preset), RUN(every_member_is_read_and_written_again),
      RUN(replicas_that_nobody_names_share_what_is_missing_to_100),
      RUN(what_cannot_be_meant_is_refused_with_what_may_be),
      RUN(no_more_weights_are_taken_than_a_choice_may_cost),
      RUN(a_label_is_found_among_the_features_when_it_may_be_shown),
      RUN(a_route_carries_its_rule_and_whoever_uses_it_may_keep_it),
      RUN(a_gauge_keeps_the_last_time_that_was_measured))
