/* Configurations on the wire: what the edge says, and what it makes of the answers. */
#include "edge/config_wire.h"
#include "tunnel/rpc_wire.h"

/* ---- the call ---- */

static const json_t *transcript(const json_t *doc, const char *name)
{
    const json_t *v;
    size_t i;
    json_array_foreach(json_object_get(doc, "vectors"), i,
                       v) if (strcmp(json_string_value(json_object_get(v, "name")), name) ==
                              0) return v;
    fail_msg("there is no %s", name);
    return NULL;
}

static const char *hex_of(const json_t *messages, size_t at, const char *from, const char *kind)
{
    const json_t *m = json_array_get(messages, at);
    assert_string_equal(json_string_value(json_object_get(m, "from")), from);
    assert_string_equal(json_string_value(json_object_get(m, "kind")), kind);
    return json_string_value(json_object_get(m, "hex"));
}

/* Takes one frame off what we said; the caller frees it. */
static struct slice take_frame(struct wire *w)
{
    uint8_t start[8];
    size_t size;
    assert_int_equal(capnp_frame(slice_of(start, buf_copy(&w->out, 0, start, sizeof start)), &size),
                     0);
    uint8_t *bytes = malloc(size);
    assert_int_equal(buf_copy(&w->out, 0, bytes, size), size);
    buf_drop(&w->out, size);
    return slice_of(bytes, size);
}

static void expect_frame(struct wire *w, const char *hex)
{
    struct slice ours = take_frame(w);
    char *text = malloc(HEX_BYTES(ours.n));
    assert_string_equal(hex_encode(ours, text), hex);
    free(text);
    free((void *)(uintptr_t)ours.p);
}

/* Version and document of a Call; the text is the caller's to free with its frame. */
static struct capnp_struct params_of(struct capnp_message *m, struct slice frame,
                                     struct capnp_struct *ret_call)
{
    struct capnp_struct root;
    assert_int_equal(capnp_open(m, frame, &root), 0);
    *ret_call = capnp_get(&root, 0);
    struct capnp_struct payload = capnp_get(ret_call, 1);
    return capnp_get(&payload, 0);
}

/* The same interface, method, question, version and document as the reference's edge. */
static void same_call(struct slice ours, const char *hex)
{
    uint8_t *bytes = malloc(strlen(hex) / 2);
    assert_int_equal(hex_decode(slice_str(hex), bytes), 0);
    struct capnp_message m, n;
    struct capnp_struct a, b, p = params_of(&m, ours, &a),
                              q = params_of(&n, slice_of(bytes, strlen(hex) / 2), &b);
    for (uint32_t at = 0; at < 24; at += 8)
        assert_true(capnp_u64(&a, at) == capnp_u64(&b, at));
    assert_int_equal(capnp_u32(&p, 0), capnp_u32(&q, 0));
    assert_true(slice_eq(capnp_data(&p, 0), capnp_data(&q, 0)) && capnp_data(&p, 0).n > 0);
    assert_true(m.err == 0 && n.err == 0);
    free(bytes);
}

TEST(the_call_is_the_reference_edges)
{
    json_t *doc = load("rpc_transcripts.json");
    const json_t *v = transcript(doc, "edge_rpc_update_configuration"),
                 *messages = json_object_get(v, "messages"),
                 *params = json_object_get(json_object_get(json_array_get(messages, 2), "fields"),
                                           "params");
    struct slice json = slice_str(json_string_value(json_object_get(params, "config")));
    struct wire w;
    struct rpc_event e;
    struct config_push p = { .version = 3 };
    uint32_t call;
    wire_open(&w);
    CHECK_OK(rpc_bootstrap(w.rpc, &w.out));
    CHECK_OK(configuration_call(w.rpc, 3, json, &w.out, &call));
    expect_frame(&w, hex_of(messages, 1, "client", "bootstrap"));
    struct slice ours = take_frame(&w);
    same_call(ours, hex_of(messages, 2, "client", "call"));
    free((void *)(uintptr_t)ours.p);
    put_hex(&w, hex_of(messages, 3, "server", "return"));
    CHECK_ERR(ERR_AGAIN, rpc_next(w.rpc, &w.in, &w.out, &e));
    expect_frame(&w, hex_of(messages, 4, "client", "finish"));
    put_hex(&w, hex_of(messages, 5, "server", "return"));
    CHECK_OK(rpc_next(w.rpc, &w.in, &w.out, &e));
    CHECK(e.kind == RPC_RETURN && e.id == call);
    CHECK_OK(config_result_read(&e.value, &p));
    CHECK(p.applied == 3 && p.text[0] == 0);
    expect_frame(&w, hex_of(messages, 6, "client", "finish"));
    CHECK_OK(rpc_abort(&w.out, "rpc: shutdown"));
    expect_frame(&w, hex_of(messages, 8, "client", "abort"));
    CHECK(buf_is_empty(&w.out));
    wire_close(&w);
    json_decref(doc);
}

