#include "codec/capnp.h"
#include "codec/http1.h"
#include "codec/http1_chunked.h"
#include "codec/json.h"
#include "failing.h"

static int build_one(void)
{
    static struct capnp_message msg;
    static char text[3000];
    struct capnp_builder b;
    struct capnp_ref root = capnp_build(&b, 1, 3);
    memset(text, 'x', sizeof text);
    capnp_put_u64(&b, root, 0, 7);
    capnp_put_text(&b, root, 0, slice_of(text, sizeof text));
    struct capnp_ref list = capnp_put_list(&b, root, 1, 300, 1, 1);
    for (uint32_t i = 0; i < 300; i++)
        capnp_put_text(&b, capnp_put_item(list, i), 0, slice_of(text, 20));
    const struct slice texts[] = { slice_of(text, 2000), slice_of(text, 1) };
    capnp_put_texts(&b, root, 2, texts, 2);
    struct slice frame = capnp_finish(&b);
    int r = b.err;
    assert_true((frame.p != NULL) == (r == 0));
    if (r == 0) {
        struct capnp_struct s;
        assert_int_equal(capnp_open(&msg, frame, &s), 0);
        struct capnp_list l = capnp_list(&s, 1);
        assert_int_equal(capnp_item_text(&l, 299).n, 20);
        assert_int_equal(capnp_text(&s, 0).n, sizeof text);
    }
    capnp_builder_done(&b);
    return r;
}

/* jansson's memory goes the same way: see main. */
static int json_one(void)
{
    static const char TEXT[] =
        "{\"a\":[1,2.5,true,null,\"text\",{\"deep\":[[\"er\"]]}],\"b\":\"\\u00e9\",\"c\":{},"
        "\"d1\":1,\"d2\":2,\"d3\":3,\"d4\":4,\"d5\":5,\"d6\":6,\"d7\":7,\"d8\":8,\"d9\":9}";
    json_t *value = NULL;
    struct fault f = { 0 };
    struct strb to;
    int r = json_parse(SLICE(TEXT), &value, &f);
    assert_true((value != NULL) == (r == 0) && f.code == r);
    if (r < 0)
        return ERR_NOMEM; /* the library does not always tell why it gave up */
    strb_init(&to, 10000);
    json_write(&to, value);
    json_decref(value);
    r = to.err;
    if (r == 0)
        assert_true(slice_ends(strb_slice(&to), SLICE("\"d8\":8,\"d9\":9}")));
    strb_done(&to);
    return r;
}

/* A chunked body with trailers, which live in the arena. */
static int chunked_one(void)
{
    static const char BODY[] = "5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n";
    struct arena arena;
    struct http1_chunked c;
    struct slice rest = SLICE(BODY), piece;
    int r;
    arena_init(&arena, 1 << 17);
    http1_chunked_init(&c, &arena);
    while ((r = http1_chunked_feed(&c, &rest, &piece)) == 0)
        assert_int_equal(piece.n, 5);
    if (r == ERR_EOF)
        assert_int_equal(c.trailers_count, 2);
    arena_done(&arena);
    return r == ERR_EOF ? 0 : r;
}

TEST(building_a_message_survives_failing_memory)
{
    CHECK(sweep("build", build_one) > 3);
}

TEST(json_survives_failing_memory)
{
    CHECK(sweep("json", json_one) > 20);
}

TEST(a_chunked_body_survives_failing_memory)
{
    CHECK(sweep("chunked", chunked_one) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { RUN(building_a_message_survives_failing_memory),
                                        RUN(json_survives_failing_memory),
                                        RUN(a_chunked_body_survives_failing_memory) };
    json_set_alloc_funcs(__wrap_malloc, __wrap_free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
