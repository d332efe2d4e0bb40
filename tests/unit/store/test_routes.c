#include "base/limits.h"
#include "place.h"

static struct dns_route route_of(const char *hostname, uint8_t tunnel)
{
    struct dns_route r = { .tunnel = { { tunnel } }, .created_us = 5 };
    (void)snprintf(r.hostname, sizeof r.hostname, "%s", hostname);
    return r;
}

static struct store *two_tunnels(struct place *p)
{
    place_init(p);
    struct store *s = place_open(p);
    for (uint8_t i = 1; i <= 2; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%d", i);
        struct tunnel t = tunnel_of(i, name);
        assert_int_equal(store_tunnel_add(s, &t), 0);
    }
    return s;
}

static int note(void *ctx, const struct dns_route *r)
{
    char *all = ctx;
    (void)sprintf(all + strlen(all), "%s=%d ", r->hostname, r->tunnel.bytes[0]);
    return strcmp(r->hostname, "stop.example") == 0 ? ERR_CANCELED : 0;
}

TEST(a_hostname_leads_to_one_tunnel)
{
    struct place p;
    struct store *s = two_tunnels(&p);
    enum route_change change;
    struct dns_route a1 = route_of("a.example", 1), a2 = route_of("a.example", 2);
    CHECK_OK(store_route_put(s, &a1, false, &change));
    CHECK(change == ROUTE_NEW);
    CHECK_OK(store_route_put(s, &a1, false, &change));
    CHECK(change == ROUTE_UNCHANGED);
    CHECK_ERR(ERR_EXISTS, store_route_put(s, &a2, false, &change));
    CHECK_OK(store_route_put(s, &a2, true, &change));
    CHECK(change == ROUTE_UPDATED);
    struct dns_route nowhere = route_of("b.example", 99);
    CHECK_ERR(ERR_NOTFOUND, store_route_put(s, &nowhere, false, &change));
    struct dns_route wild = route_of("*.example", 1);
    CHECK_OK(store_route_put(s, &wild, false, &change));
    char all[200] = "";
    CHECK_OK(store_route_each(s, note, all));
    CHECK(strcmp(all, "*.example=1 a.example=2 ") == 0);
    CHECK(store_route_count(s, &a1.tunnel) == 1 && store_route_count(s, &nowhere.tunnel) == 0);
    CHECK_OK(store_route_delete(s, "a.example"));
    CHECK_ERR(ERR_NOTFOUND, store_route_delete(s, "a.example"));
    store_close(s);
    place_done(&p);
}

static int note_balance(void *ctx, const struct dns_route *r)
{
    char *all = ctx;
    (void)sprintf(all + strlen(all), "%s:%s ", r->hostname, r->balance != NULL ? r->balance : "-");
    return 0;
}

TEST(how_a_hostname_is_shared_stays_with_it_when_it_is_led_elsewhere)
{
    struct place p;
    struct store *s = two_tunnels(&p);
    enum route_change change;
    struct dns_route a1 = route_of("a.example", 1), a2 = route_of("a.example", 2),
                     b = route_of("b.example", 1), got;
    char all[200] = "", *balance = NULL;
    CHECK_ERR(ERR_NOTFOUND, store_route_balance(s, "a.example", "{}"));
    CHECK_ERR(ERR_NOTFOUND, store_route_get(s, "a.example", &got, &balance));
    CHECK_OK(store_route_put(s, &a1, false, &change));
    CHECK_OK(store_route_put(s, &b, false, &change));
    CHECK_OK(store_route_balance(s, "a.example", "{\"policy\":\"hash\"}"));
    CHECK_OK(store_route_put(s, &a2, true, &change));
    CHECK_OK(store_route_get(s, "a.example", &got, &balance));
    CHECK(strcmp(balance, "{\"policy\":\"hash\"}") == 0 && strcmp(got.hostname, "a.example") == 0);
    CHECK(got.tunnel.bytes[0] == 2 && got.created_us == 5 && got.balance == NULL);
    free(balance);
    CHECK_OK(store_route_each(s, note_balance, all));
    CHECK(strcmp(all, "a.example:{\"policy\":\"hash\"} b.example:- ") == 0);
    CHECK_OK(store_route_balance(s, "a.example", NULL));
    CHECK_OK(store_route_get(s, "a.example", &got, &balance));
    CHECK(balance == NULL);
    CHECK_OK(store_route_balance(s, "b.example", "{}"));
    CHECK_OK(store_route_delete(s, "b.example"));
    CHECK_OK(store_route_put(s, &b, false, &change)); /* a new one knows nothing of the old */
    CHECK_OK(store_route_get(s, "b.example", &got, &balance));
    CHECK(balance == NULL);
    store_close(s);
    place_done(&p);
}

