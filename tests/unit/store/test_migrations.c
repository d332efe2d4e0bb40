#include "place.h"

TEST(a_new_file_is_brought_to_the_newest_schema)
{
    struct place p;
    struct stat st;
    place_init(&p);
    struct store *s = place_open(&p);
    CHECK(stat(p.path, &st) == 0 && (st.st_mode & 0777) == 0600);
    CHECK_OK(store_set(s, "key", "value"));
    store_close(s);
    store_close(NULL);
    sqlite3 *db;
    sqlite3_stmt *st_version;
    CHECK(sqlite3_open(p.path, &db) == SQLITE_OK);
    CHECK(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st_version, NULL) == SQLITE_OK);
    CHECK(sqlite3_step(st_version) == SQLITE_ROW && sqlite3_column_int(st_version, 0) >= 1);
    (void)sqlite3_finalize(st_version);
    (void)sqlite3_close(db);
    place_done(&p);
}

TEST(what_was_kept_is_there_when_it_is_opened_again)
{
    struct place p;
    struct tunnel t, got;
    char value[16];
    place_init(&p);
    for (int round = 0; round < 3; round++) {
        struct store *s = place_open(&p);
        if (round == 0) {
            t = tunnel_of(7, "blog");
            CHECK_OK(store_tunnel_add(s, &t));
            CHECK_OK(store_set(s, "key", "value"));
        }
        CHECK_OK(store_tunnel_get(s, &t.id, &got));
        CHECK(strcmp(got.name, "blog") == 0 && memcmp(got.secret, t.secret, 32) == 0);
        CHECK_OK(store_get(s, "key", value, sizeof value));
        CHECK(strcmp(value, "value") == 0);
        store_close(s);
    }
    place_done(&p);
}

TEST(a_file_of_another_version_is_refused_and_left_alone)
{
    static const char *const VERSIONS[] = { "PRAGMA user_version = 999", "PRAGMA user_version = -1",
                                            "PRAGMA user_version = -2147483648" };
    for (size_t i = 0; i < 3; i++) {
        struct place p;
        struct store *s = NULL;
        place_init(&p);
        place_sql(&p, "CREATE TABLE theirs (x)");
        place_sql(&p, VERSIONS[i]);
        CHECK_ERR(ERR_UNSUPPORTED, store_open(p.path, p.key, &s, &p.fault));
        CHECK(s == NULL && strstr(p.fault.text, "version") != NULL);
        place_sql(&p, "SELECT x FROM theirs");
        place_done(&p);
    }
}

/* The schema of the first version with a tunnel and a route, as an edge of then left it. */
static void make_first_version(struct place *p)
{
    place_sql(p, "CREATE TABLE settings (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID");
    place_sql(p, "CREATE TABLE tunnels (id BLOB PRIMARY KEY, name TEXT NOT NULL, secret BLOB NOT "
                 "NULL, created INTEGER NOT NULL, deleted INTEGER, quick INTEGER NOT NULL DEFAULT "
                 "0, remote INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID");
    place_sql(p, "CREATE TABLE routes (hostname TEXT PRIMARY KEY, tunnel BLOB NOT NULL REFERENCES "
                 "tunnels (id) ON DELETE CASCADE, created INTEGER NOT NULL) WITHOUT ROWID");
    place_sql(p, "INSERT INTO tunnels (id, name, secret, created) VALUES "
                 "(x'01000000000000000000000000000000', 'blog', x'00', 5)");
    place_sql(p,
              "INSERT INTO routes VALUES ('*.b.example', x'01000000000000000000000000000000', 7)");
    place_sql(p, "PRAGMA user_version = 1");
}

TEST(routes_of_the_first_version_are_shared_by_the_preset_and_may_be_told_otherwise)
{
    struct place p;
    struct dns_route route;
    char *balance = NULL;
    place_init(&p);
    make_first_version(&p);
    struct store *s = place_open(&p);
    CHECK_OK(store_route_get(s, "*.b.example", &route, &balance));
    CHECK(balance == NULL && route.created_us == 7 && route.tunnel.bytes[0] == 1);
    CHECK_OK(store_route_balance(s, "*.b.example", "{}"));
    store_close(s);
    s = place_open(&p); /* a step is taken once */
    CHECK_OK(store_route_get(s, "*.b.example", &route, &balance));
    CHECK(strcmp(balance, "{}") == 0);
    free(balance);
    store_close(s);
    place_done(&p);
}

TEST(a_step_that_fails_is_taken_back_and_says_why)
{
    struct place p;
    struct store *s = NULL;
    place_init(&p);
    place_sql(&p, "CREATE TABLE routes (x)"); /* in the way of the first step, behind others */
    CHECK_ERR(ERR_IO, store_open(p.path, p.key, &s, &p.fault));
    CHECK(s == NULL && strstr(p.fault.text, "table routes already exists") != NULL);
    place_sql(&p, "CREATE TABLE tunnels (x)"); /* which is not left half done */
    place_done(&p);
}

TESTS(RUN(a_new_file_is_brought_to_the_newest_schema),
      RUN(what_was_kept_is_there_when_it_is_opened_again),
      RUN(a_file_of_another_version_is_refused_and_left_alone),
      RUN(routes_of_the_first_version_are_shared_by_the_preset_and_may_be_told_otherwise),
      RUN(a_step_that_fails_is_taken_back_and_says_why))
