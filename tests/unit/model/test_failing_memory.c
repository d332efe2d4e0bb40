#include <jansson.h>

#include "failing.h"
#include "model/snapshot.h"
#include "model/tunnel_token.h"

static struct credential sample(void)
{
    struct credential c = { .account = SLICE("699d98642c564d2e855e9661899b7252"),
                            .secret = SLICE("0123456789abcdef0123456789abcdef"),
                            .edge_count = 2,
                            .has_pin = true };
    c.edges[0] = SLICE("edge.example:7844");
    c.edges[1] = SLICE("[::1]:7844"); /* short: jansson cuts long texts when memory fails */
    memset(c.pin, 7, sizeof c.pin);
    memset(c.tunnel.bytes, 9, sizeof c.tunnel.bytes);
    return c;
}

static void is_whole(const struct credential *c, struct slice last_edge)
{
    struct credential want = sample();
    assert_true(c->edge_count == 2 && slice_eq(c->edges[1], last_edge));
    assert_true(c->has_pin && memcmp(c->pin, want.pin, sizeof c->pin) == 0);
    assert_true(slice_eq(c->secret, want.secret) && uuid_eq(&c->tunnel, &want.tunnel));
}

/* A token that is written has all that it should have, or it is not written; likewise read. A token
 * that lost its pin on the way would trust anybody. */
static int token_one(void)
{
    struct arena a;
    struct credential c = sample(), d;
    struct fault f = { 0 };
    int r = ERR_NOMEM;
    arena_init(&a, 1 << 20);
    char *text = tunnel_token_write(&c, &a);
    if (text != NULL)
        r = tunnel_token_read(slice_str(text), &a, &d, &f);
    if (text != NULL && r == 0)
        is_whole(&d, c.edges[1]);
    arena_done(&a);
    return r == ERR_PARSE ? ERR_NOMEM : r; /* jansson does not always tell why it gave up */
}

static int credential_one(void)
{
    struct arena a;
    struct credential c = sample(), d;
    struct fault f = { 0 };
    bool has_id = false;
    int r = ERR_NOMEM;
    arena_init(&a, 1 << 20);
    char *text = credential_write(&c, &a);
    if (text != NULL)
        r = credential_read(slice_str(text), &a, &d, &has_id, &f);
    if (text != NULL && r == 0)
        is_whole(&d, c.edges[1]);
    assert_true(r != 0 || has_id);
    arena_done(&a);
    return r == ERR_PARSE ? ERR_NOMEM : r;
}

static int cert_one(void)
{
    struct arena a;
    struct origin_cert c = { .zone = SLICE("z"), .account = SLICE("a"), .token = SLICE("t") }, d;
    struct fault f = { 0 };
    int r = ERR_NOMEM;
    arena_init(&a, 1 << 20);
    char *text = origin_cert_write(&c, &a);
    if (text != NULL)
        r = origin_cert_read(slice_str(text), &a, &d, &f);
    if (text != NULL && r == 0)
        assert_true(slice_eq(d.zone, c.zone) && slice_eq(d.token, c.token));
    arena_done(&a);
    return r == ERR_PARSE ? ERR_NOMEM : r;
}

static int routes_one(void)
{
    struct snapshot *s = snapshot_new();
    struct uuid one = { { 1 } }, got;
    int r = s != NULL ? 0 : ERR_NOMEM;
    for (int i = 0; i < 40 && r == 0; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "h%d.example", i);
        r = snapshot_add(s, slice_str(name), &one);
        assert_true(snapshot_route(s, slice_str(name), &got) == (r == 0));
    }
    snapshot_unref(s);
    return r;
}

TEST(tokens_survive_failing_memory)
{
    CHECK(sweep("token", token_one) > 10);
}

TEST(credentials_survive_failing_memory)
{
    CHECK(sweep("credential", credential_one) > 10);
}

TEST(certificates_of_the_command_line_survive_failing_memory)
{
    CHECK(sweep("cert", cert_one) > 10);
}

TEST(snapshots_survive_failing_memory)
{
    CHECK(sweep("routes", routes_one) > 10);
}

/* The same with an arena that ends at every byte. */
TEST(a_token_survives_a_full_arena)
{
    struct arena a, small;
    struct credential c = sample(), d;
    struct fault f = { 0 };
    bool fitted = false;
    char long_name[300]; /* what fails first when the arena is nearly full */
    memset(long_name, 'e', sizeof long_name);
    c.edges[1] = slice_of(long_name, sizeof long_name);
    arena_init(&a, 1 << 20);
    char *text = tunnel_token_write(&c, &a);
    CHECK(text != NULL);
    for (size_t max = 0; max < 8000 && !fitted; max += 8) {
        arena_init(&small, max);
        int r = tunnel_token_read(slice_str(text), &small, &d, &f);
        CHECK(r == 0 || r == ERR_NOMEM);
        fitted = r == 0;
        if (fitted)
            is_whole(&d, c.edges[1]);
        arena_done(&small);
    }
    CHECK(fitted);
    fitted = false;
    for (size_t max = 0; max < 8000 && !fitted; max += 8) {
        arena_init(&small, max);
        const char *again = tunnel_token_write(&c, &small);
        fitted = again != NULL;
        CHECK(!fitted || strcmp(again, text) == 0);
        arena_done(&small);
    }
    CHECK(fitted);
    arena_done(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN(tokens_survive_failing_memory),
        RUN(credentials_survive_failing_memory),
        RUN(certificates_of_the_command_line_survive_failing_memory),
        RUN(snapshots_survive_failing_memory),
        RUN(a_token_survives_a_full_arena),
    };
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
