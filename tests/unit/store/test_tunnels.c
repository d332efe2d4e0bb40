#include "place.h"

TEST(a_tunnel_comes_back_as_it_was)
{
    struct place p;
    struct tunnel t = tunnel_of(1, "m\xc3\xb6hre"), got;
    place_init(&p);
    struct store *s = place_open(&p);
    t.secret_bytes = TUNNEL_SECRET_BYTES_MAX;
    t.is_remote = true;
    CHECK_OK(store_tunnel_add(s, &t));
    CHECK_OK(store_tunnel_get(s, &t.id, &got));
    CHECK(memcmp(&t, &got, sizeof t) == 0);
    CHECK_OK(store_tunnel_by_name(s, SLICE("m\xc3\xb6hre"), &got));
    CHECK(uuid_eq(&got.id, &t.id));
    struct uuid other = { { 9 } };
    CHECK_ERR(ERR_NOTFOUND, store_tunnel_get(s, &other, &got));
    CHECK_ERR(ERR_NOTFOUND, store_tunnel_by_name(s, SLICE("m\xc3\xb6hr"), &got));
    CHECK_ERR(ERR_NOTFOUND, store_tunnel_by_name(s, SLICE("' OR 1=1 --"), &got));
    store_close(s);
    place_done(&p);
}

TEST(the_secret_is_not_in_the_file)
{
    static char bytes[200000];
    struct place p;
    struct tunnel t = tunnel_of(1, "named-in-the-file");
    place_init(&p);
    struct store *s = place_open(&p);
    memcpy(t.secret, "very-secret-very-secret-very-sec", 32);
    CHECK_OK(store_tunnel_add(s, &t));
    store_close(s); /* everything is in the file now */
    FILE *f = fopen(p.path, "rb");
    size_t n = fread(bytes, 1, sizeof bytes, f);
    (void)fclose(f);
    CHECK(memmem(bytes, n, "named-in-the-file", 17) != NULL);
    CHECK(memmem(bytes, n, "very-secret", 11) == NULL);
    struct tunnel got = { .name = "untouched" };
    s = place_open(&p);
    CHECK_OK(store_check_key(s, &p.fault));
    store_close(s);
    p.key[0] ^= 1; /* and it opens with its own key alone */
    s = place_open(&p);
    CHECK_ERR(ERR_DENIED, store_check_key(s, &p.fault));
    CHECK(strstr(p.fault.text, "another key") != NULL);
    CHECK_ERR(ERR_DENIED, store_tunnel_get(s, &t.id, &got));
    CHECK(strcmp(got.name, "untouched") == 0);
    store_close(s);
    place_done(&p);
}

TEST(a_secret_cannot_be_moved_to_another_tunnel)
{
    struct place p;
    struct tunnel one = tunnel_of(1, "one"), two = tunnel_of(2, "two"), got;
    place_init(&p);
    struct store *s = place_open(&p);
    CHECK_OK(store_tunnel_add(s, &one));
    CHECK_OK(store_tunnel_add(s, &two));
    store_close(s);
    place_sql(&p, "UPDATE tunnels SET secret = (SELECT secret FROM tunnels WHERE name = 'one')");
    s = place_open(&p);
    CHECK_OK(store_tunnel_get(s, &one.id, &got));
    CHECK_ERR(ERR_DENIED, store_tunnel_get(s, &two.id, &got));
    store_close(s);
    place_sql(&p, "UPDATE tunnels SET secret = x'01' WHERE name = 'one'");
    s = place_open(&p);
    CHECK_ERR(ERR_DENIED, store_tunnel_get(s, &one.id, &got));
    store_close(s);
    place_done(&p);
}

TEST(a_name_is_taken_until_its_tunnel_is_deleted)
{
    struct place p;
    struct tunnel one = tunnel_of(1, "same"), two = tunnel_of(2, "same"), got;
    place_init(&p);
    struct store *s = place_open(&p);
    CHECK_OK(store_tunnel_add(s, &one));
    CHECK_ERR(ERR_EXISTS, store_tunnel_add(s, &two));
    CHECK_ERR(ERR_EXISTS, store_tunnel_add(s, &one));
    CHECK_OK(store_tunnel_delete(s, &one.id, 5000));
    CHECK_ERR(ERR_NOTFOUND, store_tunnel_by_name(s, SLICE("same"), &got));
    CHECK_OK(store_tunnel_get(s, &one.id, &got));
    CHECK(got.deleted_us == 5000);
    CHECK_OK(store_tunnel_delete(s, &one.id, 6000)); /* the first time stays */
    CHECK_OK(store_tunnel_get(s, &one.id, &got));
    CHECK(got.deleted_us == 5000);
    CHECK_OK(store_tunnel_add(s, &two));
    struct tunnel three = tunnel_of(3, "three");
    CHECK_OK(store_tunnel_add(s, &three));
    (void)snprintf(three.name, sizeof three.name, "same");
    CHECK_ERR(ERR_EXISTS, store_tunnel_edit(s, &three));
    (void)snprintf(three.name, sizeof three.name, "other");
    memset(three.secret, 77, sizeof three.secret);
    CHECK_OK(store_tunnel_edit(s, &three));
    CHECK_OK(store_tunnel_by_name(s, SLICE("other"), &got));
    CHECK(memcmp(got.secret, three.secret, three.secret_bytes) == 0);
    (void)snprintf(one.name, sizeof one.name, "risen");
    CHECK_OK(store_tunnel_edit(s, &one)); /* a deleted one stays as it was */
    CHECK_OK(store_tunnel_get(s, &one.id, &got));
    CHECK(strcmp(got.name, "same") == 0);
    store_close(s);
    place_done(&p);
}