TEST(the_largest_document_is_one_message)
{
    struct wire w;
    uint32_t call;
    uint8_t *text = calloc(1, REMOTE_CONFIG_BYTES_MAX);
    wire_open(&w);
    CHECK_OK(rpc_bootstrap(w.rpc, &w.out));
    CHECK_OK(configuration_call(w.rpc, INT32_MAX, slice_of(text, REMOTE_CONFIG_BYTES_MAX), &w.out,
                                &call));
    wire_close(&w);
    free(text);
}

/* ---- the request ---- */

TEST(a_request_has_the_version_and_the_document_as_it_is)
{
    struct strb body;
    strb_init(&body, 1024);
    config_body_write(&body, 7, SLICE("{\"ingress\":[{\"service\":\"http_status:404\"}]}"));
    CHECK_SLICE(
        strb_slice(&body),
        SLICE("{\"version\":7,\"config\":{\"ingress\":[{\"service\":\"http_status:404\"}]}}"));
    strb_done(&body);
}

TEST(answers_to_a_request_are_read)
{
    static const struct {
        const char *body;
        int r;
        int32_t applied;
        const char *text;
    } ROWS[] = {
        { "{\"lastAppliedVersion\":7,\"err\":null}", 0, 7, "" },
        { "{\"lastAppliedVersion\":7}", 0, 7, "" },
        { "{\"lastAppliedVersion\":-1,\"err\":{}}", 0, -1,
          "the connector refused it; its log says why" },
        { "{\"lastAppliedVersion\":2,\"err\":{},\"text\":\"no scheme\"}", 0, 2, "no scheme" },
        { "{\"lastAppliedVersion\":2,\"err\":null,\"text\":\"no scheme\"}", 0, 2, "" },
        { "{\"lastAppliedVersion\":2,\"err\":\"a\",\"text\":\"\"}", 0, 2,
          "the connector refused it; its log says why" },
        { "{\"lastAppliedVersion\":\"7\",\"err\":null}", ERR_PARSE, 0, "" },
        { "{\"lastAppliedVersion\":2147483648}", ERR_PARSE, 0, "" },
        { "{\"err\":null}", ERR_PARSE, 0, "" },
        { "[7]", ERR_PARSE, 0, "" },
        { "7", ERR_PARSE, 0, "" },
        { "", ERR_PARSE, 0, "" },
        { "{\"lastAppliedVersion\":7,\"err\":null", ERR_PARSE, 0, "" },
    };
    for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
        struct config_push p = { 0 };
        int r = config_body_read(slice_str(ROWS[i].body), &p);
        if (r != ROWS[i].r || p.applied != ROWS[i].applied || strcmp(p.text, ROWS[i].text) != 0)
            fail_msg("%s: %d, %d, \"%s\"", ROWS[i].body, r, p.applied, p.text);
        CHECK(p.err == 0); /* it is the transport's, not the answer's */
    }
}

TEST(a_text_of_the_connectors_is_cut_between_characters_and_never_bytes)
{
    struct config_push p;
    char text[CONFIG_TEXT_BYTES + 8];
    memset(text, 'a', sizeof text);
    memcpy(text + CONFIG_TEXT_BYTES - 3, "\xe2\x82\xac", 3); /* one byte too many */
    config_text_put(&p, slice_of(text, sizeof text));
    CHECK(strlen(p.text) == CONFIG_TEXT_BYTES - 3 && p.text[CONFIG_TEXT_BYTES - 4] == 'a');
    config_text_put(&p, slice_of(text, CONFIG_TEXT_BYTES - 1));
    CHECK(strcmp(p.text, "the connector refused it; its log says why") == 0);
    config_text_put(&p, SLICE("a\xff"));
    CHECK(strcmp(p.text, "the connector refused it; its log says why") == 0);
    config_text_put(&p, SLICE("a\0b\033[2J\x7f\n\xc2\x9b"
                              "1m\xc2\xa0\xc3\x80")); /* for terminals */
    CHECK(strcmp(p.text, "a b [2J    1m\xc2\xa0\xc3\x80") == 0);
    config_text_put(&p, SLICE(""));
    CHECK(p.text[0] == 0);
}

TESTS(RUN(the_call_is_the_reference_edges), RUN(the_largest_document_is_one_message),
      RUN(a_request_has_the_version_and_the_document_as_it_is), RUN(answers_to_a_request_are_read),
      RUN(a_text_of_the_connectors_is_cut_between_characters_and_never_bytes))