TEST(a_walk_may_be_ended)
{
    struct place p;
    struct store *s = two_tunnels(&p);
    enum route_change change;
    static const char *const NAMES[] = { "a.example", "stop.example", "z.example" };
    for (size_t i = 0; i < 3; i++) {
        struct dns_route r = route_of(NAMES[i], 1);
        CHECK_OK(store_route_put(s, &r, false, &change));
    }
    char all[200] = "";
    CHECK_ERR(ERR_CANCELED, store_route_each(s, note, all));
    CHECK(strcmp(all, "a.example=1 stop.example=1 ") == 0);
    struct dns_route r = route_of("later.example", 2); /* and leaves nothing open */
    CHECK_OK(store_route_put(s, &r, false, &change));
    store_close(s);
    place_done(&p);
}

TEST(routes_go_with_their_tunnel)
{
    struct place p;
    struct store *s = two_tunnels(&p);
    enum route_change change;
    struct dns_route a = route_of("a.example", 1), b = route_of("b.example", 2);
    int version;
    struct store_config got;
    CHECK_OK(store_route_put(s, &a, false, &change));
    CHECK_OK(store_route_put(s, &b, false, &change));
    CHECK_OK(store_config_put(s, &b.tunnel, "{}", 1, &version));
    CHECK_OK(store_tunnel_delete(s, &a.tunnel, 9)); /* marked, */
    CHECK_OK(store_tunnel_purge(s, &b.tunnel));     /* and for good */
    char all[200] = "";
    CHECK_OK(store_route_each(s, note, all));
    CHECK(all[0] == 0);
    CHECK_ERR(ERR_NOTFOUND, store_config_get(s, &b.tunnel, &got));
    store_close(s);
    place_done(&p);
}

TEST(configurations_count_their_versions)
{
    struct place p;
    struct store *s = two_tunnels(&p);
    struct uuid one = { { 1 } }, two = { { 2 } }, none = { { 99 } };
    struct store_config got = { 0 };
    struct tunnel t;
    int version = 0;
    CHECK_ERR(ERR_NOTFOUND, store_config_get(s, &one, &got));
    CHECK_OK(store_config_version(s, &one, &version));
    CHECK(version == 0);
    CHECK_OK(store_config_put(s, &one, "{\"a\":1}", 1, &version));
    CHECK(version == 1);
    CHECK_OK(store_config_put(s, &one, "{\"a\":2}", 7, &version));
    CHECK(version == 2);
    CHECK_OK(store_config_get(s, &one, &got));
    CHECK(got.version == 2 && got.created_us == 7 && strcmp(got.json, "{\"a\":2}") == 0);
    free(got.json);
    CHECK_OK(store_config_version(s, &one, &version));
    CHECK(version == 2);
    CHECK_ERR(ERR_NOTFOUND, store_config_put(s, &none, "{}", 1, &version));
    CHECK(version == 2);
    CHECK_OK(store_config_version(s, &two, &version));
    CHECK(version == 0);
    CHECK_OK(store_tunnel_get(s, &one, &t)); /* and is managed remotely from then on */
    CHECK(t.is_remote);
    CHECK_OK(store_tunnel_get(s, &two, &t));
    CHECK(!t.is_remote);
    store_close(s);
    place_done(&p);
}