static size_t listed(struct store *s, struct tunnel_filter f, uint64_t *ret_total, char *names)
{
    struct tunnel got[16];
    size_t n = 99;
    assert_int_equal(store_tunnel_list(s, &f, got, 16, &n, ret_total), 0);
    names[0] = 0;
    for (size_t i = 0; i < n; i++)
        (void)sprintf(names + strlen(names), "%s ", got[i].name);
    return n;
}

static int count_two(void *ctx, const struct uuid *id, int64_t created_us)
{
    int *sum = ctx;
    *sum += 100 + id->bytes[0];
    return created_us == 1003 ? ERR_CANCELED : 0;
}

TEST(quick_tunnels_are_walked_alone)
{
    struct place p;
    int sum = 0;
    place_init(&p);
    struct store *s = place_open(&p);
    CHECK_OK(store_check_key(s, &p.fault)); /* with nothing in it any key will do */
    for (uint8_t i = 0; i < 5; i++) {
        char name[8];
        (void)snprintf(name, sizeof name, "t%u", i);
        struct tunnel t = tunnel_of(i, name);
        t.is_quick = i == 1 || i == 2 || i == 4;
        CHECK_OK(store_tunnel_add(s, &t));
    }
    struct uuid two = { { 2 } }, three = { { 3 } };
    CHECK_OK(store_tunnel_delete(s, &two, 9));
    CHECK_OK(store_quick_each(s, count_two, &sum));
    CHECK(sum == 205);
    CHECK_OK(store_tunnel_purge(s, &three));
    struct tunnel stop = tunnel_of(3, "stop");
    stop.is_quick = true;
    CHECK_OK(store_tunnel_add(s, &stop));
    CHECK_ERR(ERR_CANCELED, store_quick_each(s, count_two, &sum));
    CHECK_OK(store_tunnel_purge(s, &three)); /* and leaves nothing open */
    store_close(s);
    place_done(&p);
}

TEST(a_list_is_filtered_and_paged_newest_first)
{
    static const char *const NAMES[] = { "web-1", "web-2", "db", "quick", "gone" };
    struct place p;
    char names[200];
    uint64_t total;
    place_init(&p);
    struct store *s = place_open(&p);
    for (uint8_t i = 0; i < 5; i++) {
        struct tunnel t = tunnel_of(i, NAMES[i]);
        t.is_quick = i == 3;
        CHECK_OK(store_tunnel_add(s, &t));
    }
    struct uuid gone = { { 4 } }, db = { { 2 } };
    CHECK_OK(store_tunnel_delete(s, &gone, 2000));
    CHECK(listed(s, (struct tunnel_filter){ 0 }, &total, names) == 3 && total == 3);
    CHECK(strcmp(names, "db web-2 web-1 ") == 0);
    CHECK(listed(s, (struct tunnel_filter){ .deleted = -1, .with_quick = true }, &total, names) ==
          5);
    CHECK(strcmp(names, "gone quick db web-2 web-1 ") == 0 && store_quick_count(s) == 1);
    CHECK(listed(s, (struct tunnel_filter){ .deleted = 1 }, &total, names) == 1 && total == 1);
    CHECK(listed(s, (struct tunnel_filter){ .name = SLICE("db") }, &total, names) == 1);
    CHECK(listed(s, (struct tunnel_filter){ .name_prefix = SLICE("web") }, &total, names) == 2);
    CHECK(listed(s, (struct tunnel_filter){ .name_prefix = SLICE("%") }, &total, names) == 0);
    CHECK(listed(s, (struct tunnel_filter){ .exclude_prefix = SLICE("web") }, &total, names) == 1);
    CHECK(listed(s, (struct tunnel_filter){ .id = &db }, &total, names) == 1);
    CHECK(strcmp(names, "db ") == 0);
    CHECK(listed(s, (struct tunnel_filter){ .deleted = -1, .existed_at_us = 1001 }, &total,
                 names) == 2);
    CHECK(listed(s, (struct tunnel_filter){ .deleted = -1, .existed_at_us = 1999 }, &total,
                 names) == 4);
    CHECK(listed(s, (struct tunnel_filter){ .deleted = -1, .existed_at_us = 2000 }, &total,
                 names) == 3);
    CHECK(listed(s, (struct tunnel_filter){ .offset = 1, .limit = 1 }, &total, names) == 1);
    CHECK(strcmp(names, "web-2 ") == 0 && total == 3); /* the total knows no page */
    CHECK(listed(s, (struct tunnel_filter){ .offset = 3 }, &total, names) == 0 && total == 3);
    CHECK(listed(s, (struct tunnel_filter){ .offset = UINT64_MAX }, &total, names) == 0);
    struct tunnel got[1];
    size_t n;
    CHECK_OK(store_tunnel_list(s, &(struct tunnel_filter){ .limit = 50 }, got, 1, &n, &total));
    CHECK(n == 1 && total == 3); /* never more than there is room for */
    struct uuid quick = { { 3 } };
    CHECK_OK(store_tunnel_purge(s, &quick));
    CHECK_ERR(ERR_NOTFOUND, store_tunnel_get(s, &quick, got));
    CHECK(store_quick_count(s) == 0);
    store_close(s);
    place_done(&p);
}

TESTS(RUN(a_tunnel_comes_back_as_it_was), RUN(the_secret_is_not_in_the_file),
      RUN(a_secret_cannot_be_moved_to_another_tunnel),
      RUN(a_name_is_taken_until_its_tunnel_is_deleted), RUN(quick_tunnels_are_walked_alone),
      RUN(a_list_is_filtered_and_paged_newest_first))