static int count_rows(const char *path, const char *sql)
{
    sqlite3 *db;
    sqlite3_stmt *st;
    assert_true(sqlite3_open(path, &db) == SQLITE_OK);
    assert_true(sqlite3_prepare_v2(db, sql, -1, &st, NULL) == SQLITE_OK);
    assert_true(sqlite3_step(st) == SQLITE_ROW);
    int n = sqlite3_column_int(st, 0);
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
    return n;
}

TEST(the_last_versions_of_a_configuration_are_kept)
{
    struct place p;
    struct store *s = two_tunnels(&p);
    struct uuid one = { { 1 } }, two = { { 2 } };
    struct store_config got = { 0 };
    int version = 0;
    CHECK_OK(store_config_put(s, &two, "{}", 1, &version));
    for (int i = 1; i <= REMOTE_CONFIG_VERSIONS_MAX + 3; i++) {
        CHECK_OK(store_config_put(s, &one, "{}", i, &version));
        CHECK(version == i);
    }
    CHECK_OK(store_config_get(s, &two, &got)); /* another's stay */
    CHECK(got.version == 1);
    free(got.json);
    store_close(s);
    CHECK(count_rows(p.path, "SELECT count(*) FROM configurations WHERE version > 3") ==
          REMOTE_CONFIG_VERSIONS_MAX);
    CHECK(count_rows(p.path, "SELECT count(*) FROM configurations") ==
          REMOTE_CONFIG_VERSIONS_MAX + 1);
    place_done(&p);
}

TEST(settings_tokens_and_audit_are_kept)
{
    struct place p;
    place_init(&p);
    struct store *s = place_open(&p);
    char value[8] = "old";
    uint8_t hash[32] = { 1 }, other[32] = { 2 };
    CHECK_ERR(ERR_NOTFOUND, store_get(s, "k", value, sizeof value));
    CHECK(strcmp(value, "old") == 0);
    CHECK_OK(store_set(s, "k", "one"));
    CHECK_OK(store_set(s, "k", "two-is-longer")); /* cut to the room that there is */
    CHECK_OK(store_get(s, "k", value, sizeof value));
    CHECK(strcmp(value, "two-is-") == 0);
    CHECK_OK(store_set(s, "k'; DROP TABLE settings; --", ""));
    CHECK_OK(store_get(s, "k'; DROP TABLE settings; --", value, sizeof value));
    CHECK(value[0] == 0);
    CHECK(!store_token_is_known(s, hash));
    CHECK_OK(store_token_put(s, hash, "admin"));
    CHECK_OK(store_token_put(s, hash, "admin again"));
    CHECK(store_token_is_known(s, hash) && !store_token_is_known(s, other));
    CHECK_OK(store_token_put(s, other, "admin again")); /* in the place of the old one */
    CHECK(!store_token_is_known(s, hash) && store_token_is_known(s, other));
    for (int i = 0; i < 3; i++)
        CHECK_OK(store_audit(s, i, "admin", "tunnel.create", "id"));
    store_close(s);
    sqlite3 *db;
    sqlite3_stmt *st;
    CHECK(sqlite3_open(p.path, &db) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, "SELECT count(*), max(at) FROM audit", -1, &st, NULL) ==
          SQLITE_OK);
    CHECK(sqlite3_step(st) == SQLITE_ROW && sqlite3_column_int(st, 0) == 3);
    CHECK(sqlite3_column_int(st, 1) == 2);
    (void)sqlite3_finalize(st);
    (void)sqlite3_close(db);
    place_done(&p);
}

TESTS(RUN(a_hostname_leads_to_one_tunnel),
      RUN(how_a_hostname_is_shared_stays_with_it_when_it_is_led_elsewhere),
      RUN(a_walk_may_be_ended), RUN(routes_go_with_their_tunnel),
      RUN(configurations_count_their_versions), RUN(the_last_versions_of_a_configuration_are_kept),
      RUN(settings_tokens_and_audit_are_kept))
